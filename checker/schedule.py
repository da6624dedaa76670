"""When what breaks: the same for the same seed, as far as it is up to us."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from checker.weather import Kind

CALM_S = 5.0
"""A run begins and ends in peace: there one sees what it is like without faults."""


@dataclass(frozen=True, slots=True)
class Due:
    """One fault to come, so many seconds after the beginning."""

    at_s: float
    kind: str


def planned(kinds: Mapping[str, Kind], each: int, seconds: float, chance: Random) -> list[Due]:
    """Return every kind that many times, those of a track one after the other, and calm between.

    In the middle there is a pause, too: faults that heal only because of other faults show there.
    """
    due: list[Due] = []
    for track in dict.fromkeys(kind.track for kind in kinds.values()):
        names = [name for name, kind in kinds.items() if kind.track is track] * each
        chance.shuffle(names)
        due += _spread(names, kinds, seconds, chance)
    return sorted(due, key=lambda one: one.at_s)


def _spread(
    names: list[str], kinds: Mapping[str, Kind], seconds: float, chance: Random
) -> list[Due]:
    """Spread the faults of one track over the time between the calm."""
    middle = seconds / 2
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    spans = [(CALM_S, middle - CALM_S / 2), (middle + CALM_S / 2, seconds - CALM_S)]
    due: list[Due] = []
    for part, (start, end) in zip(halves, spans, strict=True):
        taken = sum(kinds[name].takes_s for name in part)
        spare = max(0.0, end - start - taken) / max(1, len(part))
        at = start
        for name in part:
            due.append(Due(at + chance.uniform(0, spare), name))
            at += kinds[name].takes_s + spare
    return due
