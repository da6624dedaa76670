"""One seed of `make chaos`: real nodes and services under every fault, judged by what was heard."""

from pathlib import Path

import pytest

from checker import report
from checker.run import Order, run
from tests.services import has_valkey

SENDS, REMOVALS, MISSED = 1_000, 20, 3
"""What a run has to see that shares two cores with the rest of the suite, and how many kinds of
faults it may not come to."""

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.skipif(not has_valkey(), reason="several nodes need PostgreSQL and Valkey"),
]


@pytest.mark.timeout(300)
async def test_a_town_under_every_fault_crosses_no_line(tmp_path: Path) -> None:
    order = Order(seed=1, seconds=60)
    found = report.made(order, await run(order, tmp_path / "town"))
    assert found.crossed == []
    assert len([bar.what for bar in found.faults_seen if not bar.is_held]) <= MISSED
    assert (found.figures["send: acknowledged"] or 0) >= SENDS
    assert (found.figures["remove: acknowledged"] or 0) >= REMOVALS
