"""What time it is: the one seam through which tests move time.

Times are whole milliseconds since 1970 everywhere inside the server and become text only on the
wire. Nothing that orders, resumes or deduplicates reads a clock.
"""

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def to_text(at_ms: int) -> str:
    """Return the wire form of a time, such as `2026-01-02T03:04:05.678Z`."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"
