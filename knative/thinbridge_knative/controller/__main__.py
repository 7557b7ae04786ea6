"""`python -m thinbridge_knative.controller`: the container's command."""

import argparse
import os
import sys

from thinbridge.telemetry import configure
from thinbridge_knative.resource import BRIDGE_IMAGE, CONTROLLER, HEALTH_PORT, METRICS_PORT


def main() -> int:
    """Read the flags, then run; the exit status."""
    parser = argparse.ArgumentParser(CONTROLLER, description="Keeps bridges in the cluster as their resources say.")
    parser.add_argument("--image", default=os.environ.get(BRIDGE_IMAGE), help=f"image of bridges (${BRIDGE_IMAGE})")
    parser.add_argument("--health-port", type=int, default=HEALTH_PORT, help="/health")
    parser.add_argument("--metrics-port", type=int, default=METRICS_PORT, help="/metrics")
    given = parser.parse_args()
    if not given.image:
        print(f"Error: {BRIDGE_IMAGE}: (none): name the image of bridges", file=sys.stderr)
        return 2
    from thinbridge_knative.controller.operator import run

    configure()
    run(given.image, given.health_port, given.metrics_port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
