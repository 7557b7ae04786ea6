"""TD_COAP_OBS of ETSI's CoAP#4 plugtest: observing what a function says (RFC 7641).

/obs changes every second: the bridge asks the function anew before Max-Age ends. Who writes to it makes the function
push.
"""

from collections.abc import Iterator

import pytest
from tests.bridges.protocols.coap.bench import Bench, ask
from tests.interop.bridges import standing
from tests.interop.plugtest.conftest import PERIOD
from tests.interop.plugtest.function.main import LARGE, plugtest
from tests.interop.plugtest.wire import Device, number, said_block

from thinbridge.protocols.base import Outbound, Outcome, Reply
from thinbridge.protocols.coap.codec import Message, OptionValue
from thinbridge.protocols.coap.codes import CONTENT, GET, Option, Type, dotted
from thinbridge.testing.function import Answer, Posted
from thinbridge_functions.serving import SERVED

TEXT, JSON = 0, 50
REGISTER, CANCEL = (int(Option.OBSERVE), b""), (int(Option.OBSERVE), b"\1")
SILENCE = PERIOD * 1.5
"""Seconds in which something would be said if the observation went on."""


class Observer:
    """A client that observes, and checks what each notification must be."""

    def __init__(self, device: Device, path: str = "/obs", type: int = Type.CON, token: bytes = b"observer") -> None:
        self.device, self.path, self.type, self.token = device, path, type, token
        self.first = device.ask("GET", path, REGISTER, type=type, token=token)
        assert dotted(self.first.code) == "2.05"
        assert number(self.first, Option.CONTENT_FORMAT) == TEXT
        self.sequence = self._observe(self.first)
        assert self.first.payload

    def _observe(self, message: Message) -> int:
        sequence = number(message, Option.OBSERVE)
        assert sequence is not None, f"{message} is no notification"
        return sequence

    def notification(self, *kinds: int, acknowledge: bool = True) -> Message:
        """The next one: of the same content-format, and newer."""
        heard = self.device.hear()
        assert (heard.type in kinds, heard.token) == (True, self.token)
        assert dotted(heard.code) == "2.05"
        assert number(heard, Option.CONTENT_FORMAT) == TEXT
        sequence = self._observe(heard)
        assert 0 < sequence - self.sequence & 0xFFFFFF < 1 << 23  # RFC 7641 §3.4
        self.sequence = sequence
        if heard.type == Type.CON and acknowledge:
            self.device.acknowledge(heard)
        return heard

    def ask(self, *options: OptionValue, token: bytes) -> Message:
        """A GET of the same resource; notifications that are under way may come first."""
        request = self.device.request("GET", self.path, *options, token=token)
        self.device.send(request)
        while (heard := self.device.hear()).type == Type.CON:
            self.device.acknowledge(heard)
        assert (heard.mid, heard.token, dotted(heard.code)) == (request.mid, token, "2.05")
        assert heard.get(Option.OBSERVE) is None
        return heard

    def last(self, code: str) -> None:
        """The one that ends it: a CON, without Observe; and then nothing."""
        while (heard := self.device.hear()).code == CONTENT:  # one that was under way already
            self.device.acknowledge(heard)
        assert (heard.type, heard.token, dotted(heard.code)) == (Type.CON, self.token, code)
        assert heard.get(Option.OBSERVE) is None
        self.device.acknowledge(heard)
        self.device.hears_nothing(SILENCE)


@pytest.fixture
def other(device: Device) -> Iterator[Device]:
    """Somebody else, who changes what is observed."""
    with Device(device.server) as one:
        yield one


def test_obs_01(device: Device) -> None:
    """Observation with CON notifications."""
    observer = Observer(device)
    texts = {observer.first.payload, *(observer.notification(Type.CON).payload for _ in range(3))}
    assert len(texts) == 4


def test_obs_02(device: Device) -> None:
    """Observation with NON notifications."""
    observer = Observer(device, "/obs-non", Type.NON)
    observer.notification(Type.NON)
    observer.notification(Type.NON)  # 3 s later: nothing is known of the way (RFC 7641 §4.5.1)


def test_obs_03(device: Device) -> None:
    """The client ends it: GET with Observe 1 and the same token."""
    observer = Observer(device)
    observer.notification(Type.CON)
    observer.ask(CANCEL, token=observer.token)
    device.hears_nothing(SILENCE)


def test_obs_04(device: Device, other: Device) -> None:
    """The server loses its observations and says nothing; the client registers again when Max-Age has ended."""
    observer = Observer(device)
    observer.notification(Type.CON)
    assert dotted(other.ask("POST", "/obs-reset", payload=b"sesame", format=TEXT).code) == "2.04"
    device.hears_nothing(PERIOD * 2)
    Observer(device).notification(Type.CON)  # with the same token


def test_obs_04_by_another_server() -> None:
    """The same when the server is started anew: what it says before and afterwards are two observations."""
    served = getattr(plugtest, SERVED)

    def function(posted: Posted) -> Answer:
        response = served.respond(posted.method, posted.path, posted.headers.items(), posted.body)
        return Answer(response.status, dict(response.headers), response.body)

    with standing(function) as before, Device(before.coap) as device:
        Observer(device)
        own, port = device.port, before.coap
    listen = [f"coap://127.0.0.1:{port}", "mqtt://127.0.0.1:0", "udp://127.0.0.1:0"]
    with standing(function, listen=listen), Device(port, own) as device:
        device.hears_nothing()
        Observer(device)


def test_obs_05(device: Device, other: Device) -> None:
    """The client is switched off: the server repeats itself with its newest state, and then gives up."""
    observer = Observer(device)
    observer.notification(Type.CON, acknowledge=False)
    assert dotted(other.ask("PUT", "/obs", payload=b"newer", format=TEXT).code) == "2.04"
    repeat = observer.notification(Type.CON, acknowledge=False)  # with a newer Observe, too
    assert repeat.payload == b"newer"
    device.acknowledge(repeat)


def test_obs_05_to_its_end() -> None:
    """The same in virtual time: the client's silence is 93 s long at most, then nobody observes any more."""
    bench, state = Bench(), Outbound("text/plain", b"2")
    bench.send(ask(1, REGISTER, code=GET, payload=b""))
    bench.answer(Reply(Outcome.ACCEPTED, 200, "text/plain", b"1", {"coapobserve": "true", "coapconfirmable": "true"}))
    assert bench.owner.publish("", state, bench.now) == 1
    heard = bench.said() + bench.wait(93)
    assert [one.type for one in heard] == [Type.CON] * 5
    assert bench.owner.publish("", state, bench.now) == 0
    assert bench.wait(1000) == []


def test_obs_06(device: Device) -> None:
    """The client has forgotten it: RST ends it."""
    observer = Observer(device)
    observer.notification(Type.CON)
    heard = observer.notification(Type.CON, acknowledge=False)
    device.acknowledge(heard, Type.RST)
    device.hears_nothing(SILENCE)


def test_obs_07(device: Device, other: Device) -> None:
    """The resource is deleted: 4.04 is the last that observers hear."""
    observer = Observer(device)
    observer.notification(Type.CON)
    assert dotted(other.ask("DELETE", "/obs").code) == "2.02"
    observer.last("4.04")


def test_obs_08(device: Device, other: Device) -> None:
    """The resource changes its Content-Format: 4.06 is the last that observers hear."""
    observer = Observer(device)
    observer.notification(Type.CON)
    assert dotted(other.ask("PUT", "/obs", payload=b"{}", format=JSON).code) == "2.04"
    observer.last("4.06")


def test_obs_09(device: Device, other: Device) -> None:
    """The resource is updated: observers hear the new state."""
    observer = Observer(device)
    observer.notification(Type.CON)
    assert dotted(other.ask("PUT", "/obs", payload=b"new value", format=TEXT).code) == "2.04"
    texts = [observer.notification(Type.CON).payload for _ in range(2)]
    assert b"new value" in texts


def test_obs_10(device: Device) -> None:
    """A GET without Observe, and with another token, ends nothing."""
    observer = Observer(device)
    observer.ask(token=b"other")
    observer.notification(Type.CON)


def test_obs_11(device: Device) -> None:
    """In a lossy context: there never are two notifications under way at a time."""
    observer = Observer(device)
    heard = observer.notification(Type.CON, acknowledge=False)
    device.hears_nothing(1.8)  # though there were new states meanwhile; the first repeat is after 2 to 3 s
    device.acknowledge(heard)
    observer.notification(Type.CON)


def test_obs_12(device: Device) -> None:
    """GET with Observe 1 ends it; a token that observes nothing makes no difference."""
    observer = Observer(device)
    observer.ask(CANCEL, token=b"another")
    observer.notification(Type.CON)
    observer.ask(CANCEL, token=observer.token)
    device.hears_nothing(SILENCE)


def rest(device: Device, path: str, first: Message) -> bytes:
    """The whole of what a notification is the first block of (RFC 7959 §2.6)."""
    one = said_block(first, Option.BLOCK2)
    if one is None or not one.more:
        return first.payload
    assert len(first.payload) == one.size
    return device.fetch(path, first=first).payload


def test_obs_13(device: Device) -> None:
    """Observation of a large resource: a notification is its first block, the client fetches the others."""
    observer = Observer(device, "/obs-large")
    assert rest(device, "/obs-large", observer.first).endswith(LARGE.encode())
    heard = observer.notification(Type.CON)
    assert rest(device, "/obs-large", heard).endswith(LARGE.encode())


def test_obs_14(device: Device) -> None:
    """Observation of a resource that is large at times: with blocks, and without."""
    observer = Observer(device, "/obs-pumping")
    sizes = {len(rest(device, "/obs-pumping", observer.notification(Type.CON))) > 1024 for _ in range(2)}
    assert sizes == {True, False}
