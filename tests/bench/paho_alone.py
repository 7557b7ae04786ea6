"""What a bridge by way of a broker is compared with: paho in an event loop, which receives and acknowledges, no more.

    paho_alone.py PORT TOPIC QOS COUNT       says `subscribed`, then `done` after each COUNT messages

With QoS 1 acknowledgements are paho's manual ones, as the bridge's are; with QoS 2, which has none, paho's own.
"""

import asyncio
import sys
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


async def main(port: int, topic: str, qos: int, count: int) -> None:
    """Until it is ended."""
    loop = asyncio.get_running_loop()
    client = paho.Client(CallbackAPIVersion.VERSION2, f"alone-{qos}", protocol=paho.MQTTv5, manual_ack=qos == 1)
    received = 0

    def on_message(client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        nonlocal received
        received += 1
        if qos == 1:
            loop.call_soon(client.ack, message.mid, message.qos)  # later, as whoever waits for a sink does
        if received % count == 0:
            print("done", flush=True)

    def register(client: paho.Client, data: Any, sock: Any) -> None:
        loop.add_writer(sock, client.loop_write)

    def unregister(client: paho.Client, data: Any, sock: Any) -> None:
        loop.remove_writer(sock)

    def on_connect(*arguments: object) -> None:
        client.subscribe(topic, qos)

    client.on_message = on_message
    client.on_connect = on_connect
    client.on_subscribe = lambda *arguments: print("subscribed", flush=True)
    client.on_socket_register_write = register
    client.on_socket_unregister_write = unregister
    client.connect("127.0.0.1", port)
    sock: Any = client.socket()
    loop.add_reader(sock, client.loop_read)
    while True:
        await asyncio.sleep(1)
        client.loop_misc()


if __name__ == "__main__":
    try:
        import uvloop

        run: Any = uvloop.run
    except ImportError:
        run = asyncio.run
    run(main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
