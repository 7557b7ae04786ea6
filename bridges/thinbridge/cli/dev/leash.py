"""What the function's process runs: functions-framework, on a leash that ends it with us, even when we are killed.

`function` hands this text to a new Python, so that the function's process imports nothing of the bridge. Its standard
input is the leash: a pipe that nobody writes to, whose end is read when the last one who holds the other end is gone.
"""

import os
import runpy
import signal
import threading


def main() -> None:
    """Serve until the leash is cut."""
    leash = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # functions have nothing to read
    threading.Thread(target=_watch, args=(leash,), daemon=True).start()
    runpy.run_module("functions_framework", run_name="__main__", alter_sys=True)


def _watch(leash: int) -> None:
    os.read(leash, 1)
    os.killpg(0, signal.SIGKILL)  # its workers, too


if __name__ == "__main__":
    main()
