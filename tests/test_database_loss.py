"""What happens to people when the database goes away and comes back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from server import app
from server.config import Settings
from tests.conftest import SECRET
from tests.people import Refused, Town
from tests.services import Postgres


@pytest.fixture
async def fragile(
    database_kind: str, logged: list[dict[str, Any]]
) -> AsyncIterator[tuple[Town, Postgres]]:
    """A server on a PostgreSQL of its own, which a test may stop."""
    with Postgres() as postgres:
        url = await postgres.create_database("fragile")
        sections = {
            "http": {"port": 0},
            "auth": {"secret": SECRET},
            "database": {"url": url, "pool_size": 3},
            "limits": {"send_rate": 0, "event_rate": 0},
        }
        settings = Settings.model_validate(sections)
        async with app.running(settings) as node, aiohttp.ClientSession() as http:
            town = Town(settings, f"http://127.0.0.1:{node.port}", http)
            yield town, postgres
            await town.close()


async def test_sends_say_unavailable_while_the_database_is_gone_and_work_again_after(
    fragile: tuple[Town, Postgres],
) -> None:
    town, postgres = fragile
    ada, bob = await town.known("ada"), await town.known("bob")
    talk = await ada.creates("direct", bob)
    her, his = await ada.connects(), await bob.connects()

    await asyncio.to_thread(postgres.kill)
    # More failures than the pool has connections: none of them may keep one.
    for _ in range(8):
        with pytest.raises(Refused) as refused:
            await her.says(talk, "Is anybody there?")
        assert refused.value.code == "unavailable"
        assert refused.value.error["retryable"]
    await asyncio.to_thread(postgres.start)

    said = await _says_until_it_works(her, talk)
    assert said["seq"] == 1
    assert await his.heard_names() == ["message:created"]
    assert await her.heard_names() == ["message:created"]


async def _says_until_it_works(device: Any, talk: dict[str, Any]) -> dict[str, Any]:
    """Ask again with the same id, as clients do, for the five seconds that are promised."""
    async with asyncio.timeout(5):
        while True:
            try:
                said: dict[str, Any] = await device.says(talk, "I am back", client_msg_id="back")
            except Refused as refused:
                assert refused.code == "unavailable"
            else:
                return said
