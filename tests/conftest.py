"""What all tests share: the rule for independent peers."""

import os
import shutil

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs an outside program says so where it is missing; in CI that is a failure, never a skip."""
    for mark in item.iter_markers("peer"):
        missing = [name for name in mark.args if shutil.which(name) is None]
        if not missing:
            continue
        reason = f"needs {', '.join(missing)} (install the peers: make peers)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
