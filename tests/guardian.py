"""Outlive a test run by a moment: end its PostgreSQL and remove its folder, however it ended.

The run holds the other end of standard input and writes, line by line, the id of the process that
runs now, or 0. When the run is over, finished or killed, standard input ends.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path


def main(folder: str) -> None:
    process = 0
    for line in sys.stdin:
        process = int(line)
    if process:
        end(process, Path(folder, "data", "postmaster.pid"))
    shutil.rmtree(folder, ignore_errors=True)


def end(process: int, lock: Path) -> None:
    """Ask for an immediate shutdown, which frees shared memory, and insist after five seconds."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGQUIT)
        deadline = time.monotonic() + 5
        while lock.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
