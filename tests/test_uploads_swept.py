"""Files that nobody needs any more: removed at once, found later, and never one too many."""

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server import app, clock, jobs
from server.config import Settings
from server.errors import SettingsError
from server.files import store
from server.ids import new_id
from server.models import sql
from tests import pictures
from tests.eventually import becomes
from tests.people import Person, Town, all_messages
from tests.refusals import refused
from tests.uploading import by_hand, kept, keys, known_are, part, passing

OFTEN = pytest.mark.settings(files={"sweep_s": 0.02})
DAY_S = 86_400


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let so many seconds pass for those who sweep."""

    def pass_(seconds: int) -> None:
        late = clock.now_ms() + seconds * 1_000
        monkeypatch.setattr(jobs, "now_ms", lambda: late)
        monkeypatch.setattr(store, "now_ms", lambda: late)

    return pass_


async def two_turns(town: Town) -> None:
    """Wait until everything was looked at that is there now: a turn begins with old bytes."""
    bait = Path(town.settings.files.folder) / "incoming" / "bait"
    for _ in range(2):
        bait.write_bytes(b"")
        os.utime(bait, (0, 0))
        await becomes(lambda: not bait.exists())


@OFTEN
async def test_what_was_not_sent_within_a_day_is_removed(
    town: Town, ada: Person, bob: Person, after: Callable[[int], None]
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.sends_files(talk, (pictures.png(), "a.png"))
    late, never = await ada.upload(b"late"), await ada.upload(pictures.png())
    assert kept(town) == keys(late, never, *said["attachments"])

    after(DAY_S - 60)
    await two_turns(town)
    sent = await ada.says(talk, "", attachment_ids=[late["id"]])
    after(DAY_S + 60)
    files = [*said["attachments"], *sent["attachments"]]
    await becomes(lambda: kept(town) == keys(*files))
    await known_are(*files)

    no = await refused(ada.says(talk, "", attachment_ids=[never["id"]]))
    assert no.fields == ["attachment_ids.0"]
    shown = [m["attachments"] for m in await all_messages(bob, talk["id"])]
    assert shown == [said["attachments"], sent["attachments"]]


@OFTEN
async def test_what_a_crash_left_behind_is_found(
    town: Town, ada: Person, after: Callable[[int], None], logged: list[dict[str, Any]]
) -> None:
    folder = Path(town.settings.files.folder)
    unsent, half = await ada.upload(b"unsent"), await ada.upload(pictures.png())
    stranger = new_id()
    (folder / "kept" / stranger).write_bytes(b"the row of these bytes was never written")
    (folder / "kept" / f"{stranger}-320").write_bytes(b"nor of these")
    (folder / "incoming" / "cut").write_bytes(b"an upload that broke off")
    # The process died after it had noted this file and before all of its bytes were in place.
    await sql.execute("UPDATE attachments SET state = 'pending' WHERE id = $1", half["id"])
    (folder / "kept" / f"{half['id']}-960").unlink()

    after(3_500)
    await two_turns(town)
    assert (len(kept(town)), passing(town)) == (5, {"cut"})
    after(3_700)
    strangers = {stranger, f"{stranger}-320"}
    await becomes(lambda: kept(town) == {unsent["id"], *strangers} and not passing(town))
    await known_are(unsent)
    # A database restored from yesterday's copy may be replaced by a newer one.
    after(DAY_S - 60)
    await two_turns(town)
    assert kept(town) == {unsent["id"], *strangers}
    await sql.execute("UPDATE attachments SET created_at = created_at + $1", DAY_S * 1_000)
    after(DAY_S + 60)
    await becomes(lambda: kept(town) == {unsent["id"]})
    removed = {line["key"] for line in logged if "no database entry" in line["event"]}
    assert removed == strangers


@OFTEN
async def test_the_folder_of_another_database_keeps_what_it_has(
    settings: Settings, after: Callable[[int], None], logged: list[dict[str, Any]]
) -> None:
    folder = Path(settings.files.folder)
    (folder / "kept").mkdir(parents=True)
    (folder / "database").write_text("another one")
    (folder / "kept" / "precious").write_bytes(b"somebody's")
    async with app.running(settings) as node, aiohttp.ClientSession() as http:
        town = Town(settings, f"http://127.0.0.1:{node.port}", http)
        town.node = node
        ada = await town.known("ada")
        own = await ada.upload(b"own")
        after(DAY_S * 2)
        await becomes(lambda: kept(town) == {"precious"})
        await two_turns(town)
        await known_are()
    assert own
    assert kept(town) == {"precious"}
    assert any("belongs to another database" in line["event"] for line in logged)


@pytest.mark.logs_errors
@pytest.mark.settings(files={"sweep_s": 0.1})
async def test_a_disk_that_does_not_let_go_is_asked_again(
    town: Town, ada: Person, bob: Person, logged: list[dict[str, Any]]
) -> None:
    talk = await ada.creates("direct", bob)
    said = await ada.sends_files(talk, (b"one", "one.txt"), (b"two", "two.txt"))
    one, two = said["attachments"]
    stuck = Path(town.settings.files.folder) / "kept" / one["id"]
    stuck.unlink()
    (stuck / "a-folder-is-not-unlinked").mkdir(parents=True)

    await ada.delete(f"messages/{said['id']}/")
    await becomes(lambda: any("could not be" in line["event"] for line in logged))
    assert await sql.fetch("SELECT id FROM attachments WHERE id = $1", one["id"])
    # What cannot be removed holds up nothing else.
    await becomes(lambda: kept(town) == {one["id"]})
    await known_are(one)
    (stuck / "a-folder-is-not-unlinked").rmdir()
    stuck.rmdir()
    stuck.write_bytes(b"one")
    await becomes(lambda: kept(town) == set())
    await known_are()
    assert two


async def test_files_outlive_the_server(settings: Settings, tmp_path: Path) -> None:
    said: dict[str, Any] = {}
    for _ in range(2):
        async with app.running(settings) as node, aiohttp.ClientSession() as http:
            town = Town(settings, f"http://127.0.0.1:{node.port}", http)
            ada, bob = await town.known("ada"), await town.known("bob")
            talk = await ada.creates("direct", bob)
            if not said:
                said = await ada.sends_files(talk, (pictures.png(), "a.png"))
            found = await all_messages(bob, talk["id"])
            assert [m["attachments"] for m in found] == [said["attachments"]]
            assert kept(town) == keys(*said["attachments"])
    # Nobody else on the machine reads them.
    assert (tmp_path / "files").stat().st_mode & 0o077 == 0


async def test_a_stop_in_the_middle_of_an_upload_leaves_nothing(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    async with AsyncExitStack() as later:
        async with app.running(settings) as node:
            http = await later.enter_async_context(aiohttp.ClientSession())
            town = Town(settings, f"http://127.0.0.1:{node.port}", http)
            form_ = await later.enter_async_context(by_hand(await town.known("ada")))
            await form_.says(part("file", b"x" * 200_000, "a.bin"))
            await becomes(lambda: bool(passing(town)))
        # The server is gone, its client is not.
        assert (kept(town), passing(town)) == (set(), set())


@pytest.mark.settings(files={"folder": "/dev/null/files"})
async def test_a_folder_of_files_that_cannot_be_written_stops_the_start(
    settings: Settings,
) -> None:
    with pytest.raises(SettingsError, match=r"^files\.folder: /dev/null/files cannot be written"):
        async with app.running(settings):
            pass
