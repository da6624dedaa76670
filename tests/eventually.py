"""Waiting for what the server does on its own, and nobody is told of."""

import asyncio
from collections.abc import Callable

from tests.people import WITHIN_S, Town


async def becomes(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; fail after the usual deadline."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - the server tells nobody when it is done
            await asyncio.sleep(0.001)


def sessions(town: Town, user_id: str) -> int:
    """Return how many connections of a person the server believes to have."""
    return len(town.node.feed._hub.devices_of(user_id))


async def is_gone(town: Town, user_id: str) -> None:
    """Wait until the server holds nothing of a person any more."""
    await becomes(lambda: sessions(town, user_id) == 0)
