"""The types of the module are written by hand: they fit programs that use it, and the code."""

import shutil
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.programs import FOLDER, compiled, ran

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


def install(folder: Path) -> None:
    """Lay out a package that has the module as an installed one."""
    package = folder / "node_modules" / "palabre-client"
    package.mkdir(parents=True)
    for file in ("package.json", "palabre.d.ts", "events.d.ts"):
        shutil.copy(MODULE / file, package)
    for module in ("socket.io-client", "@socket.io", "engine.io-client", "engine.io-parser"):
        (folder / "node_modules" / module).symlink_to(FOLDER / "node_modules" / module)


async def test_the_compiler_takes_the_right_program_and_names_every_mistake(tmp_path: Path) -> None:
    install(tmp_path)
    for name in PROGRAMS:
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "same.ts").write_text(same(await ran("client_members.mjs")))
    wrong = (FOLDER / "client_wrong.ts").read_text().splitlines()

    found = await compiled(tmp_path, *PROGRAMS, "same.ts")

    assert {mistake.file for mistake in found} == {"client_wrong.ts"}, found
    mistakes = range(wrong.index("// mark") + 2, len(wrong) + 1)
    assert {mistake.line for mistake in found} == set(mistakes), found
