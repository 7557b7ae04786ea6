"""Forwarding to a CoAP server: what `pool` is for HTTP, for a sink whose URL is `coap://` or `coap+tcp://`.

Made by `Delivery`; to `handle` it is another pool, of exchanges with one request each. aiocoap is the client; what it
does not bound is bounded here: requests at a time, the bytes of a response, and, by `handle`, the time for it.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from typing import Any, Final
from weakref import WeakValueDictionary

from aiocoap import Context, Message, error
from aiocoap.message import UndecidedRemote
from aiocoap.numbers import Code, OptionNumber
from aiocoap.optiontypes import OpaqueOption

from thinbridge.delivery import cache, coap
from thinbridge.delivery.cache import Cache, Place
from thinbridge.delivery.coap import Call, Response
from thinbridge.delivery.http import Client, Headers
from thinbridge.delivery.pool import Waiter
from thinbridge.delivery.retry import Failure
from thinbridge.delivery.sink import Sink
from thinbridge.delivery.terms import DeliveryLimits
from thinbridge.events import Event
from thinbridge.protocols.coap.blockwise import LARGEST, RESERVED, Block, parse
from thinbridge.protocols.coap.codec import OptionValue, uint
from thinbridge.protocols.coap.codes import BAD_GATEWAY, CONTINUE, GET, UNAUTHORIZED, Option
from thinbridge.protocols.coap.outgoing import ACK_TIMEOUT
from thinbridge.routes import Content

TRANSPORTS: Final = {"coap": "simple6", "coap+tcp": "tcpclient"}
"""aiocoap's names. `simple6` has a connected socket for each server, so that an ICMP error is that server's."""

SILENT: Final = "thinbridge.delivery.coap"
logging.getLogger(SILENT).disabled = True  # aiocoap logs what servers send; how a sink fares, `sink` knows


class TooLarge(Exception):
    """A response overdoes it."""


class _Line:
    """A context of aiocoap's, and its socket to the server, at the address that its name had: it ends when it fails.

    Args:
        context: aiocoap's.
        remote: aiocoap's, connected.
    """

    def __init__(self, context: Any, remote: Any) -> None:
        self.context, self.remote = context, remote
        self.users = 0
        self.retired = False
        """Nobody new may use it."""

    @property
    def closed(self) -> bool:
        """The server has closed the connection."""
        return bool(self.remote._transport.is_closing())

    async def retire(self) -> None:
        """Shut it down as soon as nobody uses it."""
        self.retired = True
        if not self.users:
            await self.context.shutdown()


class Forwarder:
    """The requests to one CoAP server.

    Args:
        sink: where to.
        limits: how many, and how large.
        loop: whose tasks are used.
        kept: the cache.
        counters: for what becomes of requests.
    """

    def __init__(
        self, sink: Sink, limits: DeliveryLimits, loop: asyncio.AbstractEventLoop, kept: Cache, counters: Counter[str]
    ) -> None:
        self.sink = sink
        self.limits = limits
        self.loop = loop
        self.waiting: OrderedDict[Waiter, None] = OrderedDict()
        """Who waits for their turn, the oldest first."""
        self._cache = kept
        self._counters = counters
        self._busy: set[Exchange] = set()
        self._requests = 0
        self.alone = 0
        """The number of the request that has had no other beside it; 0: there is none."""
        self._lock = asyncio.Lock()
        self._uploads: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()
        self._line: _Line | None = None

    # --- What `handle` and `Delivery` know of a pool ------------------------------------------------------------

    def write(self, event: Event, content: Content, now: float) -> Call | Response:
        """The request that an event is; `content` speaks of HTTP."""
        return coap.call(self.sink, event)

    def acquire(self, waiter: Waiter) -> "Exchange | None":
        """A place for a request at once, or None: `waiter` is called when there is one, the oldest first."""
        if len(self._busy) < self.limits.connections:
            return self._exchange()
        self.waiting[waiter] = None
        return None

    def renew(self, waiter: Waiter) -> None:
        """Nothing is ever stale here, and so nobody asks."""
        raise NotImplementedError

    def forget(self, waiter: Waiter) -> None:
        """It does not wait any more."""
        self.waiting.pop(waiter, None)

    async def close(self) -> None:
        """End everything, after everybody was told."""
        tasks = [exchange.task for exchange in self._busy]
        for exchange in list(self._busy):
            exchange.abandon()
        await asyncio.gather(*tasks, return_exceptions=True)
        line, self._line = self._line, None
        if line is not None:
            await line.retire()

    def began(self) -> int:
        """A request begins; its number."""
        self._requests += 1
        self.alone = self._requests if len(self._busy) == 1 else 0
        return self._requests

    def _exchange(self) -> "Exchange":
        exchange = Exchange(self)
        self._busy.add(exchange)
        return exchange

    def release(self, exchange: "Exchange") -> None:
        """It is over; the oldest who waits takes its place."""
        self._busy.discard(exchange)
        if self.waiting:
            self.waiting.popitem(last=False)[0].connected(self._exchange())

    # --- One request --------------------------------------------------------------------------------------------

    async def ask(self, call: Call) -> Response:
        """The answer to a request: the cache's, or the server's."""
        now = self.loop.time()
        if not call.safe:
            response = await self._ask(call)
            if response.code >> 5 == 2:
                self._cache.changed(cache.key(self.sink.url, call).place)
            return response
        key = cache.key(self.sink.url, call)
        fresh = self._cache.fresh(key, now)
        if fresh is not None:
            return fresh
        stored = self._cache.find(key)
        if stored is not None and stored.etag is not None:
            options = [*call.options, (Option.ETAG, stored.etag)]
            call = call._replace(options=sorted(options, key=lambda option: option[0]))
        return self._cache.heard(key, stored, await self._ask(call), now)

    async def _ask(self, call: Call) -> Response:
        """Ask the server."""
        async with self._lock:  # of two who connect at a time, aiocoap would forget one's socket
            if self._line is not None and self._line.closed:
                line, self._line = self._line, None
                await line.retire()
            if self._line is None:
                self._line = await self._connect()
            line = self._line
        line.users += 1
        try:
            return await self._download(line, call, await self._upload(line, call))
        except (error.Error, asyncio.CancelledError):  # who has given up leaves a CON behind that others would wait for
            self._line = None if self._line is line else self._line
            line.retired = True
            raise
        finally:
            line.users -= 1
            if line.retired:
                await line.retire()

    async def _connect(self) -> _Line:
        context = await Context.create_client_context(loggername=SILENT, transports=[TRANSPORTS[self.sink.scheme]])
        try:
            message = Message(code=GET)
            message.remote = UndecidedRemote(self.sink.scheme, self.sink.authority)
            await context.find_remote_and_interface(message)
        except BaseException:
            await context.shutdown()
            raise
        return _Line(context, message.remote)

    async def _upload(self, line: _Line, call: Call) -> Response:
        """Send the request, in blocks if it is long (RFC 7959 §2.5); the response to the last of them."""
        if len(call.payload) <= 16 << LARGEST:
            return await self._one(line, call, call.payload)
        place = cache.key(self.sink.url, call).place
        async with self._uploads.setdefault(place, asyncio.Lock()):  # §2.4: blocks of two bodies would become one body
            return await self._blocks(line, call)

    async def _blocks(self, line: _Line, call: Call) -> Response:
        at, szx, size = 0, LARGEST, len(call.payload)
        while True:
            block = Block(at >> szx + 4, at + (16 << szx) < size, szx)
            more = [(Option.BLOCK1, block.encode()), *([] if at else [(Option.SIZE1, uint(size))])]
            response = await self._one(line, call, call.payload[at : at + block.size], *more)
            if not block.more or response.code != CONTINUE:
                return response
            at += block.size
            szx = min(szx, parse(response.get(Option.BLOCK1) or b"\x06").szx)  # §2.5: it may ask for smaller ones

    async def _download(self, line: _Line, call: Call, first: Response) -> Response:
        """Fetch the rest of a response (RFC 7959 §2.4)."""
        value = first.get(Option.BLOCK2)
        parts, size = [first.payload], len(first.payload)
        while value is not None and (block := parse(value)).more:
            if size > self.limits.body:
                raise TooLarge
            szx = min(block.szx, LARGEST)
            wanted = Block(size >> szx + 4, False, szx)
            response = await self._one(line, call, b"", (Option.BLOCK2, wanted.encode()))
            value = response.get(Option.BLOCK2)
            same = response.code == first.code and response.get(Option.ETAG) == first.get(Option.ETAG)
            if not same or value is None or block.szx == RESERVED or parse(value).start != size or not response.payload:
                return Response(BAD_GATEWAY)  # it is another representation by now, or no blocks of one
            parts.append(response.payload)
            size += len(response.payload)
        if size > self.limits.body:
            raise TooLarge
        return first._replace(payload=b"".join(parts))

    async def _one(self, line: _Line, call: Call, payload: bytes, *more: OptionValue) -> Response:
        """One message and its response; once more with the Echo that a server asks for (RFC 9175 §2.3)."""
        response = await self._once(line, call, payload, *more)
        echo = response.get(Option.ECHO)
        if response.code == UNAUTHORIZED and echo is not None:
            response = await self._once(line, call, payload, *more, (Option.ECHO, echo))
        return response

    async def _once(self, line: _Line, call: Call, payload: bytes, *more: OptionValue) -> Response:
        message = Message(code=Code(call.code), payload=payload)
        for number, value in [*call.options, *more]:
            message.opt.add_option(OpaqueOption(OptionNumber(number), value))
        message.remote = line.remote
        response = await line.context.request(message, handle_blockwise=False).response
        options = [(int(option.number), bytes(option.encode())) for option in response.opt.option_list()]
        return coap.understood(Response(int(response.code), options, bytes(response.payload)))

    def failure(self, problem: BaseException, alone: bool) -> Failure:
        """Why a request has no response."""
        match problem:
            case error.ResolutionError():
                return Failure.NAME
            case error.TimeoutError():
                return Failure.TIMEOUT
            case error.MessageError() | error.RemoteServerShutdown():
                return Failure.LOST
            case error.NetworkError():
                return Failure.UNREACHABLE if alone else Failure.LOST
            case TooLarge():
                return Failure.TOO_LARGE
        return Failure.MALFORMED


class Exchange:
    """A place for one request: what `http.Connection` is to HTTP."""

    task: "asyncio.Task[tuple[int, Headers, bytes]]"

    def __init__(self, owner: Forwarder) -> None:
        self._owner = owner
        self._client: Client | None = None

    def request(self, call: Call | Response, client: Client) -> None:
        """Send a request; `client` hears what became of it."""
        self._client = client
        self._since = self._owner.loop.time()
        self._number = self._owner.began()
        self.task = self._owner.loop.create_task(self._run(call))
        self.task.add_done_callback(self._done)

    def abandon(self) -> None:
        """Nobody waits any more."""
        if self._client is not None:  # once: it must not be disturbed in cleaning up
            self._client = None
            self.task.cancel()

    def _alone(self) -> bool:
        """Nobody else asked meanwhile, and nothing was repeated: an ICMP error, which names no request, is about this
        one, and the server has not seen it."""
        return self._number == self._owner.alone and self._owner.loop.time() - self._since < ACK_TIMEOUT

    async def _run(self, call: Call | Response) -> tuple[int, Headers, bytes]:
        return coap.answer(call, call if isinstance(call, Response) else await self._owner.ask(call))

    def _done(self, task: "asyncio.Task[tuple[int, Headers, bytes]]") -> None:
        problem = None if task.cancelled() else task.exception()
        failure = None if problem is None else self._owner.failure(problem, self._alone())
        self._owner.release(self)
        if self._client is None or task.cancelled():
            return
        if failure is not None:
            self._client.failed(failure)
        else:
            self._client.answered(*task.result())
