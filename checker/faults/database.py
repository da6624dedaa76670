"""PostgreSQL is killed, stalls, takes back its word, and is replaced by an older copy of itself."""

import asyncio
import time

from checker import truth
from checker.people import SAID
from checker.traps import STORED, TRIES, Trap, sprung
from checker.truth import Life
from checker.weather import Kind, Track, Weather
from tests.proxy import Fate, Way


async def _restarts(weather: Weather, kind: str) -> None:
    fault = weather.begin(kind, "postgres", stops_storing=True)
    postgres = weather.stage.postgres
    await asyncio.to_thread(postgres.kill)
    await asyncio.sleep(weather.chance.uniform(0.3, 2))
    await asyncio.to_thread(postgres.start)
    fault.ended_at = time.time()


async def _stalls(weather: Weather, kind: str) -> None:
    fault = weather.begin(kind, "postgres", stops_storing=True)
    for node in weather.stage.nodes:
        node.database.freeze()
    await asyncio.sleep(weather.chance.uniform(1.5, 5))
    for node in weather.stage.nodes:
        node.database.restore()
    fault.ended_at = time.time()


async def _goes_back(weather: Weather, kind: str) -> None:
    """Replace the database by an older copy of itself, as somebody who restores a backup does.

    What is lost is read before it goes: until then it was true.
    """
    stage, postgres = weather.stage, weather.stage.postgres
    fault = weather.begin(kind, "postgres", stops_storing=True)
    for node in stage.nodes:
        node.database.cut()
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.copy)
    await asyncio.to_thread(postgres.start)
    for node in stage.nodes:
        node.database.restore()
    await asyncio.sleep(weather.chance.uniform(1.5, 3))
    for node in stage.nodes:
        node.database.cut()
    async with stage.connected() as connection:
        await connection.execute(_END_OTHERS)
        await truth.read(connection, weather.lives[-1])
    await asyncio.to_thread(postgres.kill)
    await asyncio.to_thread(postgres.go_back)
    weather.lives[-1].ended_at = time.time()
    weather.lives.append(Life(time.time()))
    await asyncio.to_thread(postgres.start)
    for node in stage.nodes:
        node.database.restore()
    fault.ended_at = time.time()


_END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def _outcome_unknown(weather: Weather, kind: str) -> None:
    """Take away a send on its way to the database, or the word that it is stored."""
    is_stored = weather.chance.random() < 0.5
    then = STORED if is_stored else b""
    for _ in range(TRIES):
        node = weather.node()
        trap = Trap(Way.ASKED, SAID.encode(), then, Fate.IS_LOST, lambda: None)
        if await sprung(node.database, trap):
            fault = weather.begin(kind, node.name)
            fault.note = "stored" if is_stored else "not stored"
            fault.ended_at = time.time()
            return


KINDS = {
    "database restarted": Kind(Track.DATABASE, 2.5, _restarts),
    "database stalled": Kind(Track.DATABASE, 3.5, _stalls),
    "commit outcome unknown": Kind(Track.DATABASE, 0.5, _outcome_unknown),
    "database rolled back to an older copy": Kind(Track.DATABASE, 6, _goes_back),
}
