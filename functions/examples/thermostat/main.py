"""A thermostat for three rooms: readings in, heating and set-point out; by CoAP, MQTT and UDP alike.

{"temperature": 18.5} to `rooms/kitchen` is a reading, {"setpoint": 21} a command, nothing at all a question; a
datagram, which has no path, names its room: {"room": "kitchen", "temperature": 18.5}. A new set-point is also pushed
to the device that reads the room's temperature; by MQTT, if it subscribes to `rooms/kitchen/command`.
"""

from dataclasses import dataclass
from typing import Any

from thinbridge_functions import Event, Reply, handler, push, reject


@dataclass
class Room:
    """What the function knows of a room."""

    setpoint: float = 20.0
    temperature: float | None = None
    replyto: str | None = None  # reaches the device that sent the last reading

    def state(self) -> dict[str, Any]:
        """What devices are told."""
        return {"setpoint": self.setpoint, "heating": self.temperature is not None and self.temperature < self.setpoint}


ROOMS = {name: Room() for name in ("bath", "hall", "kitchen")}  # gone when scaled to zero: use a database


@handler
def thermostat(event: Event) -> dict[str, Any]:
    message = event.json() if event.data else {}
    if not isinstance(message, dict):
        raise reject("send a JSON object")
    name = str(message.get("room", (event.subject or "").removeprefix("rooms/")))
    room = ROOMS.get(name)
    if room is None:
        raise reject("no such room", status=404)
    if "temperature" in message:
        room.temperature = number(message["temperature"], -40, 85)
        room.replyto = event.replyto
    elif "setpoint" in message:
        room.setpoint = number(message["setpoint"], 5, 30)
        if room.replyto:
            told = push(room.replyto, Reply(room.state(), mqtt_topic=f"rooms/{name}/command"), timeout=2)
            return room.state() | {"told": bool(told)}
    return room.state()


def number(value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise reject(f"send a number from {low} to {high}", status=422)
    return float(value)
