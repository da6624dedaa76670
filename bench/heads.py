"""What it costs a node to compare heads, and to bring many conversations up to date.

python -m bench.heads prints it for PostgreSQL and SQLite; nothing else should run meanwhile.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.machine import CannotMeasureError
from bench.progress import say
from server import database
from server.actions import repair
from server.config import Settings
from server.models import sql
from server.realtime import heads, mender
from tests.services import Postgres

HEADS = 10_000
STALE = 1_000
ROUNDS = 9


async def main() -> None:
    """Measure on both databases."""
    with Postgres({}) as postgres, tempfile.TemporaryDirectory() as folder:
        urls = [await postgres.create_database("heads"), f"sqlite://{Path(folder)}/heads.db"]
        for url in urls:
            settings = Settings.model_validate(
                {"auth": {"secret": "x" * 32}, "database": {"url": url}}
            )
            async with database.opened(settings):
                await database.migrate()
                names = [f"conversation {number}" for number in range(HEADS)]
                await _fill(names)
                say(sql.dialect())
                await _measure(names)


async def _fill(names: list[str]) -> None:
    """Put in people, and conversations whose second change is a message."""
    rows, listed = sql.rows_of("$1"), sql.texts(names)
    always = "true" if sql.dialect() == "postgres" else "1"
    for statement in (
        f"INSERT INTO users (id, created_at, updated_at) SELECT k.id, 0, 0 FROM {rows}",
        (
            "INSERT INTO conversations (id, type, is_active, last_seq, event_seq, head, "
            "created_by, created_at, updated_at, last_activity_at) "
            f"SELECT k.id, 'group', {always}, 1, 1, 2, k.id, 0, 0, 0 FROM {rows}"
        ),
        (
            "INSERT INTO messages (id, conversation_id, seq, event_seq, sender_id, type, "
            "content, countable, created_at) "
            f"SELECT k.id, k.id, 1, 2, k.id, 'text', 'Missed', 1, 0 FROM {rows}"
        ),
    ):
        await sql.execute(statement, listed)
    if sql.dialect() == "postgres":
        await sql.execute("ANALYZE")


async def _measure(names: list[str]) -> None:
    rooms = dict.fromkeys(names, 2)

    async def compare() -> None:
        for start in range(0, HEADS, heads.SLICE):
            found = await repair.differing(
                {name: rooms[name] for name in names[start : start + heads.SLICE]}, {}
            )
            _require(holds=not found.conversations)

    async def mend() -> None:
        for start in range(0, STALE, mender.AT_ONCE):
            some = dict.fromkeys(names[start : start + mender.AT_ONCE], 1)
            missed = await repair.conversations(some, mender.MOST_REPAIRED)
            _require(holds=all(len(one.events or ()) == 1 for one in missed.values()))

    await _time(f"{HEADS} heads, all as they should be", compare)
    await _time(f"{STALE} conversations that miss a message", mend)


def _require(*, holds: bool) -> None:
    if not holds:
        raise CannotMeasureError("the database does not answer what was put into it")


async def _time(what: str, work: Callable[[], Awaitable[Any]]) -> None:
    """Print the median of some rounds, after one that is not counted."""
    await work()
    cpu, wall = [], []
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), time.process_time()
        await work()
        wall.append((time.perf_counter() - began) * 1_000)
        cpu.append((time.process_time() - used) * 1_000)
    took, used_here = statistics.median(wall), statistics.median(cpu)
    say(f"  {what}: {took:.1f} ms, {used_here:.1f} ms of them CPU of the node")


if __name__ == "__main__":
    asyncio.run(main())
