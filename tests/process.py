"""`python -m server …` as a process of its own, as an operator starts it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.services import LOOPBACK

WITHIN_S = 30.0
"""How long a start or an end may take on a machine that is busy with other tests."""


class Process:
    """A running command; what it writes is kept line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._news = asyncio.Event()
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            asyncio.create_task(self._read(process.stdout, self.out)),
            asyncio.create_task(self._read(process.stderr, self.err)),
        ]

    async def _read(self, stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        async for line in stream:
            lines.append(line.decode().rstrip("\n"))
            self._news.set()
        self._news.set()

    async def until(self, happened: Any) -> Any:
        """Wait until something is true of what was written, and return it."""
        async with asyncio.timeout(WITHIN_S):
            while not (found := happened()):
                ended = all(reader.done() for reader in self._readers)
                assert not ended, f"it ended instead:\n{self.text}"
                self._news.clear()
                await self._news.wait()
        return found

    async def serving(self) -> "Process":
        """Wait until requests are answered."""
        line = await self.until(lambda: self.logged("serving"))
        self.port: int = line["port"]
        self.url = f"http://{LOOPBACK}:{self.port}"
        return self

    @property
    def text(self) -> str:
        return "\n".join([*self.out, *self.err])

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every line of the log, which is JSON because nobody sits at a terminal."""
        return [json.loads(line) for line in self.err]

    def logged(self, event: str, **fields: Any) -> dict[str, Any] | None:
        """Return the first line of the log that says this, or None."""
        for line in self.log:
            if line["event"] == event and fields.items() <= line.items():
                return line
        return None

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    async def ended(self) -> int:
        """Wait for the end and return the exit status."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self._readers)
            return await self._process.wait()

    async def stops(self) -> int:
        self.send(signal.SIGTERM)
        return await self.ended()

    async def dies(self) -> None:
        self.send(signal.SIGKILL)
        await self.ended()

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self.ended()


@asynccontextmanager
async def command(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run `python -m server` with these arguments; at the end nothing of it is left."""
    async with python("-m", "server", *arguments, cwd=cwd, environment=environment) as process:
        yield process


@asynccontextmanager
async def python(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run our Python with these arguments; at the end nothing of it is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env=_surroundings() | dict(environment or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    running = Process(process)
    try:
        yield running
    finally:
        await running.close()


def _surroundings() -> dict[str, str]:
    """Return our environment without what would change how a program of ours writes.

    The PostgreSQL of tests need not survive a loss of power.
    """
    ours = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**ours, "PALABRE_DATABASE__REQUIRE_DURABLE": "false"}


@asynccontextmanager
async def serve(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run `python -m server serve` on a free port and wait until it serves."""
    given = {"PALABRE_HTTP__PORT": "0", **(environment or {})}
    async with command("serve", *arguments, cwd=cwd, environment=given) as process:
        yield await process.serving()


async def finished(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run a command to its end; return its exit status and what it wrote to both outputs."""
    async with command(*arguments, cwd=cwd, environment=environment) as process:
        status = await process.ended()
        return status, "\n".join(process.out), "\n".join(process.err)
