"""`palabre key`: keys are made, listed and revoked beside the server that runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from server import database
from server.actions import keys
from server.config import Settings
from server.models import sql
from server.schemas.values import KEY_PREFIX
from tests.conftest import SECRET
from tests.people import Program, Refused, Town
from tests.process import Process, finished, serve

pytestmark = pytest.mark.timeout(90)  # each command is a process that starts from nothing


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    return {"PALABRE_AUTH__SECRET": SECRET, "PALABRE_DATABASE__URL": database_url}


@pytest.fixture
async def nodes(
    environment: dict[str, str], database_kind: str, tmp_path: Path
) -> AsyncIterator[list[Process]]:
    """Every server that one database can have today."""
    async with AsyncExitStack() as stack:
        talkative = {**environment, "PALABRE_LOG__LEVEL": "debug"}
        number = 1 if database_kind == "sqlite" else 2
        starting = [
            stack.enter_async_context(serve(cwd=tmp_path, environment=talkative))
            for _ in range(number)
        ]
        yield list(await asyncio.gather(*starting))


async def key(tmp_path: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run `palabre key` with these arguments; return its status and what it wrote."""
    return await finished("key", *arguments, cwd=tmp_path, environment=environment)


async def test_a_key_is_made_used_listed_and_revoked_while_servers_run(
    nodes: list[Process], environment: dict[str, str], tmp_path: Path, settings: Settings
) -> None:
    status, made, err = await key(tmp_path, environment, "create", "crm")
    assert (status, err) == (0, "")
    assert made.startswith(KEY_PREFIX)
    assert len(made.splitlines()) == 1

    async with aiohttp.ClientSession() as http:
        programs = [Program(Town(settings, node.url, http), "crm", made) for node in nodes]
        for program in programs:
            assert (await program.get("me/"))["id"] == "key:crm"

        _, listed, _ = await key(tmp_path, environment, "list")
        status, out, _ = await key(tmp_path, environment, "revoke", "crm")

        assert (status, out) == (0, "crm is revoked")
        for program in programs:
            with pytest.raises(Refused) as no:
                await program.get("me/")
            assert (no.value.status, no.value.code) == (401, "unauthorized")

    head, row = listed.splitlines()
    assert (head.split(), row.split()[0]) == (["NAME", "MADE", "LAST", "USED"], "crm")
    assert f"{datetime.now(UTC):%Y-%m-%d}" in row
    assert made not in listed


async def test_when_a_key_was_used_is_known_when_the_server_has_stopped(
    nodes: list[Process], environment: dict[str, str], tmp_path: Path, settings: Settings
) -> None:
    _, made, _ = await key(tmp_path, environment, "create", "crm")
    _, before, _ = await key(tmp_path, environment, "list")
    async with aiohttp.ClientSession() as http:
        await Program(Town(settings, nodes[0].url, http), "crm", made).get("me/")

    for node in nodes:
        await node.stops()

    _, after, _ = await key(tmp_path, environment, "list")
    assert before.splitlines()[1].endswith("never")
    assert after.splitlines()[1].endswith("UTC")


async def test_no_key_reaches_the_log_wherever_it_was_put(
    nodes: list[Process], environment: dict[str, str], tmp_path: Path, settings: Settings
) -> None:
    _, made, _ = await key(tmp_path, environment, "create", "crm")
    node = nodes[0]
    async with aiohttp.ClientSession() as http:
        crm = Program(Town(settings, node.url, http), "crm", made)
        await crm.get("me/")
        await crm.call("GET", f"/nowhere/{made}?key={made}")
        await crm.call("GET", f"users/?q={made}&key={made}")
        await crm.call("PATCH", f"conversations/{made}/", {made: made})
        await crm.call("GET", "me/", headers={"Authorization": f"Bearer {made}"})
        await crm.call("GET", "me/", headers={"Origin": made})
        # Not a key any more, and still nothing to write down.
        await key(tmp_path, environment, "revoke", "crm")
        await crm.call("GET", "me/")
        await crm.town.person("crm", token=made).call("GET", "me/")
    await node.stops()

    assert len(node.log) > 6
    assert made.removeprefix(KEY_PREFIX) not in node.text
    assert made.removeprefix(KEY_PREFIX).lower() not in node.text.lower()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "crm"), "palabre: NAME: there is a key called crm; revoke it first"),
        (("create", "a b"), "palabre: NAME: is 1 to 40 letters, digits, dots, dashes and "),
        (("revoke", f"{KEY_PREFIX}x"), "palabre: NAME: no key is called so; see palabre key list"),
    ],
)
async def test_what_cannot_be_done_is_said_in_one_sentence(
    environment: dict[str, str],
    tmp_path: Path,
    settings: Settings,
    arguments: tuple[str, str],
    sentence: str,
) -> None:
    async with database.opened(settings):
        await keys.create("crm", keys.new_key(), settings.keys.most)

    status, out, err = await key(tmp_path, environment, *arguments)

    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(sentence)


@pytest.mark.one_database
@pytest.mark.parametrize("url", ["sqlite://nothing.db", "sqlite://:memory:"])
async def test_where_there_is_no_database_none_is_made(
    environment: dict[str, str], tmp_path: Path, url: str
) -> None:
    given = {**environment, "PALABRE_DATABASE__URL": url}

    status, _, err = await key(tmp_path, given, "create", "crm")

    assert (status, err) == (
        2,
        f"palabre: database.url: {url} is no database yet: palabre migrate",
    )
    assert not (tmp_path / "nothing.db").exists()


async def test_tables_of_another_version_are_named(
    environment: dict[str, str], tmp_path: Path, database_url: str, settings: Settings
) -> None:
    async with database.opened(settings):
        await sql.execute("DROP TABLE server_keys")

    status, _, err = await key(tmp_path, environment, "list")

    assert status == 2
    assert err == (
        "palabre: database.url: the tables are those of another version: palabre migrate"
    )
