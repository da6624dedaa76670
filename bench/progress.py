"""What is said while measuring: what runs, what came of it, how long the rest will take."""

import sys
import time
from collections.abc import Sequence

from bench.cases.case import Case
from bench.contenders import TITLES
from bench.figures import Row

_SHOWN = {
    "cpu_us_per_delivery": "µs CPU a delivery",
    "deliveries_per_s": "deliveries/s",
    "sends_per_s": "sends/s",
    "cpu_us_per_send": "µs CPU a send",
    "kib_per_connection": "KiB a connection",
    "cpu_us_per_connect": "µs CPU to connect",
    "sync_adds_us": "µs for ten cursors",
    "cpu_us_per_page": "µs CPU a page",
    "pages_per_s": "pages/s",
    "p50_ms": "ms p50",
    "p99_ms": "ms p99",
    "cpu_us_per_visit": "µs CPU a visit",
    "core_percent": "% of a core",
    "messages_per_s": "messages/s",
    "fsyncs_per_s": "fsyncs/s",
}


class Progress:
    """Tells of a run; the time that is left is estimated from how long what is done has taken."""

    def __init__(self, chosen: Sequence[tuple[Case, Sequence[str]]], rounds: int) -> None:
        """Plan to measure these in so many rounds."""
        self._all = rounds * sum(expected(case, who) for case, who in chosen)
        self._done = 0.0
        self._began = time.monotonic()
        minutes = max(1, round(self._all / 60))
        say(f"{rounds} round{'s' if rounds > 1 else ''}, about {minutes} min.")

    def begin(self, case: Case, contenders: Sequence[str], number: int) -> None:
        """Say what is measured now."""
        passed = time.monotonic() - self._began
        pace = passed / self._done if self._done > self._all / 10 else 1
        left = max(1, round((self._all - self._done) * pace / 60))
        say(f"round {number}, {case.name}: {', '.join(contenders)} (about {left} min left)")
        self._done += expected(case, contenders)

    def measured(self, row: Row) -> None:
        """Say what came of it."""
        if row.problem:
            say(f"  {row.contender}: {row.problem}")
            return
        shown = [
            f"{row.figures[name]:,.6g} {words}"
            for name, words in _SHOWN.items()
            if name in row.figures
        ]
        say(f"  {row.case}, {TITLES[row.contender].replace('`', '')}: {', '.join(shown)}")


def expected(case: Case, contenders: Sequence[str]) -> float:
    """Return the seconds that asking these takes about."""
    return case.seconds * len(contenders)


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
