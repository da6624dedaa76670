"""What this server has to show beside its peers, and whether it does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.cases.pages import HISTORIES
from bench.figures import Recording

FLAT = 1.25
"""Up to this factor a cost counts as the same."""

Measured = Callable[[Recording], float | None]


@dataclass(frozen=True, slots=True)
class Bar:
    """A claim: a measured number stands in a relation to a limit."""

    claim: str
    measured: Measured
    relation: Literal["≤", "≥", "<"]
    limit: float
    unit: str = "×"

    def is_met(self, value: float) -> bool:
        """Tell whether a number fulfils the claim."""
        if self.relation == "≥":
            return value >= self.limit
        return value < self.limit if self.relation == "<" else value <= self.limit


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a claim; without a value it could not be judged."""

    bar: Bar
    value: float | None

    @property
    def word(self) -> str:
        """Return the verdict in words."""
        if self.value is None:
            return "not measured"
        return "met" if self.bar.is_met(self.value) else "**not met**"


def judge(recording: Recording) -> list[Verdict]:
    """Return the verdict on every claim."""
    return [Verdict(bar, bar.measured(recording)) for bar in _ALL]


def _one(case: str, contender: str, figure: str, per: float = 1) -> Measured:
    def measured(recording: Recording) -> float | None:
        value = recording.middle(case, contender, figure)
        return None if value is None else value / per

    return measured


def _ratio(case: str, figure: str, ours: str, theirs: str, *, in_case: str = "") -> Measured:
    """Divide medians: ours by theirs, or by the same contender's in another case."""

    def measured(recording: Recording) -> float | None:
        upper = recording.middle(case, ours, figure)
        lower = recording.middle(in_case or case, theirs, figure)
        return upper / lower if upper is not None and lower else None

    return measured


def _least(parts: list[Measured]) -> Measured:
    """Take the worst of several ratios that have to be large."""

    def measured(recording: Recording) -> float | None:
        values = [part(recording) for part in parts]
        known = [value for value in values if value is not None]
        return min(known) if known and len(known) == len(values) else None

    return measured


_US = "cpu_us_per_delivery"
_OURS = "palabre-sqlite"

_FANOUT = (
    Bar(
        "1,000 members, one at a time: CPU a delivery beside `write_limit`",
        _ratio("fanout-1", _US, _OURS, "write"),
        "≤",
        1.35,
    ),
    Bar(
        "the same beside Node, which stores nothing",
        _ratio("fanout-1", _US, _OURS, "node"),
        "≤",
        0.8,
    ),
    Bar(
        "16 at once: deliveries a second beside Node",
        _ratio("fanout-16", "deliveries_per_s", _OURS, "node"),
        "≥",
        5,
    ),
    Bar(
        "16 at once: time to the last recipient (p50) beside Node",
        _ratio("fanout-16", "p50_ms", _OURS, "node"),
        "<",
        1,
    ),
    Bar(
        "64 at once: deliveries a second on one core",
        _one("fanout-64", _OURS, "deliveries_per_s", per=1e6),
        "≥",
        1,
        "million",
    ),
)

_SENDS = (
    Bar(
        "100 senders, PostgreSQL: sends a second beside Node and pg",
        _ratio("pairs-100", "sends_per_s", "palabre", "node-pg"),
        "≥",
        3.5,
    ),
    Bar(
        "the same, the aim",
        _ratio("pairs-100", "sends_per_s", "palabre", "node-pg"),
        "≥",
        5,
    ),
    Bar(
        "100 senders, PostgreSQL: sends a second beside Django Channels",
        _ratio("pairs-100", "sends_per_s", "palabre", "django"),
        "≥",
        20,
    ),
    Bar(
        "10 senders, PostgreSQL: sends a second beside Node and pg",
        _ratio("pairs-10", "sends_per_s", "palabre", "node-pg"),
        "≥",
        1.7,
    ),
    Bar(
        "one sender, PostgreSQL: acknowledgement (p50) beside Node and pg",
        _ratio("pairs-1", "p50_ms", "palabre", "node-pg"),
        "≤",
        1,
    ),
    Bar(
        "100 senders, PostgreSQL: CPU a send beside Node and pg",
        _ratio("pairs-100", "cpu_us_per_send", "palabre", "node-pg"),
        "≤",
        0.4,
    ),
    Bar(
        "100 senders, SQLite: sends a second beside Node and pg",
        _ratio("pairs-100", "sends_per_s", "palabre-sqlite", "node-pg"),
        "≥",
        3,
    ),
)

_IDLE = (
    Bar(
        "idle connection, SQLite: memory beside Node",
        _ratio("idle", "kib_per_connection", "palabre-sqlite", "node"),
        "≤",
        1,
    ),
    Bar(
        "the same, PostgreSQL",
        _ratio("idle", "kib_per_connection", "palabre", "node"),
        "≤",
        1,
    ),
    Bar(
        "idle connection of a browser, SQLite: memory beside Node",
        _ratio("idle-browser", "kib_per_connection", "palabre-sqlite", "node"),
        "≤",
        1,
    ),
    Bar(
        "the same, PostgreSQL",
        _ratio("idle-browser", "kib_per_connection", "palabre", "node"),
        "≤",
        1,
    ),
    Bar(
        "connecting, SQLite: CPU beside Node",
        _ratio("idle", "cpu_us_per_connect", "palabre-sqlite", "node"),
        "≤",
        1,
    ),
    Bar(
        "connecting, PostgreSQL: CPU beside Node",
        _ratio("idle", "cpu_us_per_connect", "palabre", "node"),
        "≤",
        1.5,
    ),
    Bar(
        "a `sync` of ten cursors adds, SQLite",
        _one("sync", "palabre-sqlite", "sync_adds_us", per=1000),
        "≤",
        0.3,
        "ms",
    ),
    Bar(
        "a `sync` of ten cursors adds, PostgreSQL",
        _one("sync", "palabre", "sync_adds_us", per=1000),
        "≤",
        0.3,
        "ms",
    ),
)


def _pages_beside(peer: str) -> Measured:
    # Pages a CPU second are the inverse of CPU a page.
    return _least(
        [_ratio(f"history-{name}", "cpu_us_per_page", peer, "palabre") for name in HISTORIES]
    )


_PAGES = (
    Bar(
        "history page: pages a CPU second beside Node and pg, the worst length",
        _pages_beside("node-pg"),
        "≥",
        1,
    ),
    Bar(
        "history page: pages a CPU second beside Django, the worst length",
        _pages_beside("django"),
        "≥",
        5,
    ),
    Bar(
        "history page: CPU among 2 million messages beside 1,000",
        _ratio("history-2M", "cpu_us_per_page", "palabre", "palabre", in_case="history-1k"),
        "≤",
        FLAT,
    ),
    Bar(
        "history page: time (p50) among 2 million messages beside 1,000",
        _ratio("history-2M", "p50_ms", "palabre", "palabre", in_case="history-1k"),
        "≤",
        FLAT,
    ),
    Bar(
        "conversation list: CPU for somebody in 10,000 beside 10",
        _ratio("list-10000", "cpu_us_per_page", "palabre", "palabre", in_case="list-10"),
        "≤",
        FLAT,
    ),
    Bar(
        "conversation list: time (p50) for somebody in 10,000 beside 10",
        _ratio("list-10000", "p50_ms", "palabre", "palabre", in_case="list-10"),
        "≤",
        FLAT,
    ),
)

_VISITS = (
    Bar(
        "coming in: time (p50) for somebody in 10,000 conversations beside 10",
        _ratio("visit-10000", "p50_ms", "palabre", "palabre", in_case="visit-10"),
        "≤",
        1.5,
    ),
)

_BYSTANDER = (
    Bar(
        "2,000 messages a second between two other nodes, 1,000 idle clients: CPU of a node",
        _one("bystander", "palabre", "core_percent"),
        "≤",
        2,
        "% of a core",
    ),
)

_ALL = (*_FANOUT, *_SENDS, *_IDLE, *_PAGES, *_VISITS, *_BYSTANDER)
