"""Every block of Python in docs/testing.md runs, in order, as a reader would type it."""

import re
from pathlib import Path
from typing import Any

from thinbridge.testing.promises import PROMISES

PAGE = (Path(__file__).parents[3] / "docs" / "testing.md").read_text("utf-8")


def test_the_blocks_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/testing.md", "exec"), names)
    assert len(blocks) == 3


def test_the_page_lists_the_promises() -> None:
    section = PAGE.split("promise by promise:")[1].split("What it can't see")[0]
    assert section.count("\n- ") == len(PROMISES) - 1  # the two of streams stand in one line
