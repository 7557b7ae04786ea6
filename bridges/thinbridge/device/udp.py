"""A UDP device: one datagram out, and the first that comes back is its answer."""

from thinbridge.device.base import Exchange, Result


class Datagram(Exchange):
    """Send one datagram and wait for one.

    Args:
        data: the payload.
    """

    def __init__(self, data: bytes) -> None:
        self._out = [data]

    def start(self, now: float) -> None:
        """Nothing to prepare: UDP neither greets nor repeats."""

    def receive(self, data: bytes, now: float) -> None:
        """Whatever comes is the answer."""
        self.result = self.result or Result(True, "reply", None, data)

    def data_to_send(self) -> list[bytes]:
        """The datagram, once."""
        out, self._out = self._out, []
        return out
