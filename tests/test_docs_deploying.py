"""What docs/deploying.md tells operators to do does what it says."""

from typing import Any

import aiohttp
import pytest

from server import app, database
from server.config import Settings
from server.models import sql
from tests.documents import ROOT, examples
from tests.people import Device, Town


async def _sync_of(settings: Settings, epoch: str, cursors: dict[str, int]) -> tuple[str, Any]:
    """Start the server, let Ada come back with her cursors, and return what she is told."""
    async with app.running(settings) as node, aiohttp.ClientSession() as http:
        ada = Town(settings, f"http://127.0.0.1:{node.port}", http).person("ada")
        if not cursors:
            talk = await ada.creates("direct", ada.town.person("bob"))
            cursors[talk["id"]] = talk["head"]
        device = Device(ada)
        await device.open({"token": ada.token, "epoch": epoch, "cursors": cursors})
        await device.close()
        return device.ready["epoch"], device.ready["sync"]["conversations"][0].get("reset")


@pytest.mark.settings(database={"migrate_on_start": True})  # which is what renews it
@pytest.mark.usefixtures("logged")
async def test_after_the_epoch_is_forgotten_clients_start_over(settings: Settings) -> None:
    [forget] = examples(ROOT / "docs" / "deploying.md", "sql")
    cursors: dict[str, int] = {}
    epoch, _ = await _sync_of(settings, "", cursors)
    assert await _sync_of(settings, epoch, cursors) == (epoch, None)

    async with database.opened(settings):
        await sql.execute(forget)

    renewed, reset = await _sync_of(settings, epoch, cursors)
    assert renewed != epoch
    assert reset is True
