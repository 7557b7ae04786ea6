"""The UDP device: one datagram, and the first that comes back."""

from thinbridge.device.base import Result
from thinbridge.device.udp import Datagram


def test_one_datagram_and_the_first_answer() -> None:
    device = Datagram(b"21.5")
    device.start(0.0)
    assert device.data_to_send() == [b"21.5"]
    assert device.data_to_send() == []
    assert device.next_timer() is None
    device.handle_timer(1.0)
    assert device.result is None
    device.receive(b"ok", 1.0)
    device.receive(b"late", 2.0)
    assert device.result == Result(True, "reply", None, b"ok")
