"""`make cover`: every sans-IO core is covered to the last branch by its own tests alone.

A core that another room's tests happen to run is not tested; so each is measured by itself.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

CORES = {
    "bridges/thinbridge/protocols/udp.py": ["tests/bridges/protocols/test_udp.py"],
    "bridges/thinbridge/protocols/cloudevents.py": ["tests/bridges/protocols/test_cloudevents.py"],
    "bridges/thinbridge/protocols/coap/*": ["tests/bridges/protocols/coap"],
    "bridges/thinbridge/protocols/mqtt/*": ["tests/bridges/protocols/mqtt"],
    "bridges/thinbridge/device/*": ["tests/bridges/device"],
    "bridges/thinbridge/mapping.py": ["tests/bridges/test_mapping.py"],
    "bridges/thinbridge/events.py": ["tests/bridges/test_events.py"],
    "bridges/thinbridge/delivery/*": ["tests/bridges/delivery"],
    "knative/thinbridge_knative/addressable.py": ["tests/knative/test_addressable.py"],
    "knative/thinbridge_knative/objects.py": ["tests/knative/test_objects.py"],
    "knative/thinbridge_knative/schema.py": ["tests/knative/test_schema.py"],
    "knative/thinbridge_knative/spec.py": ["tests/knative/test_spec.py"],
    "knative/thinbridge_knative/status.py": ["tests/knative/test_status.py"],
    "functions/thinbridge_functions/*": ["tests/functions"],
}


def main(names: list[str]) -> int:
    """Measure the cores whose names were given, or all."""
    short = [core for core in CORES if not names or any(name in core for name in names) if not _covered(core)]
    print(f"not covered: {', '.join(short)}" if short else "every branch of every core is covered by its own tests")
    return len(short)


def _covered(core: str) -> bool:
    print(f"{core} …", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = f"--data-file={Path(folder) / 'coverage'}"
        coverage = [sys.executable, "-m", "coverage"]
        tests = ["-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *CORES[core]]
        ran = subprocess.run([*coverage, "run", data, *tests], check=False, capture_output=True)
        if ran.returncode:
            print(ran.stdout.decode(), end="")
            return False
        report = [
            *coverage,
            "report",
            data,
            "--show-missing",
            "--skip-covered",
            "--fail-under=100",
            f"--include={core}",
        ]
        return subprocess.run(report, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
