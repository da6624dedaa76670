"""The lines that are numbers: how long things took, in peace and after something broke."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from checker.history import End, Step
from checker.judge import Case
from checker.truth import Life

_PEACE_AFTER_S = 2.0
"""So long after the end of a fault it is peace again."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How long a device that was connected waited for a change, from its storing.

    What a device misses of an earlier time it is told when its owner is in again; nobody waits for
    that in between.
    """

    what: str
    at: float
    seconds: float
    owed: float
    """The same, from when nothing kept the device's node from the database any more."""
    is_peace: bool


@dataclass(frozen=True, slots=True)
class Waited:
    """How long an acknowledgement took that came at the first attempt."""

    at: float
    seconds: float
    is_peace: bool


class Peace:
    """When nothing was broken."""

    def __init__(self, case: Case) -> None:
        """Take the faults of a case."""
        self._faults = [
            (fault.began_at, fault.ended_at + _PEACE_AFTER_S) for fault in case.history.faults
        ]

    def holds(self, began: float, ended: float) -> bool:
        """Return whether nothing was broken at any time between two moments."""
        return not any(start < ended and end > began for start, end in self._faults)


def lags(case: Case) -> list[Lag]:
    """Return how long each change took to each device that was there when it was stored."""
    peace = Peace(case)
    return [
        lag
        for life in case.lives
        for (_, talk), steps in case.history.steps.items()
        for lag in _of_steps(case, life, talk, steps, peace)
    ]


def _of_steps(
    case: Case, life: Life, talk: str, steps: Sequence[Step], peace: Peace
) -> Iterator[Lag]:
    numbers, times = life.timelines.get(talk, ([], []))
    for before, step in pairwise(steps):
        if not life.began_at <= step.at <= life.ended_at:
            continue
        first, end = bisect_right(numbers, before.cursor), bisect_right(numbers, step.cursor)
        for number, at in zip(numbers[first:end], times[first:end], strict=True):
            # Whoever was away is told with the hello, and what was said while somebody was out is
            # read, not delivered.
            if at > step.line.ready_at and life.was_in(talk, step.line.user_id, number):
                excused = case.excused_until(step.line.node, at, step.at)
                who = (talk, step.line.user_id)
                seconds = life.seconds_in(*who, at, step.at)
                owed = life.seconds_in(*who, max(at, excused), step.at)
                what = f"{number} of {talk} to {step.line.device} at {step.line.node}"
                yield Lag(what, at, seconds, owed, peace.holds(at, step.at))


def waits(case: Case) -> list[Waited]:
    """Return how long each acknowledgement of a send took that came at once."""
    peace = Peace(case)
    return [
        Waited(
            change.asked_at,
            change.ended_at - change.asked_at,
            peace.holds(change.asked_at, change.ended_at),
        )
        for change in case.history.sends()
        if change.end is End.ACKNOWLEDGED and len(change.attempts) == 1
    ]


def share(values: Sequence[float], part: float) -> float | None:
    """Return the value that so large a part of the others does not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
