"""The public contract between bridges and functions: the words that both sides use.

Imported by protocols, the mapping, the handler SDK and the command line; itself imports nothing but the standard
library. `docs/contract.md` tells the same to users, and `tests/vectors/` fixes it byte by byte. A name in here is
public: changing one breaks functions that are deployed.
"""

from typing import Final

SPECVERSION: Final = "1.0"
VERSION: Final = "v1alpha1"
"""The contract's own version; additions keep it, anything that breaks a deployed function changes it."""

TYPE_PREFIX: Final = "dev.thinbridge."
"""Event types below it are made by bridges only; a device that claims one is refused."""

COAP_REQUEST: Final = "dev.thinbridge.coap.request"
MQTT_MESSAGE: Final = "dev.thinbridge.mqtt.message"
MQTT_WILL: Final = "dev.thinbridge.mqtt.will"
UDP_DATAGRAM: Final = "dev.thinbridge.udp.datagram"
SESSION_OPENED: Final = "dev.thinbridge.session.opened"
SESSION_CLOSED: Final = "dev.thinbridge.session.closed"

SESSION_TYPES: Final = frozenset((SESSION_OPENED, SESSION_CLOSED))
"""Off unless a route asks for them (`sessions: true`)."""

REPLY_SUFFIX: Final = ".reply"
"""The SDK types a reply `<request type>.reply`: a Broker re-evaluates replies, so the types must differ."""

OCTET_STREAM: Final = "application/octet-stream"
"""The `datacontenttype` of a message whose protocol names none."""

# What the bridge sets and a device can't: see `OWNED`.
DEVICEID: Final = "deviceid"
AUTHTYPE: Final = "authtype"
AUTHID: Final = "authid"
SESSIONID: Final = "sessionid"
REPLYTO: Final = "replyto"
REPLYBY: Final = "replyby"
PARTITIONKEY: Final = "partitionkey"
TRACEPARENT: Final = "traceparent"
CAUSATIONID: Final = "causationid"
PEER: Final = "peer"

COAP_ATTRIBUTES: Final = (
    "coapmethod", "coapquery", "coapformat", "coapaccept", "coapacceptformat",
    "coaphost", "coapport", "coaphoplimit",
    "coapifmatch", "coapifnonematch", "coapobserve", "coaprange", "coapoptions",
)  # fmt: skip
MQTT_ATTRIBUTES: Final = ("mqttqos", "mqttretain", "mqttdup", "mqttuserprops")

OWNED: Final = frozenset(
    (
        *(DEVICEID, AUTHTYPE, AUTHID, SESSIONID, REPLYTO, REPLYBY, PARTITIONKEY, TRACEPARENT, PEER),
        *COAP_ATTRIBUTES,
        *MQTT_ATTRIBUTES,
    )
)
"""Names that this contract owns: dropped from an event that a device sends, set by the bridge."""

REPLY_ATTRIBUTES: Final = (
    "coapcode", "coapformat", "coapmaxage", "coapetag", "coapobserve", "coapconfirmable", "contentrange",
    "coapoptions",
    "mqtttopic", "mqttqos", "mqttretain", "mqttexpiry",
)  # fmt: skip
"""How a reply event steers the answer; a protocol ignores what it does not know."""


def source(namespace: str, bridge: str) -> str:
    """The `source` of a bridge's events: the path that its Kubernetes resource has."""
    return f"/apis/v1/namespaces/{namespace}/bridges/{bridge}"
