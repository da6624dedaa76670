"""What was measured: a row for each contender and round, kept for telling it again."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one contender in one case, of one round."""

    case: str
    contender: str
    figures: Figures
    problem: str = ""


@dataclass(slots=True)
class Recording:
    """Everything a report needs: rows, and about whom and where."""

    about: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Take down what was measured."""
        self.rows.extend(rows)

    def middle(self, case: str, contender: str, figure: str) -> float | None:
        """Return the median over the rounds, or None where it was not measured."""
        found = self.each(case, contender, figure)
        return median(found) if found else None

    def each(self, case: str, contender: str, figure: str) -> list[float]:
        """Return the figure of every round."""
        return [
            row.figures[figure]
            for row in self.rows
            if (row.case, row.contender) == (case, contender) and figure in row.figures
        ]

    def problems(self) -> list[str]:
        """Return what could not be measured and why, each once."""
        found = (f"{row.case}, {row.contender}: {row.problem}" for row in self.rows if row.problem)
        return list(dict.fromkeys(found))

    def save(self, path: Path) -> None:
        """Write everything down as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(path: Path) -> Recording:
    """Return what was saved."""
    read = json.loads(path.read_text())
    return Recording(read["about"], [Row(**row) for row in read["rows"]])
