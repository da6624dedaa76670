"""What time it is: the one seam through which tests move time.

Times are whole milliseconds since 1970 everywhere inside the server and become text only on the
wire. Nothing that orders, resumes or deduplicates reads a clock.
"""

import time
from datetime import UTC, datetime
from functools import lru_cache


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def to_text(at_ms: int) -> str:
    """Return the wire form of a time, such as `2026-01-02T03:04:05.678Z`."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=1_024)
def _second(at_s: int) -> str:
    """Return a time without its fraction; what is told now was told this second already."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%S}"
