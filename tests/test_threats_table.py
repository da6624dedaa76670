"""docs/threats.md: every row has a test, and every test it names is there."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_database

HERE = Path(__file__).parent
TABLE = HERE.parent / "docs" / "threats.md"
ROW = re.compile(r"^\| ([TM]\d+) \| (.+) \| (.+) \| `(test_\w+\.py)::(test_\w+)` \|$", re.MULTILINE)


def test_every_threat_has_a_test() -> None:
    rows = ROW.findall(TABLE.read_text())
    named = sorted(row[0] for row in rows)
    assert named == sorted([*(f"T{n}" for n in range(1, 21)), *(f"M{n}" for n in range(1, 26))])
    for name, _, _, file, test in rows:
        text = (HERE / file).read_text()
        found = re.search(
            rf"^async def {test}\(.*?\) -> None:\n(.*)", text, re.MULTILINE | re.DOTALL
        )
        assert found is not None, f"{file} has no {test}"
        # Who reads the test learns which threats would come back without it.
        assert name in _spelt_out(found[1].partition("\n")[0]), f"{test} does not name {name}"


def _spelt_out(docstring: str) -> set[str]:
    """Return the rows that a docstring names, one by one or as a range."""
    names = set(re.findall(r"\b[TM]\d+\b", docstring))
    for kind, first, last in re.findall(r"\b([TM])(\d+) to \1(\d+)\b", docstring):
        names |= {f"{kind}{n}" for n in range(int(first), int(last) + 1)}
    return names
