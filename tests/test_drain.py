"""A server is told to stop: everybody is let go in time, and nothing that was accepted is lost."""

import asyncio
import json
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from server import app
from server.config import Settings
from server.ids import new_id
from server.realtime import drain
from tests.balancer import balanced
from tests.conftest import SECRET, Starts
from tests.doors import PlainDevice, fields
from tests.eventually import becomes
from tests.people import WITHIN_S, Device, Person, Town
from tests.process import Process, python, serve
from tests.programs import last_report, program, reported
from tests.proxy import proxied
from tests.refusals import refused
from tests.services import PostgresAt, free_port
from tests.test_session_polling import Poller
from tests.uploading import END, by_hand, part
from tests.wire import DEAF_BYTES, Wires

SPREAD_S = 1.0
FINISH_S = 10.0
"""How long a stop waits for what is slow; all else is over long before."""

# A stop may take 15 seconds, and others share the machine.
pytestmark = pytest.mark.timeout(60)


async def status_of(town: Town, path: str) -> tuple[int, Any]:
    async with town.http.get(town.url + path) as response:
        return response.status, json.loads(await response.read())


async def told(device: Device) -> int:
    """Return when a device is asked to come back, in milliseconds."""
    draining = await device.hears("server:draining")
    reconnect_in_ms: int = draining["reconnect_in_ms"]
    return reconnect_in_ms


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody be sent away before a test has said what it wants to say."""
    monkeypatch.setattr(drain, "GRACE_S", 2.5)


# What people hear


@pytest.mark.one_database
@pytest.mark.usefixtures("patient")
@pytest.mark.settings(
    drain={"spread_s": SPREAD_S, "finish_s": FINISH_S},
    realtime={"transports": ["websocket", "polling"]},
)
async def test_everybody_is_told_another_moment_and_may_stay_until_then(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    devices = [await ada.connects() for _ in range(18)]
    plain = PlainDevice(ada, talk["id"])
    await plain.open(fields(ada))
    devices.append(plain)
    poller = Poller(town)
    await poller.open(bob.token)
    await poller.hears(2)

    loop = asyncio.get_running_loop()
    began = loop.time()
    end = asyncio.create_task(town.node.drain())
    moments = [await told(device) for device in devices]
    polled = (await poller.hears(1))[0]
    await devices[0].says(talk, "One for the road")
    left = await gone_at(devices)
    await end

    assert len(set(moments)) > 15, "they would all come back at once"
    assert min(moments) >= 0
    assert max(moments) < SPREAD_S * 1_000
    assert polled[0] == "server:draining"
    for moment, at in zip(moments, left, strict=True):
        assert at - began >= moment / 1_000, "it was sent away before its moment"
    assert loop.time() - began < SPREAD_S + FINISH_S
    assert plain.code == 1001


async def gone_at(devices: list[Device]) -> list[float]:
    """Return when each device was sent away."""

    async def gone(device: Device) -> float:
        await device.closed.wait()
        device.is_checked = False
        return asyncio.get_running_loop().time()

    return await asyncio.gather(*map(gone, devices))


@pytest.mark.one_database
@pytest.mark.usefixtures("patient")
@pytest.mark.settings(drain={"spread_s": 0.5})
async def test_a_node_that_stops_takes_nobody_in_and_says_so_to_the_balancer(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    device = await ada.connects()
    assert await status_of(town, "/readyz") == (
        200,
        {"status": "ok", "database": True, "draining": False},
    )
    end = asyncio.create_task(town.node.drain())
    await told(device)

    assert await status_of(town, "/readyz") == (
        503,
        {"status": "draining", "database": True, "draining": True},
    )
    assert (await status_of(town, "/healthz"))[0] == 200
    for path in (f"/ws/messaging/chat/{talk['id']}/", "/socket.io/?EIO=4&transport=websocket"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as no:
            await town.http.ws_connect(town.url + path)
        assert no.value.status == 503
    # Who speaks HTTP is served as long as somebody sends them here.
    assert (await ada.says(talk, "Still here"))["content"] == "Still here"
    assert await device.hears("message:created")

    await gone_at([device])
    await end
    with pytest.raises(aiohttp.ClientConnectorError):
        await town.http.get(town.url + "/healthz")


@pytest.mark.one_database
@pytest.mark.settings(drain={"notice_s": 0.5, "spread_s": 0, "finish_s": FINISH_S})
async def test_a_node_without_anybody_listens_on_until_its_balancer_had_time_to_look(
    town: Town,
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    end = asyncio.create_task(town.node.drain())
    await asyncio.sleep(0)  # it begins

    assert (await status_of(town, "/readyz"))[0] == 503
    await end
    assert 0.5 <= loop.time() - began < FINISH_S


# What was accepted


def stops(process: Process) -> Callable[[], Any]:
    """Tell a server to stop; return what waits for its end and gives status and seconds."""
    began = time.monotonic()
    process.send(signal.SIGTERM)

    async def ended() -> tuple[int, float]:
        status = await process.ended()
        assert "Traceback" not in process.text
        return status, time.monotonic() - began

    return ended


@asynccontextmanager
async def slow(url: str, conversation_id: str) -> AsyncIterator[None]:
    """Let nobody write into a conversation for a while."""
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite://"), isolation_level=None)
        file.execute("BEGIN IMMEDIATE")
        yield
        file.close()
        return
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        row = "SELECT 1 FROM conversations WHERE id = $1 FOR UPDATE"
        await connection.fetch(row, conversation_id)
        yield
    await connection.close()


async def test_a_send_that_is_slow_is_answered_before_the_goodbye(
    starts: Starts, settings: Settings
) -> None:
    process, town = await starts(
        PALABRE_DRAIN__SPREAD_S="0.1", PALABRE_DRAIN__FINISH_S=str(FINISH_S)
    )
    ada, bob = await town.known("ada"), await town.known("bob")
    talk = await ada.creates("direct", bob)
    device, his = await ada.connects(), await bob.connects()
    async with slow(settings.database.url, talk["id"]):
        sent = asyncio.create_task(device.says(talk, "Is it stored?"))
        await becomes(lambda: bool(device._answers))
        ended = stops(process)
        await told(device)
        # Whoever waits for nothing is sent away.
        await his.closed.wait()
        assert not device.closed.is_set()
    message = await sent
    await device.closed.wait()
    status, seconds = await ended()

    assert message["content"] == "Is it stored?"
    assert (status, seconds < FINISH_S) == (0, True)
    _, town = await starts()
    [last] = (await town.person("bob").get(f"conversations/{talk['id']}/messages/"))["results"]
    assert last["id"] == message["id"]


async def test_an_upload_that_is_under_way_is_finished(starts: Starts) -> None:
    process, town = await starts(PALABRE_DRAIN__SPREAD_S="0")
    ada, bob = town.person("ada"), town.person("bob")
    talk = await ada.creates("direct", bob)
    async with by_hand(ada, f"conversations/{talk['id']}/send/") as form:
        await form.says(part("files", b"half of a file", "a.txt"))
        while not await is_receiving(town):
            pass
        ended = stops(process)
        await process.until(lambda: process.logged("stopping"))
        # The server listens no more, and goes on reading.
        await refuses_connections(town)
        await form.says(b", and the other half" + END)
        status, message = await form.ends()
    assert (status, message["attachments"][0]["size"]) == (201, 34)
    assert (await ended())[0] == 0


async def is_receiving(town: Town) -> bool:
    """Return whether the server has begun to take an upload."""
    async with town.http.get(town.url + "/metrics") as response:
        return "palabre_uploads 1.0" in await response.text()


async def refuses_connections(town: Town) -> None:
    at = urlsplit(town.url)
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(at.hostname, at.port)
            except (ConnectionRefusedError, ConnectionResetError):
                # Reset: it was in line when the port was closed.
                return
            writer.close()


@pytest.mark.one_database
async def test_the_dead_the_deaf_and_who_sends_half_a_file_hold_no_stop_up_for_long(
    starts: Starts,
) -> None:
    process, town = await starts(
        PALABRE_DRAIN__SPREAD_S="0.5", PALABRE_DRAIN__FINISH_S="1", PALABRE_LIMITS__EVENT_RATE="0"
    )
    ada = town.person("ada")
    dead = await ada.connects()
    assert dead._reader is not None
    dead._reader.cancel()
    with Wires(town.url) as wires:
        deaf = await wires.inside(ada.token, receive_bytes=DEAF_BYTES)
        for _ in range(200):
            deaf.says('421["message:list",{"conversation_id":"' + "x" * 500 + '"}]')
        async with by_hand(ada) as form:
            await form.says(part("file", b"half of a file", "a.txt"))
            status, seconds = await stops(process)()
    assert (status, seconds < FINISH_S) == (0, True)


@pytest.mark.one_database
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_server_at_once(
    starts: Starts, second: signal.Signals
) -> None:
    process, town = await starts(PALABRE_DRAIN__SPREAD_S=str(FINISH_S), PALABRE_DRAIN__FINISH_S="1")
    device = await town.person("ada").connects()
    process.send(signal.SIGTERM)
    await told(device)
    began = time.monotonic()
    process.send(second)
    assert await process.ended() == -second
    assert time.monotonic() - began < FINISH_S / 2
    assert "Traceback" not in process.text


# As `palabre`, but it is gone sooner, whatever hangs.
IMPATIENT = """
from server import app
from server.__main__ import main
app._GONE_S = 7.0
main()
"""


@pytest.mark.one_database
async def test_a_database_that_hangs_holds_no_stop_up(
    tmp_path: Path, settings: Settings, postgres: PostgresAt
) -> None:
    at = urlsplit(await postgres.create_database(f"hangs_{new_id()}"))
    async with proxied(at.port or 0) as network, aiohttp.ClientSession() as http:
        through = at._replace(netloc=at.netloc.replace(f":{at.port}", f":{network.port}"))
        environment = {
            "PALABRE_AUTH__SECRET": SECRET,
            "PALABRE_DATABASE__URL": through.geturl(),
            "PALABRE_HTTP__PORT": "0",
            "PALABRE_DRAIN__SPREAD_S": "0",
        }
        arguments = ("-c", IMPATIENT, "serve")
        async with python(*arguments, cwd=tmp_path, environment=environment) as process:
            town = Town(settings, (await process.serving()).url, http)
            ada, bob = town.person("ada"), town.person("bob")
            talk = await ada.creates("direct", bob)
            device = await ada.connects()
            network.freeze()
            sent = asyncio.create_task(device.says(talk, "Nobody knows"))
            await becomes(lambda: bool(device._answers))
            _, seconds = await stops(process)()
            assert seconds < 15
            assert app._GONE_S < 15
            assert (await refused(sent)).code == "unavailable"


# A rolling restart


@pytest.mark.timeout(60)
async def test_a_rolling_restart_fails_no_send_and_shows_nobody_an_error(
    tmp_path: Path, settings: Settings, database_kind: str
) -> None:
    ports = [free_port() for _ in range(1 if database_kind == "sqlite" else 2)]
    given = {
        "PALABRE_AUTH__SECRET": SECRET,
        "PALABRE_DATABASE__URL": settings.database.url,
        "PALABRE_DRAIN__SPREAD_S": "1",
        "PALABRE_LIMITS__SEND_RATE": "0",
        "PALABRE_LIMITS__EVENT_RATE": "0",
    }

    def node(port: int) -> Any:
        return serve(cwd=tmp_path, environment={**given, "PALABRE_HTTP__PORT": str(port)})

    async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        nodes = [await stack.enter_async_context(node(port)) for port in ports]
        balancer = await stack.enter_async_context(balanced(*ports))
        town = Town(settings, balancer.url, http)
        tokens = [town.person(name).token for name in ("ada", "bob")]
        # Where there is only one, nobody is there until it has started again.
        within_ms = "20000" if len(ports) == 1 else "5000"
        running = program("rolling.mjs", town.url, *tokens, within_ms)
        process = await stack.enter_async_context(running)
        await reported(process)
        for old, port in zip(nodes, ports, strict=True):
            assert await old.stops() == 0
            await stack.enter_async_context(node(port))
        process.send_signal(signal.SIGUSR2)
        report = await last_report(process)

    assert report["said"] > 50
