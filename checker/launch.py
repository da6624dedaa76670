"""What runs inside a node: the server as it is, a clock that can be stepped, and a mutant if named.

`python -m checker.launch serve` is `python -m server serve`. The clock of a node is its own:
SIGUSR1 puts it an hour ahead, SIGUSR2 an hour behind, as a machine whose time is set.
"""

import os
import signal
import time

from checker import mutants
from server.__main__ import main

STEP_S = 3_600

_time, _time_ns = time.time, time.time_ns
_offset_s = 0


def _now() -> float:
    return _time() + _offset_s


def _now_ns() -> int:
    return _time_ns() + _offset_s * 1_000_000_000


def _step(number: int, _: object) -> None:
    global _offset_s  # noqa: PLW0603 (a process has one clock)
    _offset_s += STEP_S if number == signal.SIGUSR1 else -STEP_S


if __name__ == "__main__":
    time.time, time.time_ns = _now, _now_ns
    signal.signal(signal.SIGUSR1, _step)
    signal.signal(signal.SIGUSR2, _step)
    mutants.spoil_node(os.environ.pop("CHECKER_MUTANT", ""))
    main()
