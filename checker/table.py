"""`python -m checker.table chaos/*.json`: many runs as a table of docs/guarantees.md."""

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from checker.nodes import NAIVE

_NAMES = {"": "Palabre", NAIVE: "the naive way"}

_NOT_CLAIMED = "a hole or a repeat in the numbers of a conversation"
"""Serial ids are one row for all conversations: they have holes, and nobody says otherwise."""


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Return a table with a column for each design: sums of what must be zero, worst figures."""
    by_design: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        by_design[run["design"]].append(run)
    designs = sorted(by_design)
    rows = [["", *(_NAMES.get(design, design) for design in designs)]]
    rows.append(["---", *("---:" for _ in designs)])
    columns = [_column(by_design[design]) for design in designs]
    rows += [[name, *(column.get(name, "–") for column in columns)] for name in columns[0]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _column(runs: Sequence[dict[str, Any]]) -> dict[str, str]:
    figures = [run["figures"] for run in runs]
    column = {
        "runs": str(len(runs)),
        "seconds of faults": f"{sum(run['seconds'] for run in runs):,.0f}",
        "with everything, they took": f"{_sum(figures, 'seconds lived')} s",
        "faults": f"{sum(len(run['schedule']) for run in runs):,}",
        "sends acknowledged": _sum(figures, "send: acknowledged"),
        "members removed": _sum(figures, "remove: acknowledged"),
        "frames heard": _sum(figures, "frames"),
    }
    for place, line in enumerate(runs[0]["safety"]):
        if runs[0]["design"] != NAIVE or line["line"] != _NOT_CLAIMED:
            column[line["line"]] = f"**{sum(run['safety'][place]['number'] for run in runs):,}**"
    column["lag while healthy, worst p99"] = _worst(figures, "lag while healthy, p99 s")
    column["longest lag after a fault"] = _worst(
        figures, "longest lag beyond what nobody could store, s"
    )
    return column


def _sum(figures: Sequence[dict[str, Any]], name: str) -> str:
    return f"{sum(round(one.get(name) or 0) for one in figures):,}"


def _worst(figures: Sequence[dict[str, Any]], name: str) -> str:
    return f"{max(one.get(name) or 0.0 for one in figures):.3f} s"


if __name__ == "__main__":
    print(table([json.loads(Path(name).read_text()) for name in sys.argv[1:]]))
