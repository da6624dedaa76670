"""The official JavaScript client does the main job; its programs are in tests/js."""

from pathlib import Path

import aiohttp
import pytest

from server.config import Settings
from tests.conftest import SECRET
from tests.people import Person, Town, all_messages
from tests.process import serve
from tests.programs import last_report, program, ran, reported
from tests.services import free_port


async def test_people_talk_directly_and_in_a_group(
    town: Town, ada: Person, bob: Person, cleo: Person
) -> None:
    report = await ran("talk.mjs", town.url, ada.token, bob.token, cleo.token)

    direct = await all_messages(bob, report["direct"])
    assert [message["content"] for message in direct] == ["Hi Bob", ""]
    group = await all_messages(bob, report["group"])
    assert [m["id"] for m in group if m["type"] != "system"] == report["said"]


@pytest.mark.one_database
async def test_a_hundred_messages_arrive_in_their_order(
    town: Town, ada: Person, bob: Person
) -> None:
    report = await ran("hundred.mjs", town.url, ada.token, bob.token)

    stored = await all_messages(bob, report["conversation"])
    assert [message["content"] for message in stored] == report["contents"]


@pytest.mark.one_database
async def test_a_refused_client_learns_why_and_comes_in_with_a_fresh_token(
    town: Town, ada: Person
) -> None:
    expired = ada.fresh_token(ttl_s=-60)

    assert await ran("refused.mjs", town.url, expired, ada.token) == {"user": "ada"}


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_while_people_write(
    tmp_path: Path, settings: Settings
) -> None:
    port = free_port()
    environment = {
        "PALABRE_AUTH__SECRET": SECRET,
        "PALABRE_DATABASE__URL": settings.database.url,
        "PALABRE_HTTP__PORT": str(port),
        "PALABRE_LIMITS__SEND_RATE": "0",
        "PALABRE_LIMITS__EVENT_RATE": "0",
    }
    async with (
        aiohttp.ClientSession() as http,
        serve(cwd=tmp_path, environment=environment) as first,
    ):
        town = Town(settings, first.url, http)
        ada, bob = town.person("ada"), town.person("bob")
        async with program("restart.mjs", town.url, ada.token, bob.token) as process:
            assert await reported(process) == {"acknowledged": 60}
            await first.dies()
            async with serve(cwd=tmp_path, environment=environment):
                report = await last_report(process)
                stored = await all_messages(bob, report["conversation"])
                assert [message["id"] for message in stored] == report["said"]
