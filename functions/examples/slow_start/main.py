"""A function that takes its time to start, as one does that loads a model; devices must not notice but by waiting."""

import os
import time

from thinbridge_functions import Event, handler

STARTED = time.monotonic()
time.sleep(float(os.environ.get("COLD_START", "5")))
READY = time.monotonic()


@handler
def slow_start(event: Event) -> str:
    return f"ready after {READY - STARTED:.1f} s, {time.monotonic() - READY:.1f} s ago\n"
