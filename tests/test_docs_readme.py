"""Whoever pastes what the README says, into the folder it is read in, gets what it promises."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT, examples
from tests.process import WITHIN_S, Process, serve
from tests.services import node

pytestmark = pytest.mark.one_database

README = ROOT / "README.md"


class Folder:
    """A clone whose demo is running, as somebody sees it who reads the README."""

    def __init__(self, path: Path, demo: Process, environment: dict[str, str]) -> None:
        self.path = path
        self._port = str(demo.port)
        search = f"{Path(node()).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, **environment, "PATH": search}

    def pasted(self, text: str) -> str:
        """The demo listens on a port of its own here; nothing else is changed."""
        assert "127.0.0.1:8000" in text
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self._port}")

    @asynccontextmanager
    async def runs(self, line: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a line in a shell; at the end nothing of it is left."""
        process = await asyncio.create_subprocess_exec(
            *("sh", "-euc", line),
            cwd=self.path,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()


@pytest.fixture
async def folder(tmp_path: Path, database_url: str) -> AsyncIterator[Folder]:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "js" / "node_modules")
    environment = {"PALABRE_DATABASE__URL": database_url}
    async with serve("--demo", cwd=tmp_path, environment=environment) as demo:
        yield Folder(tmp_path, demo, environment)


async def _says(chat: asyncio.subprocess.Process, line: str) -> None:
    assert chat.stdin is not None
    chat.stdin.write(f"{line}\n".encode())
    await chat.stdin.drain()


async def _prints(chat: asyncio.subprocess.Process) -> str:
    assert chat.stdout is not None
    line = await asyncio.wait_for(chat.stdout.readline(), WITHIN_S)
    return line.decode().rstrip("\n")


async def test_two_people_talk_through_the_pasted_client(folder: Folder) -> None:
    [client] = examples(README, "js")
    (folder.path / "chat.mjs").write_text(folder.pasted(client))
    in_terminals = [text for text in examples(README, "") if "chat.mjs" in text]
    as_emma, as_camille = in_terminals[0].splitlines()

    async with folder.runs(as_emma) as emma, folder.runs(as_camille) as camille:
        await _says(camille, "Are you there?")
        assert await _prints(camille) == "camille: Are you there?"
        await _says(emma, "Yes, hello")
        # Emma may have come after Camille's question.
        first = await _prints(emma)
        assert first in ("camille: Are you there?", "emma: Yes, hello")
        assert await _prints(camille) == "emma: Yes, hello"


async def test_the_pasted_curl_lines_send_once_and_find_it_again(folder: Folder) -> None:
    [lines] = examples(README, "sh")

    first = await _answers(folder, folder.pasted(lines))
    again = await _answers(folder, folder.pasted(lines))

    sent, history, unread, found = first
    assert (sent["content"], sent["client_msg_id"]) == ("Hello Camille", "hello-1")
    assert again[0]["id"] == sent["id"]
    assert history["results"][-1]["id"] == sent["id"] == again[1]["results"][-1]["id"]
    assert all(talk["my"]["unread_count"] for talk in unread["results"])
    assert sent["id"] in [message["id"] for message in found["results"]]


async def _answers(folder: Folder, lines: str) -> list[Any]:
    """Return the JSON texts that the lines print one after the other."""
    async with folder.runs(lines) as shell:
        out, _ = await asyncio.wait_for(shell.communicate(), WITHIN_S)
    assert shell.returncode == 0
    text, answers, decoder = out.decode(), list[Any](), json.JSONDecoder()
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].lstrip()
    return answers
