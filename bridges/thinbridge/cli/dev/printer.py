"""What `thinbridge dev` shows: one readable line a message, and what happens to the function.

A line is the way of a message: device → event → function → reply. Everything in it that came from outside is escaped
and cut, so no device can move the cursor, colour the terminal or fill it.
"""

import time
from typing import Final

import typer

from thinbridge.cli.console import colourful
from thinbridge.delivery import Answer, Verdict
from thinbridge.events import Event
from thinbridge.protocols.base import Endpoint, Inbound, Outbound, Outcome, PushResult, Reply, Session
from thinbridge.protocols.mqtt import reasons
from thinbridge.telemetry.logs import printable

VERDICTS: Final = {
    Verdict.DEAD_LETTERED: "dead letter",
    Verdict.UNREACHED: "not reached",
    Verdict.UNKNOWN: "gave up",
    Verdict.OVERLOADED: "too many at once",
    Verdict.BAD_GATEWAY: "no use",
    Verdict.CANCELLED: "cancelled",
}
"""What became of a delivery, where the function's status does not say it."""
OUTCOMES: Final = {
    Outcome.ACCEPTED: "done",
    Outcome.PENDING: "to be answered later",
    Outcome.REFUSED: "refused",
    Outcome.OVERLOADED: "not done, try again",
    Outcome.UNKNOWN: "perhaps not done",
    Outcome.BAD_GATEWAY: "not done",
}
"""What the device is told, where there is no data that says it."""
DATA: Final = 60
"""Characters of a payload that are shown."""
GOOD: Final = (Outcome.ACCEPTED, Outcome.PENDING)


class Printer:
    """The bridge's observer, and the voice of everything else in `dev`."""

    def __init__(self) -> None:
        self._colourful = colourful()
        self._open: dict[tuple[str, int], tuple[bytes, Endpoint, Session, Inbound]] = {}
        """Messages of which nothing has been said yet, by session and exchange, with their event's id."""

    def say(self, who: str, what: str) -> None:
        """Something happened."""
        self._line(who, what)

    def trouble(self, who: str, what: str) -> None:
        """Something went wrong."""
        self._line(who, self._style(_cut(what, 300), fg="red"))

    def output(self, line: str) -> None:
        """A line that the function printed."""
        self._line("function", self._style(f"| {_cut(line, 400)}", dim=True))

    def received(self, endpoint: Endpoint, session: Session, inbound: Inbound, event: Event) -> None:
        """Nothing yet: its line is printed when it fails or ends; a cold start speaks for itself."""
        self._open[session.id, inbound.exchange] = event.attributes.get("id", "").encode(), endpoint, session, inbound

    def failed(self, asked: bytes, why: str) -> None:
        """A try failed, and another one follows: said once a message.

        Args:
            asked: the beginning of the request; the message's id is in it.
            why: what the function said.
        """
        for key, (id, endpoint, session, inbound) in self._open.items():
            if id and id in asked:
                del self._open[key]
                ways = (*self._way(endpoint, session, inbound), self._style(why, fg="red"), "kept and tried again")
                self._line(endpoint.name, self._style(" → ", dim=True).join(ways))
                return

    def answered(
        self, endpoint: Endpoint, session: Session, inbound: Inbound, answer: Answer, reply: Reply, seconds: float
    ) -> None:
        """A message came to its end."""
        self._open.pop((session.id, inbound.exchange), None)
        words = (str(answer.status or ""), VERDICTS.get(answer.verdict, ""), _time(seconds))
        function = ", ".join(word for word in words if word)
        good = reply.outcome in GOOD
        ways = (
            *self._way(endpoint, session, inbound),
            self._style(function, fg="green" if good else "red"),
            _heard(endpoint, inbound, reply),
        )
        self._line(endpoint.name, self._style(" → ", dim=True).join(ways))

    def _way(self, endpoint: Endpoint, session: Session, inbound: Inbound) -> tuple[str, str]:
        return f"{_device(session)} {_request(endpoint, inbound)}", inbound.type

    def pushed(self, endpoint: Endpoint, session: Session, outbound: Outbound, result: PushResult) -> None:
        """Somebody posted to a reply address."""
        colour = "green" if result in (PushResult.DELIVERED, PushResult.QUEUED) else "red"
        ways = (
            f"push {_payload(outbound.data)}".rstrip(),
            _device(session),
            self._style(result.name.lower(), fg=colour),
        )
        self._line(endpoint.name, self._style(" → ", dim=True).join(ways))

    def _line(self, who: str, what: str) -> None:
        clock = self._style(time.strftime("%H:%M:%S"), dim=True)
        self.show(f"{clock}  {self._style(f'{_cut(who, 20):8}', bold=True)}  {what}")

    def show(self, text: str) -> None:
        """Print; whether anybody reads it is no reason to stop serving devices."""
        try:
            typer.echo(text, color=self._colourful)
        except OSError:
            pass

    def _style(self, text: str, *, fg: str | None = None, dim: bool = False, bold: bool = False) -> str:
        return typer.style(text, fg=fg, dim=dim or None, bold=bold or None) if self._colourful else text


def _device(session: Session) -> str:
    return _cut(session.device or session.peer or session.id, 24)


def _request(endpoint: Endpoint, inbound: Inbound) -> str:
    """`POST sensors/7 {"t": 21}`: method, subject and data, where there are any."""
    subject = "" if inbound.subject == endpoint.name else _cut(inbound.subject or "/", 60)
    words = (inbound.attributes.get("coapmethod"), subject, _payload(inbound.data))
    return " ".join(word for word in words if word)


def _heard(endpoint: Endpoint, inbound: Inbound, reply: Reply) -> str:
    """What the device gets: data, where its protocol carries some; else what became of it, and how it is told."""
    data = _payload(reply.data)
    carried = (Outcome.ACCEPTED, Outcome.REFUSED) if endpoint.protocol == "coap" else (Outcome.ACCEPTED,)
    if data and inbound.wants_reply and reply.outcome in carried:
        return data
    words = OUTCOMES[reply.outcome]
    if reply.outcome is Outcome.REFUSED and data:
        words = f"{words}: {data}"  # the function's word, for whoever reads this: the device does not get it
    return ", ".join(word for word in (words, _word(endpoint, inbound, reply)) if word)


def _word(endpoint: Endpoint, inbound: Inbound, reply: Reply) -> str:
    """How the protocol says that it was not done; empty where the outcome says enough."""
    if reply.outcome in GOOD:
        return ""
    if endpoint.protocol == "udp" or (endpoint.protocol == "mqtt" and not inbound.at_least_once):
        return "silence"
    if endpoint.protocol != "mqtt":
        return ""
    if reply.outcome is not Outcome.REFUSED:
        return "no PUBACK"
    return f"PUBACK 0x{reasons.refused(reply.status):02x} (MQTT 3.1.1: PUBACK)"  # 3.1.1 has no PUBACK that says no


def _payload(data: bytes) -> str:
    """Bytes from outside as short text; what is no UTF-8 is escaped."""
    text = _cut(data[: 4 * DATA].rstrip(b"\r\n").decode("utf-8", "backslashreplace"), DATA)
    return text if len(data) <= DATA else f"{text} ({len(data)} B)"


def _cut(text: str, limit: int) -> str:
    """Text from outside: nothing in it acts on the terminal, and there is not too much of it."""
    text = printable(text)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
