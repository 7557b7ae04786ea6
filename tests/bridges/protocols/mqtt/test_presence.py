"""Connect and disconnect as events."""

from thinbridge import contract
from thinbridge.protocols.mqtt import presence
from thinbridge.protocols.mqtt.connect import V311, Connect


def test_opened() -> None:
    one = presence.opened(7, Connect("c"), True)
    assert (one.exchange, one.type, one.subject) == (7, contract.SESSION_OPENED, None)
    assert one.attributes == {"mqttversion": "5", "mqttpresent": "true"}
    assert presence.opened(7, Connect("c", V311), False).attributes == {"mqttversion": "3.1.1", "mqttpresent": "false"}


def test_closed() -> None:
    one = presence.closed(8, "lost", False)
    assert (one.exchange, one.type) == (8, contract.SESSION_CLOSED)
    assert one.attributes == {"mqttversion": "3.1.1", "mqttreason": "lost"}
    assert not one.wants_reply
    assert not one.at_least_once
