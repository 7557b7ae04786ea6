#!/bin/sh
# Installs the independent peers of the interop tests: Debian's packages, and npm's `coap` and `mqtt`; needs root. Starts nothing.
set -eu
packages="libcoap3-bin mosquitto mosquitto-clients netcat-openbsd tftp-hpa curl iproute2"
command -v npm >/dev/null || packages="$packages nodejs npm"
if [ "$(id -u)" -ne 0 ]; then
  echo "error: not root: run  sudo $0" >&2
  exit 1
fi
policy=/usr/sbin/policy-rc.d  # Debian starts a server when it installs it, unless this says no
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends $packages >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts --prefix /usr/local/lib/thinbridge-peers coap@1.5.0 mqtt@5.16.0 >/dev/null
