#!/bin/sh
# Installs the independent peers of the interop tests from Debian's packages; needs root. Starts nothing.
set -eu
packages="libcoap3-bin mosquitto-clients netcat-openbsd tftp-hpa curl"
if [ "$(id -u)" -ne 0 ]; then
  echo "error: not root: run  sudo apt-get install --no-install-recommends $packages" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends $packages >/dev/null
