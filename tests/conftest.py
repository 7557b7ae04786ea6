"""What all tests share: the rules for independent peers and for OSCORE, and no clock for examples."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # how long an example takes is the machine's business
settings.load_profile("patient")

NPM = Path("/usr/local/lib/thinbridge-peers/node_modules")
"""Where `make peers` puts what comes from npm."""
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
"""Debian has servers, such as mosquitto, where only root looks."""
OSCORE = [
    *(f"bridges/adapters/coap/{name}.py" for name in ("test_keys", "test_oscore", "test_page")),
    "interop/test_coap_streams.py",
]
"""They need Lakers, of which some machines have no wheel."""
collect_ignore = [] if os.environ.get("CI") or find_spec("lakers") else OSCORE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What is left out is said."""
    for name in collect_ignore:
        terminalreporter.line(f"left out: tests/{name} needs Lakers, of which this machine has no wheel")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs an outside program says so where it is missing; in CI that is a failure, never a skip."""
    for mark in item.iter_markers("peer"):
        missing = [name for name in mark.args if not _is_there(name)]
        if not missing:
            continue
        reason = f"needs {', '.join(missing)} (install the peers: make peers)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _is_there(name: str) -> bool:
    """A program, or `npm:` and a package."""
    kind, colon, package = name.partition(":")
    return (NPM / package).is_dir() if colon else shutil.which(kind, path=PATH) is not None
