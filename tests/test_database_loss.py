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
            # Refusals come at once, so that whoever asks again asks often.
            "PALABRE_LIMITS__SEND_RATE": "0",
            "PALABRE_LIMITS__EVENT_RATE": "0",
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
    devices = [await ada.connects() for _ in range(8)]
    her, his = devices[0], await bob.connects()

    # Everybody is talking while it goes: each send is stored, or said not to be for certain.
    begun = asyncio.get_running_loop().time()
    going = asyncio.create_task(asyncio.to_thread(postgres.kill))
    known = [await asyncio.gather(*(_talks(one, talk, n) for n, one in enumerate(devices)))]
    await going
    assert asyncio.get_running_loop().time() - begun < 6
    # More failures than the pool has connections: none of them may keep one.
    for _ in range(8):
        with pytest.raises(Refused) as refused:
            await her.says(talk, "Is anybody there?")
        assert refused.value.code == "unavailable"
        assert refused.value.error["retryable"]
    await asyncio.to_thread(postgres.start)

    last = await _says_until_it_works(her, talk)
    # Asking again finds what was stored, and stores what was not: each once.
    stored = {id_: message for sent in known[0] for id_, message in sent.items()}
    for id_, message in stored.items():
        again = await her.says(talk, id_, client_msg_id=id_)
        assert message is None or again["seq"] == message["seq"] < last["seq"]
    page = await bob.get(f"conversations/{talk['id']}/messages/?limit=100")
    assert len({m["client_msg_id"] for m in page["results"]}) == len(stored) + 1
    assert [m["seq"] for m in page["results"]] == list(range(1, len(stored) + 2))
    for device in (*devices, his):
        assert await device.heard_names() == ["message:created"] * (len(stored) + 1)


async def _talks(device: Any, talk: dict[str, Any], number: int) -> dict[str, Any]:
    """Send until it fails; return what was sent, and by its id what was answered."""
    sent: dict[str, Any] = {}
    while None not in sent.values() and len(sent) < 8:
        id_ = f"{number} {len(sent)}"
        fields = {"conversation_id": talk["id"], "client_msg_id": id_, "content": id_}
        answer = await device.answer("message:send", fields)
        assert answer["ok"] or answer["error"]["code"] == "unavailable"
        sent[id_] = answer["data"]["message"] if answer["ok"] else None
    return sent


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
