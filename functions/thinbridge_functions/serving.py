"""`handler`: makes a function of events one that functions-framework serves, by WSGI and by ASGI.

The framework's own `cloud_event` signature throws away what a function returns, so this is its `http` signature with
the events inside. It wants a plain function that has the user's `__name__`, registered with the decorator it knows.
"""

import inspect
import logging
import os
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

import flask
import functions_framework

from thinbridge_functions.answers import Answer
from thinbridge_functions.codec import Response
from thinbridge_functions.event import Event
from thinbridge_functions.mapping import CRASHED, receive, respond

Handler = TypeVar("Handler", bound=Callable[[Event], Any])

SERVED: Final = "__thinbridge__"
"""The attribute of a decorated function that holds its `Served`."""

_log = logging.getLogger("thinbridge_functions")


def handler(function: Handler) -> Handler:
    """Let functions-framework serve a function of one `Event`, sync or async.

    What it returns, or raises, is its answer; docs/functions.md has the table. Deploy it with
    `functions-framework --target NAME`, NAME being the function's own. A sync handler runs on one of several threads
    at once; an async one on the event loop, so it must not block. Called with an `Event`, it is still your function.
    """
    served = Served(function)
    if inspect.iscoroutinefunction(function):
        from thinbridge_functions.asgi import serve_async  # here: Starlette only for who needs it, 40 ms of cold start

        serve = serve_async(served)
    else:
        serve = functions_framework.http(_serve(served))
    setattr(serve, SERVED, served)
    return cast("Handler", serve)


class Served:
    """A handler, and a request's way through it: the same for Flask, Starlette and `testing`."""

    def __init__(self, function: Callable[[Event], Any]) -> None:
        self.function = function
        self._source = os.environ.get("K_SERVICE") or quote(function.__name__)

    def respond(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
        """Answer a request with a sync handler; never raises."""
        event = receive(method, path, headers, body)
        if isinstance(event, Response):
            return event
        try:
            returned = self.function(event)
        except Exception as raised:
            return self._answer(event, raised)
        return self._answer(event, returned)

    async def respond_async(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
        """Answer a request with an async handler; never raises."""
        event = receive(method, path, headers, body)
        if isinstance(event, Response):
            return event
        try:
            returned = await self.function(event)
        except Exception as raised:
            return self._answer(event, raised)
        return self._answer(event, returned)

    def _answer(self, event: Event, returned: Any) -> Response:
        if isinstance(returned, Answer):
            returned.__traceback__ = None  # a module's own `BUSY = retry(5)` would hold on to every frame it left
        try:
            return respond(event, returned, self._source)
        except Exception as error:
            if error is returned:
                _log.error("%s failed on %r", self._source, event, exc_info=error)
            else:  # no line of the handler is to blame, so a traceback would show ours only
                _log.error("%s answered with what can't be sent: %s", self.function.__name__, error)
            return CRASHED


class _FlaskResponse(flask.Response):
    default_mimetype = None  # else Flask calls an empty answer text/html


def _serve(served: Served) -> Callable[[Any], Any]:
    @wraps(served.function)
    def serve(request: Any) -> Any:
        if isinstance(request, flask.Request):
            response = served.respond(request.method, request.path, request.headers.items(), request.get_data())
            return _FlaskResponse(response.body, response.status, response.headers)
        if isinstance(request, Event):
            return served.function(request)
        from thinbridge_functions.asgi import Threaded  # functions-framework --asgi, which has imported it

        return Threaded(request, served.respond)

    return serve
