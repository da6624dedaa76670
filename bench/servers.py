"""The servers that are compared: Palabre, and what people would otherwise run.

Each is started fresh for a measurement, alone, on its own core, and ended after it.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import BUILT, HERE, SERVER_CORE, CannotMeasureError, instrument, pinned
from tests.services import LOOPBACK, free_port, node

SECRET = "a secret of the benchmark, long enough"  # noqa: S105 - it guards nothing
_PEERS = HERE / "peers"
_NODE = BUILT / "node"
SOURCE = Path(os.environ.get("BENCH_SOURCE", HERE.parent))
"""The checkout of which the server is measured: this one, or another to compare with."""

_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 10.0

# Rates would stop a load generator, and a room of thousands is a question that is asked here.
CHANGED = {
    "PALABRE_LIMITS__SEND_RATE": "0",
    "PALABRE_LIMITS__EVENT_RATE": "0",
    "PALABRE_LIMITS__MEMBERS": "10000",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://{LOOPBACK}:{self.port}"


@contextmanager
def palabre(
    database_url: str, *, redis_url: str = "", core: int | None = SERVER_CORE
) -> Iterator[Server]:
    """Run Palabre, whole, as an operator starts it; with Redis it is one of several nodes."""
    port = free_port()
    settings = {
        "PALABRE_AUTH__SECRET": SECRET,
        "PALABRE_DATABASE__URL": database_url,
        "PALABRE_HTTP__HOST": LOOPBACK,
        "PALABRE_HTTP__PORT": str(port),
        **({"PALABRE_REDIS__URL": redis_url} if redis_url else {}),
        "PYTHONPATH": str(SOURCE),
    }
    command = [sys.executable, "-m", "server", "serve"]
    with _running(command, port, CHANGED | settings, core=core) as server:
        yield server


@contextmanager
def write_limit() -> Iterator[Server]:
    """Run the yardstick: one write() a delivery and nothing else."""
    port = free_port()
    with _running([str(instrument("write_limit")), str(port)], port, {}) as server:
        yield server


@contextmanager
def node_echo() -> Iterator[Server]:
    """Run Node's Socket.IO, storing nothing."""
    port = free_port()
    with _running([node(), str(_NODE / "echo.mjs"), str(port)], port, {}) as server:
        yield server


@contextmanager
def node_store(database_url: str) -> Iterator[Server]:
    """Run Node's Socket.IO with PostgreSQL, as a good team writes it by hand."""
    port = free_port()
    command = [node(), str(_NODE / "store.mjs"), str(port)]
    with _running(command, port, {"DATABASE_URL": database_url}) as server:
        yield server


@contextmanager
def python_echo() -> Iterator[Server]:
    """Run python-socketio as it comes, storing nothing."""
    port = free_port()
    with _running([_peer_python(), str(_PEERS / "echo.py"), str(port)], port, {}) as server:
        yield server


@contextmanager
def python_nodes(redis_url: str, *, core: int | None = SERVER_CORE) -> Iterator[Server]:
    """Run python-socketio as it comes, one of several nodes that Redis connects."""
    port = free_port()
    command = [_peer_python(), str(_PEERS / "nodes.py"), str(port), redis_url]
    with _running(command, port, {}, core=core) as server:
        yield server


@contextmanager
def django(database_url: str) -> Iterator[Server]:
    """Run Django with Channels and REST framework."""
    port = free_port()
    command = [_peer_python(), "-m", "uvicorn", "django_app:application", "--port", str(port)]
    command += ["--log-level", "warning", "--ws-ping-interval", "1000"]
    settings = {"DATABASE_URL": database_url, "PYTHONPATH": str(_PEERS)}
    with _running(command, port, settings) as server:
        yield server


def _peer_python() -> str:
    python = BUILT / "venv" / "bin" / "python"
    if not python.exists():
        message = "the peers are not installed: make bench installs them"
        raise CannotMeasureError(message)
    return str(python)


@contextmanager
def _running(
    command: list[str], port: int, settings: Mapping[str, str], *, core: int | None = SERVER_CORE
) -> Iterator[Server]:
    environment = {name: value for name, value in os.environ.items() if name[:8] != "PALABRE_"}
    with tempfile.TemporaryDirectory(prefix="palabre-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*pinned(core), *command],
                cwd=folder,
                env=environment | dict(settings),
                stdout=out,
                stderr=out,
            )
        try:
            _wait_for(process, port, log)
            yield Server(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.05)
    message = f"a server does not start:\n{log.read_text(errors='replace')[-2000:]}"
    raise CannotMeasureError(message)
