"""What a run comes to: counts, figures, whether it proves anything; as JSON and as one page."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from checker import lag, page
from checker.history import End
from checker.judge import Case, Count, judged
from checker.lag import Lag, Waited
from checker.nodes import Bus
from checker.run import FULL_S, Order

SENDS, REMOVALS = 10_000, 100
"""What a full run must have seen; with less it proves nothing."""

G2_S = 5.0
HEALTHY_S = 0.250
_SLOWEST = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that a run must have seen or kept to."""

    what: str
    value: float
    wanted: float
    is_most: bool = False

    @property
    def is_held(self) -> bool:
        """Return whether it did."""
        return self.value <= self.wanted if self.is_most else self.value >= self.wanted


@dataclass(frozen=True, slots=True)
class Report:
    """Everything there is to say of a run."""

    order: Order
    began_at: float
    counts: list[Count]
    seen: list[Bar]
    """What makes a run worth something."""
    kept: list[Bar]
    """What the numbers must not exceed."""
    figures: dict[str, float | None]
    faults: list[dict[str, Any]]
    lags: list[Lag]
    waits: list[Waited]

    @property
    def is_void(self) -> bool:
        """Return whether too little happened for the run to prove anything."""
        return not all(bar.is_held for bar in self.seen)

    @property
    def faults_seen(self) -> list[Bar]:
        """Return how often each fault happened, and how often it has to."""
        return [bar for bar in self.seen if bar.what in self.order.kinds]

    @property
    def crossed(self) -> list[Count]:
        """Return the lines that were crossed."""
        return [count for count in self.counts if count.number]

    @property
    def is_safe(self) -> bool:
        """Return whether no line was crossed."""
        return not self.crossed

    @property
    def slowest(self) -> list[str]:
        """Return the deliveries that took longest, as the promise counts, and in peace."""
        owed = sorted(self.lags, key=lambda one: -one.owed)[:_SLOWEST]
        calm = [one for one in self.lags if one.is_peace]
        peace = sorted(calm, key=lambda one: -one.seconds)[:_SLOWEST]
        return [
            *(f"{one.owed:.2f} s: {self._stored(one)}" for one in owed),
            *(f"{one.seconds:.2f} s in peace: {self._stored(one)}" for one in peace),
        ]

    def _stored(self, one: Lag) -> str:
        return f"stored at {one.at - self.began_at:.1f} s, {one.what}"

    def summary(self) -> dict[str, Any]:
        """Return it as JSON has it, without the points of the plots."""
        return {
            "seed": self.order.seed,
            "seconds": self.order.seconds,
            "nodes": self.order.nodes,
            "bus": self.order.bus.value,
            "design": self.order.design,
            "void": self.is_void,
            "safe": self.is_safe,
            "safety": [asdict(count) for count in self.counts],
            "seen": [asdict(bar) for bar in self.seen],
            "kept": [asdict(bar) for bar in self.kept],
            "figures": self.figures,
            "slowest": self.slowest,
            "schedule": self.faults,
        }

    def write(self, folder: Path) -> Path:
        """Write JSON and page, and return the path of the page."""
        folder.mkdir(parents=True, exist_ok=True)
        bus = "" if self.order.bus is Bus.SINGLE else f"-{self.order.bus.value}"
        name = f"seed-{self.order.seed}{bus}" + (
            f"-{self.order.design}" if self.order.design else ""
        )
        (folder / f"{name}.json").write_text(json.dumps(self.summary(), indent=1) + "\n")
        path = folder / f"{name}.html"
        path.write_text(page.drawn(self))
        return path


def made(order: Order, case: Case) -> Report:
    """Judge a case and count what happened in it."""
    lags, waits = lag.lags(case), lag.waits(case)
    return Report(
        order,
        case.history.began_at,
        judged(case),
        _seen(order, case),
        _kept(lags),
        _figures(case, lags, waits),
        _faults(case),
        lags,
        waits,
    )


def _seen(order: Order, case: Case) -> list[Bar]:
    """Return what happened beside what has to; less of a run that is shorter, in proportion."""
    part = min(1.0, order.seconds / FULL_S)
    changes = case.history.changes
    acknowledged = [change for change in changes if change.end is End.ACKNOWLEDGED]
    kinds = Counter(fault.kind for fault in case.history.faults)
    bars = [
        Bar("sends acknowledged", _many(acknowledged, "send"), SENDS * part),
        Bar("members removed", _many(acknowledged, "remove"), REMOVALS * part),
    ]
    return bars + [Bar(kind, kinds[kind], order.each) for kind in order.kinds]


def _many(changes: list[Any], kind: str) -> int:
    return sum(change.kind == kind for change in changes)


def _kept(lags: list[Lag]) -> list[Bar]:
    longest = max((one.owed for one in lags), default=0.0)
    healthy = lag.share([one.seconds for one in lags if one.is_peace], 0.99)
    return [
        Bar("longest lag after a fault, s", longest, G2_S, is_most=True),
        Bar("p99 of the lag while healthy, s", healthy or 0.0, HEALTHY_S, is_most=True),
    ]


def _figures(case: Case, lags: list[Lag], waits: list[Waited]) -> dict[str, float | None]:
    history = case.history
    peace = [one.seconds for one in lags if one.is_peace]
    ends = Counter((change.kind, change.end) for change in history.changes)
    figures: dict[str, float | None] = {
        f"{kind}: {end.value}": number for (kind, end), number in sorted(ends.items(), key=str)
    }
    attempts = [attempt for change in history.changes for attempt in change.attempts]
    codes = Counter(attempt.code for attempt in attempts if attempt.code)
    figures |= {f"attempts answered {code}": number for code, number in sorted(codes.items())}
    figures |= {
        "seconds lived": round(history.ended_at - history.began_at, 1),
        "connections": len(history.lines),
        "frames": len(history.frames),
        "deliveries timed": len(lags),
        "deliveries timed while healthy": len(peace),
        "lag while healthy, p50 s": lag.share(peace, 0.5),
        "lag while healthy, p99 s": lag.share(peace, 0.99),
        "lag of all, p50 s": lag.share([one.seconds for one in lags], 0.5),
        "lag of all, p99 s": lag.share([one.seconds for one in lags], 0.99),
        "longest lag, s": max((one.seconds for one in lags), default=None),
        "longest lag beyond what nobody could store, s": max(
            (one.owed for one in lags), default=None
        ),
        "acknowledged at once, p50 s": lag.share([one.seconds for one in waits], 0.5),
        "acknowledged at once while healthy, p99 s": lag.share(
            [one.seconds for one in waits if one.is_peace], 0.99
        ),
    }
    return figures


def _faults(case: Case) -> list[dict[str, Any]]:
    began = case.history.began_at
    return [
        {
            "at_s": round(fault.began_at - began, 2),
            "lasts_s": round(max(0.0, fault.ended_at - fault.began_at), 2),
            "kind": fault.kind,
            "target": fault.target,
            "note": fault.note,
        }
        for fault in case.history.faults
    ]
