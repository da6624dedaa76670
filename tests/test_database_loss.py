"""What happens to people when the database goes away and comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.config import Settings
from tests.conftest import SECRET
from tests.people import Refused, Town
from tests.process import serve
from tests.services import Postgres


@pytest.fixture
async def fragile(tmp_path: Path) -> AsyncIterator[tuple[Town, Postgres]]:
    """A server, in a process of its own, on a PostgreSQL that a test may stop."""
    with Postgres() as postgres:
        environment = {
            "PALABRE_AUTH__SECRET": SECRET,
            "PALABRE_DATABASE__URL": await postgres.create_database("fragile"),
            "PALABRE_DATABASE__POOL_SIZE": "3",
        }
        settings = Settings.model_validate({"auth": {"secret": SECRET}})
        async with (
            serve(cwd=tmp_path, environment=environment) as process,
            aiohttp.ClientSession() as http,
        ):
            town = Town(settings, process.url, http)
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
                if refused.code != "unavailable":
                    raise
            else:
                return said
