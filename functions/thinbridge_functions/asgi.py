"""The Starlette side of `serving`: async handlers, and sync ones under `functions-framework --asgi`."""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import wraps
from typing import Any

import functions_framework.aio
import starlette.responses
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from thinbridge_functions.codec import Response
from thinbridge_functions.event import Event
from thinbridge_functions.serving import Served

Respond = Callable[[str, str, Iterable[tuple[str, str]], bytes], Response]


def serve_async(served: Served) -> Callable[[Any], Any]:
    """A coroutine function that the framework serves; its decorator makes it choose ASGI by itself."""

    @functions_framework.aio.http
    @wraps(served.function)
    async def serve(request: Any) -> Any:
        if isinstance(request, Event):
            return await served.function(request)
        body = await request.body()
        return _starlette(await served.respond_async(request.method, request.url.path, request.headers.items(), body))

    return serve


class Threaded(starlette.responses.Response):
    """A response that is still to be made.

    The framework calls a sync function on a thread, where a request's body can't be awaited. What the function
    returns is called on the loop, where it can: so this reads the body there, and then sends the handler to a thread.
    """

    def __init__(self, request: Request, respond: Respond) -> None:
        super().__init__()
        self._request = request
        self._respond = respond
        self._context = copy_context()  # the framework's execution id, for logs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, run the handler on its thread, send what it answered."""
        request = self._request
        arguments = request.method, request.url.path, request.headers.items(), await request.body()
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(None, self._context.run, self._respond, *arguments)
        await _starlette(response)(scope, receive, send)


def _starlette(response: Response) -> starlette.responses.Response:
    return starlette.responses.Response(response.body, response.status, dict(response.headers))
