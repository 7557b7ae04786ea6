"""What a CONNECT is granted, and the CONNACK that says so (§3.2.2.3): pure.

Called by the session when a connection is accepted.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from thinbridge.protocols.base import Path
from thinbridge.protocols.mqtt import aliases, properties, reasons, templates, wire
from thinbridge.protocols.mqtt.connect import Connect, encode_connack
from thinbridge.protocols.mqtt.connection import Connection

if TYPE_CHECKING:
    from thinbridge.protocols.mqtt import MQTTSettings

FOR_EVER: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Grant:
    """The terms of one connection."""

    connect: Connect
    settings: "MQTTSettings"
    keep_alive: int
    session_expiry: float
    """Seconds that the Session outlives the connection."""

    def connection(self, path: Path, now: float) -> Connection:
        """The connection on these terms."""
        values, settings, v5 = self.connect.properties, self.settings, self.connect.v5
        connection = Connection(path, v5, self.keep_alive, settings.max_packet, now)
        if v5:
            connection.max_outgoing = values.get(properties.MAXIMUM_PACKET_SIZE, wire.MAX_REMAINING + 5)
            connection.receive_maximum = values.get(properties.RECEIVE_MAXIMUM, 0xFFFF)
            connection.verbose = values.get(properties.REQUEST_PROBLEM_INFO, 1) == 1
            theirs = values.get(properties.TOPIC_ALIAS_MAXIMUM, 0)
            connection.aliases = aliases.Incoming(settings.topic_aliases)
            connection.outgoing = aliases.Outgoing(min(theirs, settings.topic_aliases))
        return connection


def grant(connect: Connect, settings: "MQTTSettings") -> Grant:
    """What it asked for, within what the listener allows."""
    if connect.v5:
        wanted = connect.properties.get(properties.SESSION_EXPIRY, 0)
        keep_alive = min(connect.keep_alive or settings.keep_alive, settings.keep_alive)
    else:
        wanted = 0 if connect.clean else FOR_EVER
        keep_alive = connect.keep_alive
    return Grant(connect, settings, keep_alive, float(min(wanted, settings.session_expiry)))


def connack(granted: Grant, present: bool, assigned: bool, device: str) -> bytes:
    """The CONNACK of success (MQTT-3.1.4-5; 3.1.1: MQTT-3.1.4-4).

    In MQTT 5 it says what this server does differently from what §3.2.2.3 takes for granted.

    Args:
        granted: the terms.
        present: the Session was there before.
        assigned: the client identifier is ours.
        device: the `deviceid`.
    """
    connect, settings = granted.connect, granted.settings
    if not connect.v5:
        return encode_connack(reasons.SUCCESS, present, False)
    values: dict[int, object] = {  # no Authentication Method: MQTT-4.12.0-6
        properties.RECEIVE_MAXIMUM: settings.window,
        properties.MAXIMUM_PACKET_SIZE: settings.max_packet,
        properties.TOPIC_ALIAS_MAXIMUM: settings.topic_aliases,
        properties.SHARED_AVAILABLE: 0,
    }
    if granted.session_expiry != connect.properties.get(properties.SESSION_EXPIRY, 0):
        values[properties.SESSION_EXPIRY] = int(granted.session_expiry)
    if assigned:
        values[properties.ASSIGNED_CLIENT_ID] = connect.client_id  # MQTT-3.2.2-16
    if granted.keep_alive != connect.keep_alive:
        values[properties.SERVER_KEEP_ALIVE] = granted.keep_alive  # MQTT-3.2.2-21, MQTT-3.2.2-22
    names = {"{deviceid}": device, "{clientid}": connect.client_id}
    asked = connect.properties.get(properties.REQUEST_RESPONSE_INFO) == 1  # MQTT-3.1.2-28
    if asked and settings.response_info and templates.fits(settings.response_info, names):
        values[properties.RESPONSE_INFO] = templates.fill(settings.response_info, names)
    return encode_connack(reasons.SUCCESS, present, True, values)
