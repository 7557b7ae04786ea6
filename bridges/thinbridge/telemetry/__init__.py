"""What a bridge tells about itself, as log lines and metrics. `cli` configures, `bridge` feeds, `inbox` serves it."""

from thinbridge.telemetry.logs import configure, fields
from thinbridge.telemetry.metrics import Recorder, registry
from thinbridge.telemetry.throttle import Throttle, loop_errors

__all__ = ["Recorder", "Throttle", "configure", "fields", "loop_errors", "registry"]
