"""What a device gets of an answer, in words: its protocol's own word for it, and what was dropped on the way."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from thinbridge.protocols.base import Endpoint, Inbound, Outcome, Reply
from thinbridge.protocols.coap.codes import BAD_GATEWAY, METHODS, dotted
from thinbridge.protocols.coap.request import Request
from thinbridge.protocols.coap.response import respond
from thinbridge.protocols.mqtt import reasons
from thinbridge.telemetry.logs import printable

OUTCOMES: Final = {
    Outcome.ACCEPTED: "done",
    Outcome.PENDING: "to be answered later",
    Outcome.REFUSED: "refused",
    Outcome.OVERLOADED: "not done, try again",
    Outcome.UNKNOWN: "perhaps not done",
    Outcome.BAD_GATEWAY: "not done",
}
"""What the device is told, where there is no data that says it."""
GOOD: Final = (Outcome.ACCEPTED, Outcome.PENDING)
DATA: Final = 60
"""Characters of a payload that are shown."""
INVALID: Final = "reply_invalid"
"""The counter of steering that can't be said in the protocol: the answer goes out without it."""
UNSENT: Final = "no_response"
"""The counter of answers of which the device wanted nothing, not even the code."""
UNUSABLE: Final = "range_invalid"
"""The counter of answers that are not the part of a representation that was asked for."""
LOST: Final = (
    *("not_subscribed", "outbound_busy", "outbound_too_large"),
    *("reply_too_large", "amplification", UNUSABLE, UNSENT),
)
"""The counters of answers whose data no device got."""
_NUMBERS: Final = {name: number for number, name in METHODS.items()}


class Drops:
    """What endpoints drop of answers: they count it while they are told, and tell nobody.

    So whoever looks whenever a message came, was answered or was pushed sees what this one lost.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def look(self, endpoint: Endpoint) -> list[str]:
        """The names of what was dropped since the last look."""
        risen = []
        for name in (*LOST, INVALID):
            key, count = f"{endpoint.name} {name}", endpoint.counters.get(name, 0)
            if count > self._seen.get(key, 0):
                risen.append(name)
            self._seen[key] = count
        return risen


def heard(endpoint: Endpoint, inbound: Inbound, reply: Reply, drops: Sequence[str] = (), reached: bool = True) -> str:
    """Data, where the protocol carries some; else what became of the message, and how the device is told.

    Args:
        endpoint: the protocol's.
        inbound: the message.
        reply: its answer.
        drops: what `Drops` saw of it.
        reached: whether the function may have seen the message.
    """
    lost = [name for name in drops if name != INVALID]
    words = f"answer dropped: {', '.join(lost)}" if lost else _words(endpoint, inbound, reply, reached)
    if INVALID in drops:
        words += f", dropped in part: {INVALID}"
    return f"{_code(endpoint, inbound, reply, drops)} {words}".lstrip()


def _words(endpoint: Endpoint, inbound: Inbound, reply: Reply, reached: bool) -> str:
    data = payload(reply.data)
    carried = (Outcome.ACCEPTED, Outcome.REFUSED) if _is_coap(endpoint) else (Outcome.ACCEPTED,)
    if data and reply.outcome in carried and (inbound.wants_reply or "mqtttopic" in reply.attributes):
        return data
    words = OUTCOMES[reply.outcome]
    if not reached and reply.outcome is Outcome.UNKNOWN:
        words = "not done, the function did not start"  # the bridge can't know that a 503 came from `dev` itself
    if reply.outcome is Outcome.REFUSED and data:
        words = f"{words}: {data}"  # the function's word, for whoever reads this: the device does not get it
    return ", ".join(word for word in (words, _word(endpoint, inbound, reply)) if word)


def _word(endpoint: Endpoint, inbound: Inbound, reply: Reply) -> str:
    """How the protocol says that it was not done; empty where the outcome, or CoAP's code, says enough."""
    if reply.outcome in GOOD:
        return ""
    if endpoint.protocol == "udp" or (endpoint.protocol == "mqtt" and not inbound.at_least_once):
        return "silence"
    if endpoint.protocol != "mqtt":
        return ""
    ack = "PUBREC" if inbound.attributes.get("mqttqos") == "2" else "PUBACK"
    if reply.outcome is not Outcome.REFUSED:
        return f"no {ack}"
    return f"{ack} 0x{reasons.refused(reply.status):02x} (MQTT 3.1.1: {ack})"  # 3.1.1 has none that says no


def _code(endpoint: Endpoint, inbound: Inbound, reply: Reply, drops: Sequence[str]) -> str:
    """CoAP's code, from where the session has it; empty for other protocols, and where none was sent."""
    method = _NUMBERS.get(inbound.attributes.get("coapmethod", ""))
    if not _is_coap(endpoint) or method is None or reply.outcome is Outcome.PENDING or UNSENT in drops:
        return ""
    if UNUSABLE in drops:
        return dotted(BAD_GATEWAY)
    return dotted(respond(Request(method, (), {}), reply, Counter())[0])


def _is_coap(endpoint: Endpoint) -> bool:
    """Over UDP, over connections or under OSCORE: the same responses."""
    return endpoint.protocol.partition("+")[0] == "coap"


def payload(data: bytes) -> str:
    """Bytes from outside as short text; what is no UTF-8 is escaped."""
    text = cut(data[: 4 * DATA].rstrip(b"\r\n").decode("utf-8", "backslashreplace"), DATA)
    return text if len(data) <= DATA else f"{text} ({len(data)} B)"


def cut(text: str, limit: int) -> str:
    """Text from outside: nothing in it acts on the terminal, and there is not too much of it."""
    text = printable(text)
    return text if len(text) <= limit else f"{text[:limit]}…"
