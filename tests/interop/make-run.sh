#!/usr/bin/env bash
# `make run` as somebody without a terminal has it: the main job by independent clients, then SIGTERM frees the ports.
# Needs the default ports; .ci/run calls it. Output of the run is shown when something fails.
set -euo pipefail
log=$(mktemp)
make run ARGS="--cold-start 5 --idle 5" </dev/null >"$log" 2>&1 &
pid=$!
fail() { echo "error: $1" >&2; cat "$log" >&2; kill -TERM "$pid" 2>/dev/null || true; exit 1; }

for _ in $(seq 600); do
  grep -q "Ctrl-C ends it" "$log" && break
  kill -0 "$pid" 2>/dev/null || fail "make run ended"
  sleep 0.1
done
grep -q "Ctrl-C ends it" "$log" || fail "make run was not ready within 60 s"

expect() { [ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"; }
for round in warm cold; do
  [ $round = warm ] || { until tail -n 3 "$log" | grep -q "stopped"; do sleep 0.2; done; }
  expect "$round coap" "$(coap-client-notls -B 30 -m post -e "hello $round" coap://127.0.0.1/sensors/7 2>&1)" "hello $round"
  expect "$round mqtt" "$(mosquitto_rr -W 30 -V mqttv5 -t greeting -e answers -m "hello $round" 2>&1)" "hello $round"
  expect "$round udp" "$(echo -n "hello $round" | timeout 30 nc -u -w 10 -W 1 127.0.0.1 9000)" "hello $round"
  mosquitto_pub -V 311 -q 1 -t readings -m 21 || fail "$round: no PUBACK"
done

kill -TERM "$pid"
for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
kill -0 "$pid" 2>/dev/null && fail "SIGTERM did not end it within 20 s"
wait "$pid" || true  # make itself ends by the signal
for port in 5683 9000; do ! grep -qi ":$(printf '%04X' $port) " /proc/net/udp || fail "UDP port $port is still taken"; done
echo "make run: warm and cold round trips by CoAP, MQTT and UDP, ports free after SIGTERM"
