"""The types of the module are written by hand: they fit programs that use it, and the code."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.programs import FOLDER, ran
from tests.services import node

pytestmark = pytest.mark.one_database

MODULE = ROOT / "clients" / "js"
PROGRAMS = ("client_right.ts", "client_wrong.ts")


def same(members: dict[str, list[str]]) -> str:
    """Return a program that compiles if the types name these members.

    For what is given out as a class, no others: one too many or too few in a literal is a mistake.
    """
    lines = ["import type { Conversation, Palabre, PalabreError, Store } from 'palabre-client';"]
    for name, parent in (("Palabre", "EventTarget"), ("PalabreError", "Error")):
        literal = ", ".join(f"{member}: true" for member in members[name])
        keys = f"Record<Exclude<keyof {name}, keyof {parent}>, true>"
        lines.append(f"export const of{name}: {keys} = {{ {literal} }};")
    for name in ("Conversation", "Store"):
        literal = " | ".join(f"'{member}'" for member in members[name])
        lines.append(f"export const in{name}: {literal} = {{}} as keyof {name};")
    return "\n".join(lines)


def project(folder: Path, files: list[str]) -> None:
    """Lay out a package that has the module as an installed one."""
    package = folder / "node_modules" / "palabre-client"
    package.mkdir(parents=True)
    for file in ("package.json", "palabre.d.ts", "events.d.ts"):
        shutil.copy(MODULE / file, package)
    for module in ("socket.io-client", "@socket.io", "engine.io-client", "engine.io-parser"):
        (folder / "node_modules" / module).symlink_to(FOLDER / "node_modules" / module)
    options = {
        "strict": True,
        "noEmit": True,
        "types": [],
        "target": "es2022",
        "module": "nodenext",
        "lib": ["es2022", "dom", "dom.iterable"],
    }
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": files}))
    (folder / "package.json").write_text('{"type": "module"}')


async def test_the_compiler_takes_the_right_program_and_names_every_mistake(tmp_path: Path) -> None:
    project(tmp_path, [*PROGRAMS, "same.ts"])
    for name in PROGRAMS:
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "same.ts").write_text(same(await ran("client_members.mjs")))
    wrong = (FOLDER / "client_wrong.ts").read_text().splitlines()

    process = await asyncio.create_subprocess_exec(
        node(),
        *(str(FOLDER / "node_modules/typescript/bin/tsc"), "--pretty", "false", "--project", "."),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await process.communicate())[0].decode()

    at = re.findall(r"^(\S+?)\((\d+),\d+\): error TS", said, re.MULTILINE)
    assert {file for file, _ in at} == {"client_wrong.ts"}, said
    mistakes = range(wrong.index("// mark") + 2, len(wrong) + 1)
    assert {int(line) for _, line in at} == set(mistakes), said
