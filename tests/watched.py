"""A server in a process of its own, and what strangers cost it: memory, open files, log lines."""

import asyncio
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from server.config import Settings
from tests.conftest import SECRET
from tests.people import Town
from tests.process import Process, serve
from tests.wire import Wires

MIB = 2**20


@asynccontextmanager
async def started(folder: Path, **environment: str) -> AsyncIterator[tuple[Process, Town, Wires]]:
    """Start a server on SQLite without rates, and be ready to connect to it by hand."""
    given = {
        "PALABRE_AUTH__SECRET": SECRET,
        "PALABRE_LIMITS__SEND_RATE": "0",
        "PALABRE_LIMITS__EVENT_RATE": "0",
        "PALABRE_LIMITS__SOCKETS_PER_USER": "1000",
        **environment,
    }
    settings = Settings.model_validate({"auth": {"secret": SECRET}})
    async with (
        serve(cwd=folder, environment=given) as process,
        aiohttp.ClientSession() as http,
    ):
        town = Town(settings, process.url, http)
        with Wires(process.url) as wires:
            yield process, town, wires
        await town.close()


def memory(process: Process) -> int:
    """Return how many bytes of memory a process has now.

    Where the system tells, without what is read from files: that comes and goes by itself.
    """
    status = Path(f"/proc/{process._process.pid}/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        own = [int(words[1]) for words in lines if words[0] in {"RssAnon:", "VmSwap:"}]
        return sum(own) * 1_024
    asked = ("ps", "-o", "rss=", "-p", str(process._process.pid))
    answered = subprocess.run(asked, check=True, capture_output=True)  # noqa: S603 (`ps` itself)
    return int(answered.stdout) * 1_024


def sockets(process: Process) -> int:
    """Return how many sockets a process holds; 0 where the system does not tell."""
    return sockets_in(Path(f"/proc/{process._process.pid}/fd"))


def sockets_in(folder: Path) -> int:
    """Return how many of the open files that this folder of the system lists are sockets."""
    number = 0
    for file in folder.glob("*"):
        with suppress(OSError):  # closed meanwhile
            number += stat.S_ISSOCK(file.stat().st_mode)
    return number


def must_be_well(process: Process) -> None:
    """Raise unless all that was written is lines of the log, none of them of a failure."""
    stacks = [line for line in [*process.out, *process.err] if "Traceback" in line]
    assert not stacks, "\n".join(stacks)
    wrong = [line for line in process.log if line["level"] not in ("debug", "info", "warning")]
    # The library speaks so of what clients do; the first time only.
    wrong = [line for line in wrong if line["logger"] != "engineio.server"]
    assert not wrong, wrong


async def at_a_time(number: int, works: list[Callable[[], Coroutine[Any, Any, Any]]]) -> None:
    """Do all of these, so many at a time."""
    waiting = iter(works)

    async def one_after_the_other() -> None:
        for work in waiting:
            await work()

    await asyncio.gather(*(one_after_the_other() for _ in range(number)))
