"""What the function's process runs: functions-framework, on a leash that ends it with us, even when we are killed.

`function` hands this text to a new Python, so that the function's process imports nothing of the bridge. Its standard
input is the leash: a pipe that nobody writes to, whose end is read when the last one who holds the other end is gone.
"""

import logging
import os
import runpy
import signal
import threading


def main() -> None:
    """Serve until the leash is cut."""
    leash = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # functions have nothing to read
    _hear_info()
    threading.Thread(target=_watch, args=(leash,), daemon=True).start()
    runpy.run_module("functions_framework", run_name="__main__", alter_sys=True)


def _hear_info() -> None:
    """Show a function's INFO, too, unless it sets up logging itself.

    As the handler of last resort: any of the root logger's own would make the function's `logging.basicConfig` do
    nothing. Its form is what that, or a first `logging.info`, would set up. The servers' loggers don't come here.
    """
    logging.lastResort = handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    logging.getLogger().setLevel(logging.INFO)


def _watch(leash: int) -> None:
    os.read(leash, 1)
    os.killpg(0, signal.SIGKILL)  # its workers, too


if __name__ == "__main__":
    main()
