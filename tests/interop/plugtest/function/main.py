"""The plugtest function: what a CoAP server must offer for ETSI's scenarios, as one handler behind a bridge.

The resources are those of the CoAP#4 plugtest's test descriptions, under the paths that other stacks' checkers ask for,
so any of them may be pointed at it:

    thinbridge dev tests/interop/plugtest/function --config tests/interop/plugtest/function/bridge.yaml

Everything is kept in this process: a plugtest is over before anybody scales it.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from thinbridge_functions import Event, Reply, handler, publish, reject, retry

SEPARATE = float(os.environ.get("PLUGTEST_SEPARATE", "2"))
"""Seconds that /separate takes: longer than a bridge waits before its empty ACK."""
PERIOD = int(os.environ.get("PLUGTEST_PERIOD", "5"))
"""Seconds after which /obs and its like have another state: their Max-Age."""

PLAIN, XML, JSON, LINKS = "text/plain;charset=utf-8", "application/xml", "application/json", "application/link-format"
FORMATS = {"0": ("plain text", PLAIN), "41": ("<text>xml</text>", XML), "50": ('{"text": "json"}', JSON)}
"""The representations of /multi-format, by the numbers that Accept has."""
ROW = "|" + "-" * 62 + "|\n"  # of 65 bytes, so that no block ends where a row does
LARGE = "".join(f"{number:03d}{ROW[3:]}" for number in range(32))
"""2,080 bytes: three blocks of 1,024, a hundred and thirty of 16."""


ANY = ""
"""An empty If-Match: whatever there is (RFC 7252 §5.10.8.1)."""


@dataclass
class Stored:
    """A resource that clients may write."""

    data: bytes
    content_type: str = PLAIN

    @property
    def etag(self) -> bytes:
        """Another one for other content (RFC 7252 §5.10.6)."""
        return blake2b(self.content_type.encode() + self.data, digest_size=4).digest()

    def get(self, event: Event) -> Reply:
        """Its representation."""
        return Reply(self.data, self.content_type, coap_etag=self.etag)

    def put(self, event: Event) -> Reply:
        """Write it, on the conditions that the request names (RFC 7252 §5.10.8)."""
        wanted = event.get("coapifmatch")
        if wanted is not None and not {self.etag.hex(), ANY}.intersection(wanted.split(",")):
            raise reject("it was changed", status=412)
        if event.get("coapifnonematch"):
            raise reject("it is there", status=412)
        self.data, self.content_type = event.data, event.datacontenttype or PLAIN
        return Reply("changed", PLAIN)


STORED = {"validate": Stored(b"first version"), "large-update": Stored(LARGE.encode())}
CREATED: dict[str, Stored] = {}

Method = Callable[[Event], Reply]


@handler
def plugtest(event: Event) -> Reply:
    path, method = event.subject or "", event["coapmethod"]
    methods = RESOURCES.get(path, {}) | _created(path)
    if method not in methods:
        raise reject("no such resource", status=404) if not methods else reject("no such method", status=405)
    return methods[method](event)


def _created(path: str) -> dict[str, Method]:
    """What clients have created."""
    stored = CREATED.get(path)
    return {} if stored is None else {"GET": stored.get, "PUT": stored.put, "DELETE": _remove}


def _remove(event: Event) -> Reply:
    del CREATED[event.subject or ""]
    return Reply()


def text(event: Event) -> Reply:
    """What was asked, in one line."""
    query = event.get("coapquery")
    said = f"{event['coapmethod']} /{event.subject or ''}{'' if query is None else '?' + query}"
    return Reply(said, PLAIN, coap_max_age=30)


def slowly(event: Event) -> Reply:
    """An answer that takes its time."""
    time.sleep(SEPARATE)
    return text(event)


def taken(event: Event) -> Reply:
    """2.04, and how much came."""
    return Reply(f"{len(event.data)} bytes", PLAIN)


def gone(event: Event) -> Reply:
    """2.02, with nothing to say."""
    return Reply()


def created_below(event: Event) -> Reply:
    """2.01, somewhere else: several Location-Path options."""
    return Reply(status=201, location="/location1/location2/location3")


def created_with_query(event: Event) -> Reply:
    """2.01: several Location-Query options."""
    return Reply(status=201, location="/?first=1&second=2")


def create_once(event: Event) -> Reply:
    """2.01; from then on it is a resource as any other, with its If-None-Match."""
    CREATED[event.subject or ""] = Stored(event.data, event.datacontenttype or PLAIN)
    return Reply(status=201)


def create_another(event: Event) -> Reply:
    """2.01, at a path of its own each time."""
    path = f"{event.subject}/{len(CREATED) + 1}"
    CREATED[path] = Stored(event.data, event.datacontenttype or PLAIN)
    return Reply(status=201, location=f"/{path}")


def formats(event: Event) -> Reply:
    """The same in three formats; 4.06 for a fourth (RFC 7252 §5.10.4)."""
    wanted = event.get("coapacceptformat") or "0"
    if wanted not in FORMATS:
        raise reject("text/plain, application/xml or application/json", status=406)
    return Reply(*FORMATS[wanted])


def links(event: Event) -> Reply:
    """The entries of a directory (RFC 6690 §5)."""
    return Reply(",".join(f'</path/sub{number}>;rt="sub"' for number in (1, 2, 3)), LINKS)


def large(event: Event) -> Reply:
    """More than one datagram takes."""
    return Reply(LARGE, PLAIN)


def large_slowly(event: Event) -> Reply:
    """More than one datagram takes, after a while."""
    time.sleep(SEPARATE)
    return large(event)


def upper(event: Event) -> Reply:
    """What came, in capitals: as large as it was."""
    return Reply(event.text().upper(), PLAIN)


# --- What changes by itself, and may be observed ----------------------------------------------------------------------


@dataclass
class Written:
    """What a client has written to a resource that changes by itself: it stays until the next change."""

    data: bytes
    content_type: str
    until: float


WRITTEN: dict[str, Written] = {}


OBSERVING: set[tuple[str | None, str | None]] = set()
"""Devices and what they observe, since the last /obs-reset."""


def changing(event: Event, content: str | None = None, *, confirmable: bool | None = None) -> Reply:
    """Another text each time. Who observes has it anew before Max-Age ends: the bridge asks for it (`refresh`)."""
    observer = event.sessionid, event.subject
    if event.get("coapobserve") == "register":
        OBSERVING.add(observer)
    elif event.get("coapobserve") == "refresh" and observer not in OBSERVING:
        raise retry()
    written = WRITTEN.get(event.subject or "")
    if content is not None:
        data, content_type = content.encode(), PLAIN
    elif written is not None and time.monotonic() < written.until:
        data, content_type = written.data, written.content_type
    else:
        data, content_type = f"at {time.time():.2f}".encode(), PLAIN
    return Reply(data, content_type, coap_observe="refresh", coap_max_age=PERIOD, coap_confirmable=confirmable)


def changing_unconfirmed(event: Event) -> Reply:
    """Its notifications are NONs, but for those that the bridge confirms by itself."""
    return changing(event, confirmable=False)


def changing_large(event: Event) -> Reply:
    """More than one datagram takes."""
    return changing(event, f"at {time.time():.2f}\n{LARGE}")


def changing_size(event: Event) -> Reply:
    """Large, then small, and so on."""
    large = WRITTEN.pop("obs-pumping", None) is None
    if large:
        WRITTEN["obs-pumping"] = Written(b"", PLAIN, 0)
    return changing_large(event) if large else changing(event, f"at {time.time():.2f}")


def write(event: Event) -> Reply:
    """A new state; another format than before ends what observes it (RFC 7641 §4.2), which the bridge knows."""
    written = Written(event.data, event.datacontenttype or PLAIN, time.monotonic() + PERIOD)
    WRITTEN[event.subject or ""] = written
    publish(event, event.subject or "", Reply(written.data, written.content_type, coap_max_age=PERIOD))
    return Reply()


def delete(event: Event) -> Reply:
    """It is gone, and so is what observed it: 4.04 is the last notification (RFC 7641 §3.2)."""
    WRITTEN.pop(event.subject or "", None)
    publish(event, event.subject or "", Reply("deleted", PLAIN, coap_code="4.04"))
    return Reply()


def reset(event: Event) -> Reply:
    """Nobody observes any more as far as this function knows: it has nothing to say to who is asked for."""
    if event.data != b"sesame":
        raise reject("say the word", status=403)
    OBSERVING.clear()
    return Reply()


READ: dict[str, Method] = {"GET": text}

RESOURCES: dict[str, dict[str, Method]] = {
    "": READ,
    "test": {"GET": text, "PUT": taken, "POST": created_below, "DELETE": gone},
    **{path: READ for path in ("seg1", "seg1/seg2", "seg1/seg2/seg3", "query")},
    **{path: READ for path in ("link1", "link2", "link3", "path/sub1", "path/sub2", "path/sub3")},
    "path": {"GET": links},
    "separate": {"GET": slowly},
    "validate": {"GET": STORED["validate"].get, "PUT": STORED["validate"].put},
    "create1": {"PUT": create_once},
    "location-query": {"POST": created_with_query},
    "multi-format": {"GET": formats},
    "large": {"GET": large},
    "large-separate": {"GET": large_slowly},
    "large-update": {"GET": STORED["large-update"].get, "PUT": STORED["large-update"].put},
    "large-create": {"POST": create_another},
    "large-post": {"POST": upper},
    "obs": {"GET": changing, "PUT": write, "DELETE": delete},
    "obs-non": {"GET": changing_unconfirmed, "PUT": write, "DELETE": delete},
    "obs-large": {"GET": changing_large},
    "obs-pumping": {"GET": changing_size},
    "obs-reset": {"POST": reset},
}
