"""A function for the tests that remembers what it was sent; runs in the cluster, on nothing but Python.

GET /                        it is there
GET /events                  every event's attributes and data, in order, as JSON
GET /push?to=URL&data=TEXT   POSTs the text there, as text/plain, with `&token=…` as bearer; answers {"status": number}
POST anything                an event; $ANSWER says what becomes of it: `accept` 202; `replyto` 202, and then its
                             data, in capitals, by its replyto
"""

import base64
import json
import os
import signal
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

ANSWER = os.environ.get("ANSWER", "accept")
events: list[dict[str, str]] = []


def push(to: str, data: bytes, token: str = "") -> int:
    """POST plain text to a session, or to a subject; the status that says what became of it."""
    headers = {"content-type": "text/plain"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(to, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


class Sink(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """What was sent so far, or an order to push."""
        url = urlsplit(self.path)
        said: object = events if url.path == "/events" else None
        if url.path == "/push":
            order = dict(parse_qsl(url.query))
            said = {"status": push(order["to"], order["data"].encode(), order.get("token", ""))}
        self.answer(200, json.dumps(said).encode())

    def do_POST(self) -> None:
        """An event."""
        event = self.event(self.rfile.read(int(self.headers.get("content-length", 0))))
        events.append(event)
        self.answer(202)
        if ANSWER == "replyto":
            event["pushed"] = str(push(event["replyto"], event["data"].upper().encode()))

    def event(self, body: bytes) -> dict[str, str]:
        """Attributes and data, from either content mode."""
        if self.headers.get("content-type", "").startswith("application/cloudevents"):
            structured = json.loads(body)
            data = base64.b64decode(structured.pop("data_base64", "")).decode()
            return {name: str(value) for name, value in structured.items()} | {"data": data}
        attributes = {name.lower()[3:]: value for name, value in self.headers.items() if name.lower().startswith("ce-")}
        return attributes | {"data": body.decode()}

    def answer(self, status: int, body: bytes = b"") -> None:
        """Send the answer."""
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """No access log."""


class Server(ThreadingHTTPServer):
    """With room for a burst of new connections."""

    request_queue_size = 512


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # a container's first process ignores it otherwise
Server(("", int(os.environ.get("PORT", "8080"))), Sink).serve_forever()
