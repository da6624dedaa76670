"""The database as a whole: made once, owned by one, safe against whoever gives up waiting."""

import asyncio
import contextlib
import random
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from server import app, database, journal, migrations
from server.config import Settings
from server.errors import SettingsError
from server.ids import new_id
from server.models import sessions, sql
from server.permissions import Caller
from tests.conftest import SECRET
from tests.eventually import becomes, is_gone
from tests.people import WITHIN_S, Device, Person, Town
from tests.proxy import proxied
from tests.services import SETTINGS, Postgres


def at(url: str, **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "http": {"port": 0},
            "auth": {"secret": SECRET},
            "database": {"url": url, "require_durable": False, **more},
        }
    )


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what servers make beside themselves out of the folder that the tests run in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def empty_url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> str:
    """A database that nobody migrated yet."""
    if database_kind == "sqlite":
        return f"sqlite://{tmp_path}/deep/folder/empty.db"
    server = request.getfixturevalue("postgres")
    name = f"empty_{new_id()}"
    url: str = await server.create_database(name)
    return url


async def schema() -> list[tuple[str, ...]]:
    """Return every table, column and index there is."""
    if sql.dialect() == "sqlite":
        rows = await sql.fetch("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
        return [(row["type"], row["name"], str(row["sql"])) for row in rows]
    columns = await sql.fetch(
        "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
    )
    indexes = await sql.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    )
    return [tuple(map(str, row.values())) for row in (*columns, *indexes)]


async def test_the_tables_are_made_once_and_stay_as_they_are(empty_url: str) -> None:
    async with database.opened(at(empty_url)):
        await database.migrate()
        first, epoch = await schema(), await database.epoch()
    async with database.opened(at(empty_url)):
        await database.migrate()

        assert await schema() == first
        assert await database.epoch() == epoch
    assert len(first) > 10


MIGRATES = """
import asyncio, sys
from server import database
from server.config import Settings

async def main():
    url, secret = sys.argv[1:]
    settings = Settings.model_validate({"auth": {"secret": secret}, "database": {"url": url}})
    async with database.opened(settings):
        await database.migrate()
        print(await database.epoch())

asyncio.run(main())
"""


async def test_several_processes_may_migrate_one_database_at_once(
    database_kind: str, empty_url: str
) -> None:
    """On PostgreSQL all succeed; on SQLite there is one owner, and the others are told so."""
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", MIGRATES, empty_url, SECRET),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))

    done = [
        out.decode()
        for (out, _), process in zip(outputs, processes, strict=True)
        if not process.returncode
    ]
    failed = [error.decode() for out, error in outputs if not out]
    assert len(set(done)) == 1
    if database_kind == "postgres":
        assert len(done) == 3
    assert all("in use by another Palabre" in error for error in failed)


async def test_without_tables_and_without_migrating_the_start_stops_with_a_sentence(
    empty_url: str,
) -> None:
    with pytest.raises(SettingsError, match=r"migrate_on_start is off .* palabre migrate"):
        async with app.running(at(empty_url, migrate_on_start=False)):
            pass


async def test_without_the_newest_tables_and_without_migrating_the_start_names_what_is_missing(
    empty_url: str,
) -> None:
    newest = max(path.stem for path in Path(migrations.__file__).parent.glob("0*.py"))
    async with database.opened(at(empty_url)):
        await database.migrate()
        await sql.execute("DELETE FROM tortoise_migrations WHERE name = $1", newest)

    with pytest.raises(SettingsError, match=rf"lacks {newest}: palabre migrate") as no:
        async with app.running(at(empty_url, migrate_on_start=False)):
            pass

    assert "\n" not in str(no.value)
    async with app.running(at(empty_url)) as node:
        assert node.port


async def test_what_a_newer_version_added_stops_no_start(empty_url: str) -> None:
    async with database.opened(at(empty_url)):
        await database.migrate()
        await sql.execute(
            "INSERT INTO tortoise_migrations (app, name, applied_at) "
            "SELECT app, '9999_later', applied_at FROM tortoise_migrations LIMIT 1"
        )

    async with app.running(at(empty_url, migrate_on_start=False)) as node:
        assert node.port


@pytest.mark.one_database
@pytest.mark.timeout(60)
@pytest.mark.usefixtures("two_dialects")
async def test_a_postgres_that_may_lose_what_it_confirmed_stops_the_start() -> None:
    safe = {**SETTINGS, "fsync": "on", "full_page_writes": "on"}
    with Postgres(safe) as postgres:
        async with app.running(at(postgres.url, require_durable=True)) as node:
            assert node.port
        for state in ("off", "on"):
            connection = await asyncpg.connect(postgres.url)
            await connection.execute(f"ALTER DATABASE postgres SET synchronous_commit = {state}")
            await connection.close()
            if state == "off":
                await refuses_to_start(postgres.url, "synchronous_commit")
        async with app.running(at(postgres.url, require_durable=True)) as node:
            assert node.port
        for name in ("fsync", "full_page_writes"):
            postgres.stop()
            postgres.settings = {**safe, name: "off"}
            postgres.start()
            await refuses_to_start(postgres.url, name)


async def refuses_to_start(url: str, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"database\.url: PostgreSQL has {name} off") as no:
        async with app.running(at(url, require_durable=True)):
            pass
    assert "database.require_durable" in str(no.value)
    assert "\n" not in str(no.value)


async def test_with_tables_it_starts_without_migrating(database_url: str) -> None:
    async with app.running(at(database_url, migrate_on_start=False)) as node:
        assert node.port


async def test_a_second_process_on_one_sqlite_file_is_refused(
    tmp_path: Path, settings: Settings
) -> None:
    url = f"sqlite://{tmp_path}/one.db"
    async with app.running(at(url)):
        with pytest.raises(SettingsError, match="in use by another Palabre"):
            async with app.running(at(url)):
                pass
    async with app.running(at(url)) as node:
        assert node.port


async def pragma(name: str) -> Any:
    (row,) = await sql.fetch(f"PRAGMA {name}")
    return row[name]


async def test_sqlite_flushes_what_it_acknowledges(tmp_path: Path) -> None:
    names = ("synchronous", "journal_mode", "foreign_keys", "query_only")

    @journal.transaction
    async def writing() -> dict[str, Any]:
        return {name: await pragma(name) for name in names}

    @journal.snapshot
    async def reading() -> dict[str, Any]:
        return {name: await pragma(name) for name in names}

    async with database.opened(at(f"sqlite://{tmp_path}/one.db")):
        # Batches of sends use the connection that transactions use.
        assert await writing() == {
            "synchronous": 2,
            "journal_mode": "wal",
            "foreign_keys": 1,
            "query_only": 0,
        }
        assert (await reading())["query_only"] == 1


async def test_a_database_that_is_not_there_stops_the_start_with_a_sentence(
    tmp_path: Path, database_kind: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    url = (
        f"sqlite://{tmp_path}/file/one.db"
        if database_kind == "sqlite"
        else "postgresql://nobody:secret@127.0.0.1:1/none"
    )
    with pytest.raises(SettingsError, match=r"database\.url") as refused:
        async with app.running(at(url)):
            pass

    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


# Giving up


@pytest.mark.timeout(120)
@pytest.mark.settings(limits={"unread_max": 5_000})
async def test_a_thousand_requests_that_are_given_up_wedge_nothing(
    town: Town, ada: Person, bob: Person
) -> None:
    """Whoever waits may stop waiting at any moment: inside the server, tasks are cancelled."""
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    dice = random.Random(7)  # noqa: S311
    dispatcher = town.node.dispatcher
    send = dispatcher.find("message:send")

    async def one(number: int) -> None:
        fields = {
            "conversation_id": talk["id"],
            "client_msg_id": f"n{number}",
            "content": str(number),
        }
        await dispatcher.ask(send, Caller("ada", None), fields)

    for start in range(0, 1_000, 50):
        tasks = [asyncio.create_task(one(start + n)) for n in range(50)]
        for task in tasks:
            asyncio.get_running_loop().call_later(dice.random() * 0.05, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
    await dispatcher.settle()

    last = await asyncio.wait_for(ada.says(talk, "Still alive"), WITHIN_S)
    heard = await his.heard()
    numbers = [data["message"]["seq"] for _, data in heard]
    assert numbers == list(range(1, last["seq"] + 1))
    assert last["seq"] == 1_001


async def test_clients_that_vanish_in_the_middle_of_a_request_wedge_nothing(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = await bob.connects()
    dice = random.Random(11)  # noqa: S311

    async def vanishes(number: int) -> None:
        device = Device(ada)
        await device.open({"token": ada.token})
        fields = {
            "conversation_id": talk["id"],
            "client_msg_id": f"v{number}",
            "content": str(number),
        }
        request = asyncio.create_task(device.answer("message:send", fields))
        await asyncio.sleep(dice.random() * 0.01)
        await device.cut()
        request.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await request

    for _ in range(5):
        await asyncio.gather(*(vanishes(dice.randrange(10**9)) for _ in range(10)))
    await town.node.dispatcher.settle()

    last = await asyncio.wait_for(ada.says(talk, "Still alive"), WITHIN_S)
    heard = await his.heard()
    assert [data["message"]["seq"] for _, data in heard] == list(range(1, last["seq"] + 1))
    await is_gone(town, "ada")


async def test_a_transaction_that_is_cancelled_is_finished_all_the_same(
    ada: Person,
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @journal.transaction
    async def writes() -> None:
        await sql.execute("INSERT INTO installation (key, value) VALUES ('a', '1')")
        begun.set()
        await go.wait()

    task = asyncio.create_task(writes())
    await begun.wait()
    task.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ada.get("me/")  # on SQLite the next in line, on PostgreSQL soon after

    async def stored() -> int:
        return len(await sql.fetch("SELECT 1 AS one FROM installation WHERE key = 'a'"))

    async with asyncio.timeout(WITHIN_S):
        while not await stored():
            pass


async def test_who_reads_again_and_again_keeps_nobody_waiting(database_url: str) -> None:
    reads = 0

    async def again_and_again() -> None:
        nonlocal reads
        while True:
            await sql.fetch("SELECT 1 AS one")
            reads += 1

    async with database.opened(at(database_url)):
        others = [asyncio.create_task(again_and_again()) for _ in range(8)]
        await becomes(lambda: reads > 100)
        before = reads
        await asyncio.wait_for(sql.fetch("SELECT 1 AS one"), WITHIN_S)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    assert reads - before < 4 * len(others)


@pytest.mark.many_nodes
async def test_a_connection_that_has_fallen_silent_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setattr(sessions, "_COMMAND_S", 0.5)
    port = urlsplit(database_url).port
    assert port is not None
    async with proxied(port) as network:
        url = database_url.replace(f":{port}/", f":{network.port}/")
        async with database.opened(at(url)):
            await sql.fetch("SELECT 1 AS one")
            network.forget()
            with pytest.raises(TimeoutError):
                await sql.fetch("SELECT 1 AS one")

            assert await sql.fetch("SELECT 1 AS one") == [{"one": 1}]
