"""docs/protocol.md is what the code and a run say, and one changed word of it is noticed."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.one_database

PROGRAM = ROOT / "docs" / "generate_protocol.py"


async def test_a_changed_word_is_found_and_everything_else_is_as_it_was_written(
    tmp_path: Path,
) -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    changed = tmp_path / "protocol.md"
    changed.write_text(text.replace("Hello dear Bob", "Hello dear Rob", 1))

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(PROGRAM), "--check", str(changed)),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()

    assert process.returncode == 1
    assert [line.split()[1] for line in said.decode().splitlines()] == ["scene-absence"]
