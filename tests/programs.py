"""Programs of tests/js, run by the suite's Node, and what its TypeScript makes of others."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.services import node

FOLDER = Path(__file__).with_name("js")


@asynccontextmanager
async def program(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program of tests/js; at the end nothing of it is left."""
    process = await asyncio.create_subprocess_exec(
        node(),
        *(name, *arguments),
        cwd=FOLDER,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def reported(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return the next line that a program reports."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    rest = b"" if line.startswith(b"{") else line + await process.stdout.read()
    assert not rest, rest.decode()
    report: dict[str, Any] = json.loads(line)
    return report


async def last_report(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return the line after which a program ends well."""
    report = await reported(process)
    rest, _ = await process.communicate()
    assert (process.returncode, rest) == (0, b""), rest.decode()
    return report


async def ran(name: str, *arguments: str) -> dict[str, Any]:
    """Run a program that reports one line and ends well."""
    async with program(name, *arguments) as process:
        return await last_report(process)


class Mistake(NamedTuple):
    """What the compiler says is wrong, and where."""

    file: str
    line: int
    why: str


async def compiled(folder: Path, *files: str) -> set[Mistake]:
    """Give programs in a folder to the TypeScript compiler, and return the mistakes it finds."""
    options = {
        "strict": True,
        "noEmit": True,
        "types": [],
        "target": "es2022",
        "module": "nodenext",
        "lib": ["es2022", "dom", "dom.iterable"],
        # Its own files are right, and take most of the time.
        "skipDefaultLibCheck": True,
    }
    project = {"compilerOptions": options, "files": files}
    (folder / "tsconfig.json").write_text(json.dumps(project))
    (folder / "package.json").write_text('{"type": "module"}')
    process = await asyncio.create_subprocess_exec(
        node(),
        *(str(FOLDER / "node_modules/typescript/bin/tsc"), "--pretty", "false", "--project", "."),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await process.communicate())[0].decode()
    found = re.findall(r"^(\S+?)\((\d+),\d+\): error TS(.*)$", said, re.MULTILINE)
    assert found or not said, said
    return {Mistake(file, int(line), why) for file, line, why in found}
