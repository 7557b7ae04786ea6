"""One observation (RFC 7641): a registration, and what became of it. `observations` has those of a session."""

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from thinbridge.protocols.base import Reply
from thinbridge.protocols.coap.codec import Message, OptionValue, compose, from_uint, uint
from thinbridge.protocols.coap.codes import Option, Type
from thinbridge.protocols.coap.outgoing import Transmission
from thinbridge.protocols.coap.request import Request, Response
from thinbridge.protocols.coap.response import number_of

if TYPE_CHECKING:
    from thinbridge.protocols.coap.notifier import Notifier
    from thinbridge.protocols.coap.session import CoAPSession

CONFIRM_WITHIN: Final = 86_400.0
"""Seconds within which a device has to confirm that it is still there and interested (RFC 7641 §4.5)."""
TICKS: Final = 256
"""Steps of the sequence number per second. It follows the clock (RFC 7641 §4.4), so that it goes on, and does not begin
anew, when a device comes back with the same token to a session that knows nothing of it; 2²³ of them take nine hours,
where the RFC asks for 256 s."""
MAX_AGE: Final = 60
"""Seconds for which a response is fresh that does not say (RFC 7252 §5.10.5)."""
AHEAD: Final = 0.1
"""Part of Max-Age by which the function is asked before its end, so that the next notification comes while the last one
is fresh (RFC 7641 §4.3.1)."""
AHEAD_AT_MOST: Final = 5.0
"""Seconds: a cold start."""
GRANTS: Final = ("true", "refresh")
"""Values of `coapobserve` in a reply that grant an observation."""
NO_FORMAT: Final = -1
"""In place of a Content-Format: the content has none."""


class Observation:
    """One relation.

    Args:
        session: of the device.
        notifier: sends its notifications.
        exchange: its registration: what a push names.
        message: that registered it.
        request: the same, read.
        body: all of what it carries.
        now: monotonic seconds.
    """

    __slots__ = (
        *("age", "asked", "asks", "confirmable", "confirmed", "exchange", "format", "granted", "mids", "notifier"),
        *("over", "payload", "quiet", "refresh", "request", "sequence", "session", "since", "token", "turn"),
        *("unconfirmed", "under_way", "waiting", "waits"),
    )

    def __init__(
        self,
        session: "CoAPSession",
        notifier: "Notifier",
        exchange: int,
        message: Message,
        request: Request,
        body: bytes,
        now: float,
    ) -> None:
        self.session, self.notifier = session, notifier
        self.exchange = exchange
        self.token, self.payload = message.token, body
        self.request = request.without_block1()
        self.granted = self.over = False
        self.confirmable = message.type == Type.CON
        """How notifications go out where nothing asks for another way: as the device asked."""
        self.format: int | None = None
        """Content-Format of all its notifications (§4.2); None: none of them had any content yet."""
        self.sequence = 0
        """Of the last notification, before it is cut to 24 bits."""
        self.turn = 0
        """Which state it last heard of, by `Observers.turn`."""
        self.waiting: Held | None = None
        """The latest notification that could not go out yet."""
        self.under_way: Notification | None = None
        """The CON that is not acknowledged."""
        self.unconfirmed = 0
        """NONs since the last CON."""
        self.confirmed = now
        """When the device was last known to be interested."""
        self.quiet = -inf
        """No NON before that."""
        self.mids: tuple[int, ...] = ()
        """Message IDs of its last NONs."""
        self.refresh = False
        """Whether the function is asked again when Max-Age ends."""
        self.age = float(MAX_AGE)
        """Seconds for which the last notification is fresh."""
        self.asks = inf
        """When the function is asked again."""
        self.asked = 0
        """The exchange in which it was asked last; 0: never."""
        self.since = 0
        """The turn at which it was."""
        self.waits = False
        """It was asked, and has not answered."""

    @property
    def subject(self) -> str:
        """What is observed, as events name it; the root is an empty name here."""
        return self.request.subject or ""

    def unsure(self, confirm_every: int, now: float) -> bool:
        """Whether it is time to find out if the device is still there (§4.5)."""
        return self.unconfirmed + 1 >= confirm_every or now - self.confirmed >= CONFIRM_WITHIN

    # --- What a notification says -----------------------------------------------------------------------------------

    def compose(self, kind: int, mid: int, response: Response, now: float) -> bytes:
        """A notification's bytes; it has its number from here on."""
        code, options, payload = self.numbered(response, now)
        return compose(kind, code, mid, self.token, options, payload)

    def numbered(self, response: Response, now: float) -> Response:
        """The response with the next sequence number: always a higher one (§4.4). What ends it has none (§4.2)."""
        if ends(response):
            return response
        self.sequence = max(self.sequence + 1, int(now * TICKS))
        return _with(response, Option.OBSERVE, self.sequence & 0xFFFFFF)

    def formatted(self, reply: Reply) -> Reply:
        """The reply in the Content-Format of those before, if it names none (§4.2)."""
        if reply.content_type is not None or self.format in (None, NO_FORMAT):
            return reply
        return reply._replace(attributes={"coapformat": str(self.format), **reply.attributes})

    def in_format(self, response: Response) -> Response | None:
        """The response in the Content-Format of those before (§4.2); None: it is in another one.

        The first content says which that is. If it named none, nor do the others, whatever they are.
        """
        found = _format(response)
        if self.format is None:
            self.format = found
        if found is None or found == self.format:
            return response
        if self.format != NO_FORMAT:
            return None
        code, options, payload = response
        return code, [option for option in options if option[0] != Option.CONTENT_FORMAT], payload

    def steer(self, reply: Reply, response: Response, pause: float, now: float) -> None:
        """How fresh it is from now on, and whether the function is asked when that ends."""
        grant = reply.attributes.get("coapobserve")
        if grant in GRANTS:
            self.refresh = grant == "refresh"
        value = _value(response, Option.MAX_AGE)
        self.age = float(MAX_AGE if not value else from_uint(value))  # 0 does not say when there may be something new
        ahead = min(self.age * AHEAD, AHEAD_AT_MOST)
        self.asks = now + (max(self.age - ahead, pause) if self.refresh else CONFIRM_WITHIN)


class Held:
    """A notification that waits."""

    __slots__ = ("confirmable", "response")

    def __init__(self, response: Response, confirmable: bool | None) -> None:
        self.response = response
        self.confirmable = confirmable
        """None: as the observation has it."""


class Notification(Transmission):
    """A notification that is a CON.

    Args:
        observation: whose it is.
        mid: its Message ID.
        response: what it says.
        push: whose outcome it is; 0: nobody's.
        now: monotonic seconds.
    """

    __slots__ = ("observation", "push")

    def __init__(self, observation: Observation, mid: int, response: Response, push: int, now: float) -> None:
        super().__init__(mid, observation.compose(Type.CON, mid, response, now))
        self.observation = observation
        self.push = push

    def outdated(self) -> bool:
        """Whether a newer state waits."""
        return self.observation.waiting is not None

    def renew(self, mid: int, now: float) -> None:
        """Become the newer one: the device gets the latest state, with the tries that are left (§4.5.2)."""
        observation = self.observation
        assert observation.waiting is not None
        self.mid, self.data = mid, observation.compose(Type.CON, mid, observation.waiting.response, now)
        observation.waiting = None
        observation.notifier.superseded(self)

    def over(self, acknowledged: bool, now: float) -> None:
        """The device has it; or it knows nothing of it, or is gone."""
        self.observation.notifier.settled(self, acknowledged, now)


def ends(response: Response) -> bool:
    """Whether it is the last one: 2.xx alone goes on (RFC 7641 §4.2)."""
    return response[0] >> 5 != 2


def _with(response: Response, number: int, value: int) -> Response:
    code, options, payload = response
    return code, sorted([*options, (number, uint(value))], key=number_of), payload


def _format(response: Response) -> int | None:
    """The Content-Format of what it carries; None: it carries nothing."""
    if not response[2] or ends(response):
        return None
    value = _value(response, Option.CONTENT_FORMAT)
    return NO_FORMAT if value is None else from_uint(value)


def _value(response: Response, number: int) -> bytes | None:
    options: Sequence[OptionValue] = response[1]
    return next((value for option, value in options if option == number), None)
