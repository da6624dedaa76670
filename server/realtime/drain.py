"""How everybody is let go before the server stops: each at a moment of its own.

Whoever is connected is told when to come back. A client that listens is gone by then; any other is
ended a moment later, once what it asked for is answered. So those who come back do so spread over
some seconds, and no request that was accepted goes without its answer.
"""

import asyncio
from collections.abc import Iterable
from random import uniform

from server.config import DrainSettings
from server.logs import get_logger
from server.realtime.connection import Connection
from server.realtime.session import Ending

GRACE_S = 0.5
"""How long after the moment it was told a client is still waited for: it takes a way to arrive."""

_LOOK_EVERY_S = 0.02
_TOLD_AT_ONCE = 250
"""How many are told before others have a turn."""

log = get_logger("server.connections")


async def let_go(connections: Iterable[Connection], settings: DrainSettings) -> None:
    """Let these go; returns when each of them has left or was told goodbye."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    leaving: list[tuple[float, Connection]] = []
    for number, connection in enumerate(list(connections), 1):
        if connection.session is None:
            connection.end(Ending.STOPPING)
            continue
        wait_s = uniform(0, settings.spread_s)  # noqa: S311 - nobody gains by guessing it
        connection.session.draining(round(wait_s * 1_000))
        leaving.append((began + wait_s + GRACE_S, connection))
        if number % _TOLD_AT_ONCE == 0:
            await asyncio.sleep(0)
    if leaving:
        log.info("letting everybody go", connections=len(leaving), within_s=settings.spread_s)
    leaving.sort(key=lambda one: one[0])
    async with asyncio.TaskGroup() as busy:
        for at, connection in leaving:
            if connection.is_gone:
                continue
            await asyncio.sleep(max(0.0, at - loop.time()))
            if connection.session is not None and connection.session.is_busy:
                busy.create_task(_answered(connection, settings.finish_s))
            else:
                connection.end(Ending.STOPPING)


async def _answered(connection: Connection, within_s: float) -> None:
    """Say goodbye when what was asked is answered, or when that takes too long.

    It is looked now and then, so that answering, which happens all the time, need not tell.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while connection.session is not None and connection.session.is_busy and loop.time() < until:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_EVERY_S)
    connection.end(Ending.STOPPING)
