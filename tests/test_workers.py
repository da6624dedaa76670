"""Several processes share the port of one machine; these are about rows, and bring a PostgreSQL."""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server import config
from server.config import RedisSettings, Settings
from server.errors import SettingsError
from tests.conftest import SECRET
from tests.eventually import becomes
from tests.people import Device, Town
from tests.process import Process, finished, python
from tests.services import LOOPBACK, free_port

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("two_dialects"),
]

# As `palabre serve --workers 2`, but without Redis: what they say arrives by the database.
TWO = """
from server import config, logs, workers
settings = config.load(None, {})
logs.configure("info", "json")
workers.serve(settings, ["serve"], 2)
"""


@pytest.fixture(scope="session")
def database_kind() -> str:
    return "postgres"


class Machine:
    """A parent with two workers."""

    def __init__(self, process: Process, town: Town, metrics: int) -> None:
        self.process = process
        self.town = town
        self._metrics = metrics

    async def has_started(self, count: int) -> None:
        """Wait until so many workers have begun to serve since the beginning."""
        await self.process.until(lambda: len(self._said("serving")) >= count)

    def _said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.process.log if line["event"] == event]

    @property
    def workers(self) -> dict[int, int]:
        """Return the process of each worker that was started last."""
        return {line["worker"]: line["process"] for line in self._said("a worker started")}

    @property
    def waits(self) -> list[float]:
        return [line["again_in_s"] for line in self._said("a worker ended")]

    async def connections(self, worker: int) -> int:
        """Return how many are connected to a worker, as its own metrics say."""
        url = f"http://{LOOPBACK}:{self._metrics + worker - 1}/metrics"
        async with self.town.http.get(url) as response:
            families = text_string_to_metric_families(await response.text())
        [found] = [one for one in families if one.name == "palabre_connections"]
        return int(sum(sample.value for sample in found.samples))


@asynccontextmanager
async def two_workers(settings: Settings, folder: Path) -> AsyncIterator[Machine]:
    port, metrics = free_port(), free_pair()
    environment = {
        "PALABRE_AUTH__SECRET": SECRET,
        "PALABRE_DATABASE__URL": settings.database.url,
        "PALABRE_DRAIN__SPREAD_S": "0.5",
        "PALABRE_HTTP__PORT": str(port),
        "PALABRE_METRICS__PORT": str(metrics),
    }
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        python("-c", TWO, cwd=folder, environment=environment) as process,
    ):
        town = Town(settings, f"http://{LOOPBACK}:{port}", http)
        machine = Machine(process, town, metrics)
        try:
            await machine.has_started(2)
            yield machine
            await town.close()
        finally:
            for one in machine.workers.values():
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)


def free_pair() -> int:
    """Return a free port after which comes another one."""
    while True:
        port = free_port()
        with suppress(OSError), socket.create_server((LOOPBACK, port + 1)):
            return port


async def people_on_both(machine: Machine) -> list[Device]:
    """Connect until both workers have somebody."""
    ada = machine.town.person("ada")
    devices: list[Device] = []
    while not (await machine.connections(1) and await machine.connections(2)):
        assert len(devices) < 19
        devices.append(await ada.connects())
    return devices


async def test_two_workers_share_the_port_and_what_is_said_on_one_is_heard_on_the_other(
    settings: Settings, tmp_path: Path
) -> None:
    async with two_workers(settings, tmp_path) as machine:
        devices = await people_on_both(machine)
        ada, bob = machine.town.person("ada"), machine.town.person("bob")
        talk = await ada.creates("direct", bob)
        said = await devices[0].says(talk, "Hello from one of them")
        for device in devices:
            await device._until(lambda device=device: named(device, "message:created"))
            assert named(device, "message:created")[0]["message"]["id"] == said["id"]
            device.is_checked = False


def named(device: Device, name: str) -> list[dict[str, Any]]:
    """Return what a device has heard by this name."""
    return [data for heard, data in device.frames if heard == name]


async def test_a_worker_that_dies_is_replaced_after_longer_and_longer_pauses(
    settings: Settings, tmp_path: Path
) -> None:
    async with two_workers(settings, tmp_path) as machine:
        [other] = [await machine.town.person("ada").connects()]
        victim = 1 if await machine.connections(2) else 2
        for count in (1, 2):
            os.kill(machine.workers[victim], signal.SIGKILL)
            await machine.has_started(2 + count)
        assert machine.waits == [0.5, 1.0]
        assert (await other.answer("nobody:answers"))["error"]["code"] == "unknown_event"
        assert await people_on_both(machine)


async def test_a_stop_lets_everybody_go_on_all_workers(settings: Settings, tmp_path: Path) -> None:
    async with two_workers(settings, tmp_path) as machine:
        devices = await people_on_both(machine)
        began = time.monotonic()
        # Some supervisors tell all processes, and the parent tells its workers again.
        for one in machine.workers.values():
            os.kill(one, signal.SIGTERM)
        machine.process.send(signal.SIGTERM)
        for device in devices:
            assert await device.hears("server:draining")
        assert await machine.process.ended() == 0
        assert time.monotonic() - began < 15
        assert "Traceback" not in machine.process.text
        await are_gone(machine)


async def test_a_second_signal_ends_all_of_them_at_once(settings: Settings, tmp_path: Path) -> None:
    async with two_workers(settings, tmp_path) as machine:
        [device] = [await machine.town.person("ada").connects()]
        machine.process.send(signal.SIGTERM)
        await device.hears("server:draining")
        machine.process.send(signal.SIGTERM)
        assert await machine.process.ended() == 0
        await are_gone(machine)


async def test_no_worker_outlives_a_parent_that_is_killed(
    settings: Settings, tmp_path: Path
) -> None:
    async with two_workers(settings, tmp_path) as machine:
        devices = await people_on_both(machine)
        machine.process.send(signal.SIGKILL)
        # It is a stop like any other.
        for device in devices:
            assert await device.hears("server:draining")
        await are_gone(machine)


async def are_gone(machine: Machine) -> None:
    await becomes(lambda: not any(map(is_alive, machine.workers.values())))


def is_alive(process: int) -> bool:
    """Return whether a process runs; one that ended and that nobody asked about does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# What stops the start


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--demo"], {}, "--workers: the demo is one process"),
        ([], {"PALABRE_DATABASE__URL": "sqlite://one.db"}, "database.url: several workers need"),
        ([], {"PALABRE_DATABASE__URL": "postgresql://h/d"}, "redis.url: several workers need"),
    ],
)
async def test_what_several_workers_need_is_said_in_one_sentence(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    status, _, err = await finished(
        *("serve", "--workers", "2", *arguments),
        cwd=tmp_path,
        environment={"PALABRE_AUTH__SECRET": SECRET, **environment},
    )
    assert (status, err.count("\n")) == (2, 0)
    assert err.startswith(f"palabre: {sentence}")


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"http": {"port": 0}}, "http.port: several workers share one port"),
        ({"realtime": {"transports": ["polling"]}}, "realtime.transports: several workers share"),
    ],
)
def test_what_several_workers_cannot_share_is_said(section: dict[str, Any], sentence: str) -> None:
    given = {"database": {"url": "postgresql://h/d"}, **section}
    redis = RedisSettings.model_construct(url="redis://h")
    settings = Settings.model_validate(given).model_copy(update={"redis": redis})
    with pytest.raises(SettingsError, match=sentence):
        config.require_shareable(settings, demo=False)


async def test_a_port_at_which_somebody_listens_is_not_shared_with_them(
    settings: Settings, tmp_path: Path
) -> None:
    async with two_workers(settings, tmp_path) as machine:
        environment = {
            "PALABRE_AUTH__SECRET": SECRET,
            "PALABRE_DATABASE__URL": settings.database.url,
            "PALABRE_HTTP__PORT": machine.town.url.rpartition(":")[2],
        }
        async with python("-c", TWO, cwd=tmp_path, environment=environment) as second:
            assert await second.ended() == 1
            assert "http.port" in second.text
