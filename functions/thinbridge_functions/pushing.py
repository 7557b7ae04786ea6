"""`push`: answer later, or unasked, by an event's `replyto`; `publish`: tell all who observe a subject.

Both block; in async code use `asyncio.to_thread(push, …)`.
"""

import http.client
import json
from enum import Enum
from typing import Final
from urllib.parse import quote, urlsplit

from thinbridge_functions.answers import Data, Reply
from thinbridge_functions.codec import encode
from thinbridge_functions.event import Event
from thinbridge_functions.mapping import reply_event

SOURCE: Final = "push"


class Pushed(Enum):
    """What became of a push; true if the device has it or will have it."""

    DELIVERED = 200
    """The device acknowledged it, or the protocol has no acknowledgement and it was sent."""
    QUEUED = 202
    """It goes out when the device can take it."""
    UNKNOWN = 404
    """The bridge does not know this address: it restarted."""
    GONE = 410
    """The session ended."""
    TOO_LARGE = 413
    """Larger than the device, or the bridge, takes."""
    REFUSED = 422
    """This device can't be sent that: no subscription, no observation, nothing open."""
    BUSY = 503
    """The session's queue is full: try again."""
    FAILED = 0
    """No answer, or one that is none of these; the device may have it."""

    def __bool__(self) -> bool:
        return self in (Pushed.DELIVERED, Pushed.QUEUED)

    @classmethod
    def _missing_(cls, value: object) -> "Pushed":
        return cls.FAILED


def push(to: Event | str, answer: Data | Reply, *, timeout: float = 10.0) -> Pushed:
    """Send something to the device that an event came from: the answer that `later()` promised, or a command.

    Args:
        to: the event, or the `replyto` of one that you kept (with the event, the answer also names its cause).
        answer: data, or a `Reply`, whose `status` and `location` stay behind: `coap_code` says what they can't.
        timeout: seconds to connect, and to wait for the outcome.

    Returns:
        What became of it. Look at it: a device may be gone, and a bridge that restarted has forgotten the address.

    Raises:
        ValueError: the event has no `replyto`, or it is no http(s) URL.
    """
    event, replyto = (to, to.replyto) if isinstance(to, Event) else (None, to)
    connection, path = _connection("push", replyto or "", timeout)
    headers, body = encode(*reply_event(event, answer, SOURCE))
    try:
        connection.request("POST", path, body, dict(headers))
        return Pushed(connection.getresponse().status)
    except (OSError, http.client.HTTPException):
        return Pushed.FAILED
    finally:
        connection.close()


def publish(
    to: Event | str, subject: str, answer: Data | Reply, *, token: str | None = None, timeout: float = 10.0
) -> int:
    """Send a new state to every device that observes a subject at one bridge (CoAP Observe).

    Args:
        to: an event, for the pod that it came from; or the inbox of any, such as `http://10.0.0.7:8090`.
        subject: as events have it.
        answer: data, or a `Reply`; one with a `coap_code` of 4.xx or 5.xx ends what is observed.
        token: what `http.token_file` of the bridge holds.
        timeout: seconds to connect, and to wait for the answer.

    Returns:
        How many devices observe it there. The states are on their way; nobody waits for what becomes of each.

    Raises:
        OSError: it was not published: nobody answers, the token is wrong (`PermissionError`), or the bridge says no.
        ValueError: the event has no `replyto`, or what was given is no http(s) URL.
    """
    event, base = (to, to.replyto) if isinstance(to, Event) else (None, to)
    connection, _ = _connection("publish", base or "", timeout)
    headers, body = encode(*reply_event(event, answer, SOURCE))
    fields = dict(headers) | ({} if token is None else {"authorization": f"Bearer {token}"})
    try:
        connection.request("POST", f"/observe/{quote(subject)}", body, fields)
        response = connection.getresponse()
        text = response.read(1024).decode("utf-8", "replace").strip()
    except http.client.HTTPException as error:
        raise OSError(f"publish: the bridge's answer is no HTTP: {error!r}") from error
    finally:
        connection.close()
    if response.status in (401, 403):
        raise PermissionError(f"publish: {response.status} {text}")
    if response.status != 200:
        raise OSError(f"publish: {response.status} {text}")
    return int(json.loads(text)["observers"])


def _connection(caller: str, to: str, timeout: float) -> tuple[http.client.HTTPConnection, str]:
    """Straight to the bridge: `http.client` follows no redirect, asks no proxy and opens no file."""
    url = urlsplit(to)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{caller}: no http(s) URL to send to; only events of a bridge have a replyto")
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return connect(url.hostname, url.port, timeout=timeout), url.path
