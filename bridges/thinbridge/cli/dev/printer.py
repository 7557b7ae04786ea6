"""What `thinbridge dev` shows: one readable line a message, and what happens to the function.

A line is the way of a message: device → event → function → reply. Everything in it that came from outside is escaped
and cut, so no device can move the cursor, colour the terminal or fill it.
"""

import time
from dataclasses import dataclass
from typing import Final

import typer

from thinbridge.cli.console import colourful
from thinbridge.cli.dev.heard import GOOD, INVALID, Drops, cut, heard, payload
from thinbridge.delivery import Answer, Verdict
from thinbridge.events import Event
from thinbridge.protocols.base import Endpoint, Inbound, Outbound, Outcome, PushResult, Reply, Session
from thinbridge.routes import Mode, Routes

VERDICTS: Final = {
    Verdict.DEAD_LETTERED: "dead letter",
    Verdict.UNREACHED: "not reached",
    Verdict.UNKNOWN: "gave up",
    Verdict.OVERLOADED: "too many at once",
    Verdict.BAD_GATEWAY: "no use",
    Verdict.CANCELLED: "cancelled",
}
"""What became of a delivery, where the function's status does not say it."""
NOT_STARTED: Final = "not started"
"""Why a try failed that the function never saw."""
HINT: Final = "202, but this route's mode is request: see --mode later"


@dataclass(slots=True)
class _Message:
    """One of which nothing final has been said yet."""

    id: bytes
    """Its event's."""
    endpoint: Endpoint
    session: Session
    inbound: Inbound
    told: bool = False
    """A try failed, and that was said."""
    seen: bool = False
    """A try failed that had come to the function."""


class Printer:
    """The bridge's observer, and the voice of everything else in `dev`."""

    def __init__(self) -> None:
        self._colourful = colourful()
        self._open: dict[tuple[str, int], _Message] = {}
        """By session and exchange."""
        self._drops = Drops()
        self.routes: Routes | None = None
        """The bridge's, once there is one."""

    def say(self, who: str, what: str) -> None:
        """Something happened."""
        self._line(who, what)

    def trouble(self, who: str, what: str) -> None:
        """Something went wrong."""
        self._line(who, self._style(cut(what, 300), fg="red"))

    def output(self, line: str) -> None:
        """A line that the function printed."""
        self._line("function", self._style(f"| {cut(line, 400)}", dim=True))

    def received(self, endpoint: Endpoint, session: Session, inbound: Inbound, event: Event) -> None:
        """Nothing yet: its line is printed when it fails or ends; a cold start speaks for itself."""
        self._drops.look(endpoint)
        id = event.attributes.get("id", "").encode()
        self._open[session.id, inbound.exchange] = _Message(id, endpoint, session, inbound)

    def failed(self, asked: bytes, why: str) -> None:
        """A try failed, and another one follows: said once a message.

        Args:
            asked: the beginning of the request; the message's id is in it.
            why: what the function said, or `NOT_STARTED`.
        """
        for message in self._open.values():
            if message.id and message.id in asked:
                again, message.told = message.told, True
                message.seen |= why != NOT_STARTED
                if not again:
                    way = self._way(message.endpoint, message.session, message.inbound)
                    self._ways(message.endpoint, *way, self._style(why, fg="red"), "kept and tried again")
                return

    def answered(
        self, endpoint: Endpoint, session: Session, inbound: Inbound, answer: Answer, reply: Reply, seconds: float
    ) -> None:
        """A message came to its end."""
        message = self._open.pop((session.id, inbound.exchange), None)
        reached = message is None or message.seen or not message.told or answer.status != 503
        words = (str(answer.status or ""), VERDICTS.get(answer.verdict, ""), _time(seconds))
        function = self._style(
            ", ".join(word for word in words if word), fg="green" if reply.outcome in GOOD else "red"
        )
        drops = self._drops.look(endpoint)
        device = heard(endpoint, inbound, reply, drops, reached)
        if drops:
            device = self._style(device, fg="yellow" if drops == [INVALID] else "red")
        elif self._promises_in_vain(endpoint, inbound, answer, reply):
            device = self._style(f"{device}; {HINT}", fg="yellow")
        self._ways(endpoint, *self._way(endpoint, session, inbound), function, device)

    def _promises_in_vain(self, endpoint: Endpoint, inbound: Inbound, answer: Answer, reply: Reply) -> bool:
        """The function says "later" where nobody waits for that: its device has been answered already."""
        if answer.status != 202 or reply.outcome is not Outcome.ACCEPTED or self.routes is None:
            return False
        return self.routes.match(endpoint.name, inbound).mode is Mode.REQUEST

    def _way(self, endpoint: Endpoint, session: Session, inbound: Inbound) -> tuple[str, str]:
        return f"{_device(session)} {_request(endpoint, inbound)}", inbound.type

    def pushed(self, endpoint: Endpoint, session: Session, outbound: Outbound, result: PushResult) -> None:
        """Somebody posted to a reply address."""
        self._drops.look(endpoint)  # what this one lost is in its result
        colour = "green" if result in (PushResult.DELIVERED, PushResult.QUEUED) else "red"
        what = f"push {payload(outbound.data)}".rstrip()
        self._ways(endpoint, what, _device(session), self._style(result.name.lower(), fg=colour))

    def published(self, endpoint: Endpoint, subject: str, outbound: Outbound, count: int) -> None:
        """Somebody posted to a subject."""
        self._drops.look(endpoint)
        observers = "1 observer" if count == 1 else f"{count} observers"
        what = f"publish {payload(outbound.data)}".rstrip()
        self._ways(endpoint, what, cut(subject or "/", 60), self._style(observers, fg="green"))

    def _ways(self, endpoint: Endpoint, *ways: str) -> None:
        self._line(endpoint.name, self._style(" → ", dim=True).join(ways))

    def _line(self, who: str, what: str) -> None:
        clock = self._style(time.strftime("%H:%M:%S"), dim=True)
        self.show(f"{clock}  {self._style(f'{cut(who, 20):8}', bold=True)}  {what}")

    def show(self, text: str) -> None:
        """Print; whether anybody reads it is no reason to stop serving devices."""
        try:
            typer.echo(text, color=self._colourful)
        except OSError:
            pass

    def _style(self, text: str, *, fg: str | None = None, dim: bool = False, bold: bool = False) -> str:
        return typer.style(text, fg=fg, dim=dim or None, bold=bold or None) if self._colourful else text


def _device(session: Session) -> str:
    return cut(session.device or session.peer or session.id, 24)


def _request(endpoint: Endpoint, inbound: Inbound) -> str:
    """`POST sensors/7 {"t": 21}`, `GET clock observe=register`: method, subject and data, where there are any."""
    subject = "" if inbound.subject == endpoint.name else cut(inbound.subject or "/", 60)
    observe = inbound.attributes.get("coapobserve")
    words = (inbound.attributes.get("coapmethod"), subject, observe and f"observe={observe}", payload(inbound.data))
    return " ".join(word for word in words if word)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
