"""`palabre token` and `palabre migrate`."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from server import __main__ as command_line
from server.config import Settings
from server.ids import new_id
from tests.conftest import SECRET
from tests.people import Person, Refused, Town
from tests.process import finished, serve

if TYPE_CHECKING:
    from tests.services import PostgresAt

GIVEN = {"PALABRE_AUTH__SECRET": SECRET}


@pytest.fixture
async def fresh_url(
    request: pytest.FixtureRequest, database_kind: str, tmp_path: Path
) -> AsyncIterator[str]:
    """A database without any table."""
    if database_kind == "sqlite":
        yield f"sqlite://{tmp_path}/fresh.db"
        return
    server: PostgresAt = request.getfixturevalue("postgres")
    name = f"fresh_{new_id().replace('-', '')}"
    yield await server.create_database(name)
    await server.drop_database(name)


async def issued(tmp_path: Path, *arguments: str) -> str:
    status, out, err = await finished("token", *arguments, cwd=tmp_path, environment=GIVEN)
    assert (status, err) == (0, "")
    return out


@pytest.mark.one_database
async def test_a_token_says_who_its_bearer_is(town: Town, tmp_path: Path) -> None:
    token = await issued(tmp_path, "ada", "--name", "Ada Lovelace", "--role", "agent")
    ada = Person(town, "ada", token=token)
    device = await ada.connects()
    assert device.ready["user"]["name"] == "Ada Lovelace"
    assert (await ada.get("me/"))["role"] == "agent"
    days = _days(device.ready["server_time"], device.ready["token_expires_at"])
    assert 29.9 < days <= 30


@pytest.mark.one_database
async def test_a_token_lives_as_long_as_asked(town: Town, tmp_path: Path) -> None:
    token = await issued(tmp_path, "ada", "--ttl", "12h")
    device = await Person(town, "ada", token=token).connects()
    days = _days(device.ready["server_time"], device.ready["token_expires_at"])
    assert 0.49 < days <= 0.5


def _days(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)) / timedelta(days=1)


@pytest.mark.one_database
async def test_a_token_of_the_demo_is_taken_by_the_demo(
    tmp_path: Path, database_url: str, settings: Settings
) -> None:
    environment = {"PALABRE_DATABASE__URL": database_url}
    async with (
        serve("--demo", cwd=tmp_path, environment=environment) as process,
        aiohttp.ClientSession() as http,
    ):
        arguments = ("token", "visitor", "--demo")
        status, token, _ = await finished(*arguments, cwd=tmp_path, environment=environment)
        assert status == 0
        visitor = Person(Town(settings, process.url, http), "visitor", token=token)
        assert (await visitor.get("me/"))["id"] == "visitor"


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """Ask for a token that is not issued, and return the sentence that says why."""

    def ask(*arguments: str, **environment: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["palabre", "token", *arguments])
        for variable, text in environment.items():
            monkeypatch.setenv(variable, text)
        with pytest.raises(SystemExit) as stopped:
            command_line.main()
        out, err = capsys.readouterr()
        assert (stopped.value.code, out) == (2, "")
        assert err.endswith("\n")
        return err.removesuffix("\n")

    return ask


@pytest.mark.one_database
@pytest.mark.parametrize("ttl", ["5y", "0d", "-1d", "99999d", "1", ""])
def test_a_life_that_is_none_is_refused(ttl: str, refused: Callable[..., str]) -> None:
    sentence = refused("ada", "--ttl", ttl, **GIVEN)
    assert sentence.startswith("palabre: --ttl: ")
    assert "\n" not in sentence


@pytest.mark.one_database
def test_without_a_secret_no_token_is_issued(refused: Callable[..., str]) -> None:
    assert refused("ada").startswith("palabre: auth.secret: is missing")


async def test_migrate_makes_the_tables_that_serve_was_told_to_find(
    fresh_url: str, tmp_path: Path, settings: Settings
) -> None:
    database = {"PALABRE_DATABASE__URL": fresh_url, "PALABRE_DATABASE__MIGRATE_ON_START": "false"}

    status, _, err = await finished("serve", cwd=tmp_path, environment={**GIVEN, **database})
    assert status == 2
    assert err.splitlines()[-1].startswith("palabre: database.migrate_on_start is off")

    # Tables need no secret, and making them twice changes nothing.
    for _ in range(2):
        status, _, err = await finished("migrate", cwd=tmp_path, environment=database)
        assert status == 0
        assert "the database is up to date" in err

    async with (
        serve(cwd=tmp_path, environment={**GIVEN, **database}) as process,
        aiohttp.ClientSession() as http,
    ):
        town = Town(settings, process.url, http)
        assert (await town.person("ada").get("me/"))["id"] == "ada"


async def test_serve_makes_the_tables_itself_unless_told_otherwise(
    fresh_url: str, tmp_path: Path, settings: Settings
) -> None:
    given = {**GIVEN, "PALABRE_DATABASE__URL": fresh_url}
    async with (
        serve(cwd=tmp_path, environment=given) as process,
        aiohttp.ClientSession() as http,
    ):
        ada = Town(settings, process.url, http).person("ada")
        talk = await ada.creates("direct", Person(ada.town, "bob"))
        with pytest.raises(Refused):
            await ada.creates("direct", ada)
        assert (await ada.says(talk, "Hello"))["seq"] == 1
