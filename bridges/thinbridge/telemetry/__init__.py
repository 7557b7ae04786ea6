"""What a bridge tells about itself, as log lines and metrics. `cli` configures, `bridge` feeds, `inbox` serves it."""

from thinbridge.telemetry.logs import Throttle, configure, fields, loop_errors
from thinbridge.telemetry.metrics import Recorder, registry

__all__ = ["Recorder", "Throttle", "configure", "fields", "loop_errors", "registry"]
