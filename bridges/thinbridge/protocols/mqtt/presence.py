"""Connect and disconnect as events: `dev.thinbridge.session.opened` and `.closed`, for routes that ask for them."""

from thinbridge import contract
from thinbridge.protocols.base import Inbound
from thinbridge.protocols.mqtt.connect import Connect


def opened(exchange: int, connect: Connect, present: bool) -> Inbound:
    """A CONNECT was accepted."""
    attributes = {"mqttversion": _version(connect.v5), "mqttpresent": "true" if present else "false"}
    return Inbound(exchange, contract.SESSION_OPENED, None, attributes, None, b"", wants_reply=False)


def closed(exchange: int, why: str, v5: bool) -> Inbound:
    """A connection is over.

    Args:
        exchange: the event's number.
        why: `disconnect`, `lost`, `taken_over`, `drain`, …, or the counter that says what was wrong.
        v5: it spoke MQTT 5.
    """
    attributes = {"mqttversion": _version(v5), "mqttreason": why}
    return Inbound(exchange, contract.SESSION_CLOSED, None, attributes, None, b"", wants_reply=False)


def _version(v5: bool) -> str:
    return "5" if v5 else "3.1.1"
