"""A clock that devices observe: the bridge asks for the time again, and what it rings reaches all of them at once."""

import os
from datetime import UTC, datetime

from thinbridge_functions import Event, Reply, handler, publish, reject

SECONDS = 5
TOKEN = os.environ.get("INBOX_TOKEN")  # what the bridge's http.token_file holds; on loopback it takes none


@handler
def observe_clock(event: Event) -> Reply | dict[str, int]:
    subject = event.subject or ""
    if event.get("coapmethod", "GET") == "GET":
        now = f"{datetime.now(UTC):%H:%M:%S}\n"
        return Reply(now, coap_observe="refresh", coap_max_age=SECONDS)  # who does not observe hears it once
    if not event.data:
        raise reject("say what to ring")
    ring = Reply(f"{event.text()}\n", coap_max_age=SECONDS)  # then it is a clock again
    return {"told": publish(event, subject, ring, token=TOKEN)}
