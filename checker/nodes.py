"""Nodes: real servers as processes, each behind networks of its own, ended and started again."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from tests.proxy import Proxy
from tests.services import LOOPBACK, free_port

SECRET = "a secret of the checker, long enough"  # noqa: S105 - it guards nothing
NAIVE = "naive"

_LOOK_S = 0.05
_AGAIN_S = 0.5
_START_S = 20.0
_ROOT = Path(__file__).parent.parent
_SOURCE = Path(os.environ.get("CHECKER_SOURCE", _ROOT))
"""The checkout whose server is put to the test: this one, or another."""

# Clients here talk faster than people; what a rate refuses would be no evidence.
_SETTINGS = {
    "PALABRE_AUTH__SECRET": SECRET,
    "PALABRE_LIMITS__SEND_RATE": "0",
    "PALABRE_LIMITS__EVENT_RATE": "0",
    "PALABRE_HTTP__HOST": LOOPBACK,
}


class Bus(Enum):
    """What nodes have in common beside the database."""

    NONE = "none"
    SINGLE = "single"
    CLUSTER = "cluster"
    """Its members name each other to the nodes, so that no network of ours is before them."""


@dataclass(frozen=True, slots=True)
class Services:
    """Where the database and the bus are."""

    database_url: str
    bus_url: str
    bus: Bus


class Node:
    """One server: its door, its ways to the services, and the process that is restarted."""

    def __init__(self, name: str, folder: Path, services: Services, design: str) -> None:
        """Keep log and files in a folder; the design is Palabre, a mutant of it, or the naive."""
        self.name = name
        self.port = free_port()
        self.door = Proxy(self.port)
        self.database = Proxy(urlsplit(services.database_url).port or 0)
        is_single = services.bus is Bus.SINGLE
        self.bus = Proxy(urlsplit(services.bus_url).port or 0 if is_single else 0)
        self.deaths = 0
        self._folder = folder / name
        self._services = services
        self._design = design
        self._is_wanted = False
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start, and be started again whenever it ends, until `close`."""
        self._folder.mkdir(parents=True)
        for network in (self.door, self.database, self.bus):
            await network.open()
        self._is_wanted = True
        self._keeper = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int | None:
        """Return the process that runs, if one does."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def serves(self) -> None:
        """Wait until the node takes connections."""
        async with asyncio.timeout(_START_S):
            while not await _listens(self.port):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(_LOOK_S)

    def send(self, what: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, what)

    def kill(self) -> None:
        """End it as a crash does."""
        self.deaths += 1
        self.send(signal.SIGKILL)

    async def close(self) -> None:
        """End it for good."""
        self._is_wanted = False
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        if self._keeper is not None:
            await self._keeper
        for network in (self.door, self.database, self.bus):
            await network.close()

    async def _keep(self) -> None:
        around = {name: text for name, text in os.environ.items() if name[:8] != "PALABRE_"}
        environment = around | {"PYTHONPATH": f"{_SOURCE}{os.pathsep}{_ROOT}"}
        while self._is_wanted:
            with (self._folder / "log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command(),
                    cwd=self._folder,
                    env={**environment, **self._settings()},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            await self._process.wait()
            if self._is_wanted:
                await asyncio.sleep(_AGAIN_S)

    def _command(self) -> Sequence[str]:
        if self._design == NAIVE:
            return (sys.executable, "-m", "checker.naive")
        return (sys.executable, "-m", "checker.launch", "serve")

    def _settings(self) -> Mapping[str, str]:
        database = _through(self._services.database_url, self.database)
        bus = self._services.bus_url
        if self._services.bus is Bus.SINGLE:
            bus = _through(bus, self.bus)
        if self._design == NAIVE:
            port = str(self.port)
            return {"NAIVE_DATABASE": database, "NAIVE_REDIS": bus, "NAIVE_PORT": port}
        return {
            **_SETTINGS,
            "PALABRE_DATABASE__URL": database,
            "PALABRE_REDIS__URL": bus,
            "PALABRE_HTTP__PORT": str(self.port),
            "PALABRE_FILES__FOLDER": str(self._folder / "files"),
            "CHECKER_MUTANT": self._design,
        }


def _through(url: str, network: Proxy) -> str:
    """Return the address of a service as it is behind a network."""
    address = urlsplit(url)
    account, at, _ = address.netloc.rpartition("@")
    return address._replace(netloc=f"{account}{at}{LOOPBACK}:{network.port}").geturl()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
