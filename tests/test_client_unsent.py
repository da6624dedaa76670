"""What is not sent yet survives the death of the client and of the server, and goes once."""

from pathlib import Path

import aiohttp
import pytest

from server import app, database
from server.config import Settings
from server.models import sql
from tests.conftest import SECRET
from tests.people import Town, all_messages
from tests.process import serve
from tests.programs import last_report, program, reported
from tests.services import LOOPBACK, free_port

pytestmark = pytest.mark.one_database


@pytest.mark.usefixtures("logged")
async def test_unsent_messages_go_once_after_the_death_of_client_and_server(
    tmp_path: Path, settings: Settings
) -> None:
    port = free_port()
    environment = {
        "PALABRE_AUTH__SECRET": SECRET,
        "PALABRE_DATABASE__URL": settings.database.url,
        "PALABRE_FILES__FOLDER": settings.files.folder,
        "PALABRE_HTTP__PORT": str(port),
    }
    again = Settings.model_validate({**settings.model_dump(), "http": {"port": port}})
    unsent = str(tmp_path / "unsent.json")
    async with aiohttp.ClientSession() as http:
        town = Town(settings, f"http://{LOOPBACK}:{port}", http)
        ada, bob = town.person("ada"), town.person("bob")
        async with (
            serve(cwd=tmp_path, environment=environment) as server,
            program("client_unsent.mjs", town.url, ada.token, unsent) as writer,
        ):
            assert await reported(writer) == {"stored": "one"}
            await server.dies()
            left = await reported(writer)
            assert left["pending"] == ["one", "two", "three"]

        everybody = (ada.token, bob.token)
        async with program("client_resumed.mjs", town.url, *everybody, unsent, left["id"]) as tabs:
            async with app.running(again):
                report = await reported(tabs)
                stored = await all_messages(bob, left["id"])
                assert [message["content"] for message in stored] == report["contents"]
                assert [len(message["attachments"]) for message in stored] == [0, 0, 1, 0]
            async with database.opened(again):
                await sql.execute("UPDATE installation SET value = 'new' WHERE key = 'epoch'")
            async with app.running(again):
                report = await last_report(tabs)
                stored = await all_messages(bob, left["id"])
                assert [message["content"] for message in stored] == report["contents"]
