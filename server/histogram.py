"""How large or how slow something was, how often: whole numbers that somebody may read later.

Adding one costs a fraction of a microsecond, and there is no lock: all of it is the event loop's.
"""

from bisect import bisect_left
from collections.abc import Iterator


class Histogram:
    """Counts by size: the first bound is the unit, and each further one twice the one before."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, *, unit: float, bounds: int) -> None:
        """Tell sizes apart up to `unit` times two to the number of bounds, less one."""
        self._bounds = [unit * 2**power for power in range(bounds)]
        self._counts = [0] * (bounds + 1)
        self.total = 0.0

    def add(self, size: float) -> None:
        """Count one of this size."""
        self._counts[bisect_left(self._bounds, size)] += 1
        self.total += size

    def __len__(self) -> int:
        """Return how many were counted."""
        return sum(self._counts)

    def up_to(self) -> Iterator[tuple[float, int]]:
        """Yield each bound with how many were not larger; the last bound is infinite."""
        so_far = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            so_far += count
            yield bound, so_far
