"""docs/troubleshooting.md knows every reason that a bridge that is not Ready can have from us."""

import inspect
import re
from pathlib import Path

import pytest

from thinbridge_knative import status
from thinbridge_knative.controller import reconciler

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
SOURCE = inspect.getsource(status) + inspect.getsource(reconciler)
GIVEN = re.findall(r'Condition\(\w+, "(?:False|Unknown)", "(\w+)"|Problem\((?:error\.reason or )?"(\w+)"', SOURCE)
REASONS = sorted({*status.STUCK, *(one or other for one, other in GIVEN)})


def test_reasons_are_found() -> None:
    assert {"Deploying", "Resolving", "InvalidSpec", "NameTaken", "Refused", "ErrImagePull"} <= set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_has_its_row(reason: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert any(f"`{reason}`" in row.split("|")[1] for row in rows)
