"""Several processes that share the port of one machine: a parent that starts them, and again.

The kernel gives each connection to one of them (SO_REUSEPORT); each is a node of its own. The
parent holds no connection and no database. A worker reads its standard input, whose other end is
the parent's alone: when the parent is gone, however it went, the worker stops as if told to.
"""

import asyncio
import errno
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

from server import app
from server.config import Settings
from server.errors import SettingsError
from server.logs import get_logger

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_WELL_S = 30.0
"""A worker that lived so long was well: when it dies, the next one starts soon again."""

_KILLED_S = 16.0
"""After so long a worker that was told to stop is killed; it sees to that itself before."""

log = get_logger("server")


def serve(settings: Settings, arguments: Sequence[str], count: int) -> None:
    """Serve with so many workers, each started with these arguments, until a signal comes.

    Raises `SettingsError` when none of them could start.
    """
    _require_free(settings.http.host, settings.http.port)
    app.prepare(settings)
    with suppress(KeyboardInterrupt):
        asyncio.run(Workers(arguments, count).run())


def _require_free(host: str, port: int) -> None:
    """Refuse a port at which somebody listens: sharing it would be taking half of their clients."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            message = f"http.host: cannot listen on {host}:{port} ({error.strerror})"
            raise SettingsError(message) from error
        message = f"http.port: {port} is in use by another program; choose another one"
        raise SettingsError(message) from error


class Workers:
    """Keeps a number of processes running."""

    def __init__(self, arguments: Sequence[str], count: int) -> None:
        """Start each worker as this command, with its number behind it."""
        self._arguments = arguments
        self._count = count
        self._running: dict[int, Process] = {}
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Run until a signal comes and all workers have ended; a second one kills them."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._told_to_stop)
        async with asyncio.TaskGroup() as all_of_them:
            for number in range(1, self._count + 1):
                all_of_them.create_task(self._keep(number))

    def _told_to_stop(self) -> None:
        if self._stop.is_set():
            self._signal_all(signal.SIGKILL)
            return
        log.info("stopping", workers=len(self._running))
        self._stop.set()
        self._signal_all(signal.SIGTERM)
        asyncio.get_running_loop().call_later(_KILLED_S, self._signal_all, signal.SIGKILL)

    def _signal_all(self, name: signal.Signals) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(name)

    async def _keep(self, number: int) -> None:
        """Start a worker, and another one in its place as often as it ends by itself."""
        loop, wait_s = asyncio.get_running_loop(), _FIRST_WAIT_S
        while not self._stop.is_set():
            began = loop.time()
            status = await self._run_one(number)
            if self._stop.is_set():
                return
            wait_s = _FIRST_WAIT_S if loop.time() - began > _WELL_S else wait_s
            log.error("a worker ended", worker=number, status=status, again_in_s=wait_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _run_one(self, number: int) -> int:
        """Run a worker to its end, and return its status."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", *self._arguments, "--worker", str(number)),
            stdin=PIPE,
            stdout=DEVNULL,
            # Control-C in a terminal is for the parent, which passes it on.
            start_new_session=True,
        )
        self._running[number] = process
        log.info("a worker started", worker=number, process=process.pid)
        if self._stop.is_set():
            process.terminate()
        try:
            return await process.wait()
        finally:
            del self._running[number]
