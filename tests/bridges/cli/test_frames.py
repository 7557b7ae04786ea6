"""Which lines of a function's output `thinbridge dev` shows."""

from pathlib import Path

from thinbridge.cli.dev.frames import Frames


def test_only_the_functions_own_frames_are_shown() -> None:
    own = Path.cwd()
    output = f"""\
Traceback (most recent call last):
  File "<frozen runpy>", line 88, in _run_code
  File "/usr/lib/python3/site-packages/click/core.py", line 1, in __call__
    return self.main(*args, **kwargs)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "{own}/main.py", line 5, in on
    1 / 0
    ~~^~~
  File "{own}/.venv/lib/python3.11/site-packages/other.py", line 1, in other
    more
ZeroDivisionError: division by zero
    deeper, but of no frame
"""
    frames = Frames(own)
    assert [line for line in output.splitlines() if frames.keep(line)] == [
        "Traceback (most recent call last):",
        f'  File "{own}/main.py", line 5, in on',
        "    1 / 0",
        "    ~~^~~",
        "ZeroDivisionError: division by zero",
        "    deeper, but of no frame",
    ]
