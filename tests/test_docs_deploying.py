"""What docs/deploying.md tells operators to do does what it says."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server import app
from server.config import Settings
from tests.documents import ROOT
from tests.people import Device, Town
from tests.process import finished


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


@pytest.mark.usefixtures("logged")
async def test_after_the_word_of_a_new_epoch_clients_start_over(
    settings: Settings, tmp_path: Path
) -> None:
    words = ("migrate", "--new-epoch")
    assert f"`palabre {' '.join(words)}`" in (ROOT / "docs" / "deploying.md").read_text()
    cursors: dict[str, int] = {}
    epoch, _ = await _sync_of(settings, "", cursors)
    assert await _sync_of(settings, epoch, cursors) == (epoch, None)

    given = {"PALABRE_DATABASE__URL": settings.database.url}
    status, _, err = await finished(*words, cwd=tmp_path, environment=given)
    assert status == 0, err

    renewed, reset = await _sync_of(settings, epoch, cursors)
    assert renewed != epoch
    assert reset is True


@pytest.mark.one_database
async def test_a_new_epoch_beside_a_server_on_sqlite_is_refused_in_one_sentence(
    town: Town, tmp_path: Path
) -> None:
    given = {"PALABRE_DATABASE__URL": town.settings.database.url}

    status, _, err = await finished("migrate", "--new-epoch", cwd=tmp_path, environment=given)

    assert status == 2
    assert "is in use by another Palabre" in err
    assert len(err.strip().splitlines()) == 1
