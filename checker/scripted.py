"""Those who are on the official JavaScript client: a program of its own that reports every frame.

They live by `tests/js/rule.mjs`, written by other hands than ours: so the rule is held to twice.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checker.history import ANY_NODE, Attempt, Change, End, Frame, History, Line
from checker.judge import Believer
from checker.people import SAID
from tests.services import node

_PROGRAM = Path(__file__).parent / "js" / "people.mjs"
_PAUSE_MS = 300
_END_S = 20.0
_LINE_BYTES = 2**26


@dataclass(slots=True)
class _Belief:
    start: int
    messages: dict[str, dict[str, Any]]


class Scripted:
    """The program while it runs."""

    def __init__(self, process: asyncio.subprocess.Process, history: History) -> None:
        """Write down what a program says."""
        self._process = process
        self._history = history
        self._lines: dict[str, Line] = {}
        self._believers: list[Believer] = []
        self._stopped, self._left = asyncio.Event(), asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Let them finish what they were saying, and say nothing more."""
        await self._tell("stop", self._stopped)

    async def leave(self) -> list[Believer]:
        """Let them show what they have, and go."""
        await self._tell("leave", self._left)
        return self._believers

    async def close(self) -> None:
        """End the program, wherever it is."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _tell(self, what: str, happened: asyncio.Event) -> None:
        if self._process.stdin is None:
            return
        self._process.stdin.write(f"{what}\n".encode())
        # Whoever is asked for something that nobody answers has nothing to add to what was heard.
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await happened.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 (it was asked for)
        async for text in self._process.stdout:
            if text.startswith(b"{"):
                self._take(json.loads(text))
            else:
                print("people.mjs:", text.decode().rstrip())  # noqa: T201 (why it ended)

    def _take(self, report: dict[str, Any]) -> None:
        if "name" in report:
            self._heard(report["person"], report)
        elif "sent" in report:
            self._sent(report)
        elif "shown" in report:
            self._shown(report)
        elif "closed" in report and report["person"] in self._lines:
            self._lines[report["person"]].closed_at = report["closed"]
        elif "stopped" in report:
            self._stopped.set()
        elif "left" in report:
            self._left.set()
        elif "restless" in report:
            print("people.mjs:", report)  # noqa: T201 (what is missing then has a reason)

    def _heard(self, person: str, report: dict[str, Any]) -> None:
        data, name = report["data"], report["name"]
        if name == "session:ready":
            line = Line(f"{person} (js)", person, ANY_NODE, report["at"], epoch=data["epoch"])
            self._lines[person] = line
            self._history.lines.append(line)
        elif person in self._lines:
            line = self._lines[person]
            self._history.frames.append(Frame.read(report["at"], line, name, data))

    def _sent(self, report: dict[str, Any]) -> None:
        person, fields, stored = report["person"], report["sent"], report["stored"]
        change = Change("send", fields["conversation_id"], person, about=fields["client_msg_id"])
        change.content = fields["content"]
        line = self._lines.get(person) or Line(f"{person} (js)", person, ANY_NODE)
        change.attempts = [
            Attempt(line, one["asked"], one["answered"], one["code"]) for one in report["attempts"]
        ]
        change.code = change.attempts[-1].code
        change.end = End.REFUSED if stored is None else End.ACKNOWLEDGED
        if stored is not None:
            change.message_id, change.seq = stored["id"], stored["seq"]
            change.event_seq = stored["event_seq"]
        self._history.changes.append(change)

    def _shown(self, report: dict[str, Any]) -> None:
        talks = {
            talk["id"]: _Belief(talk["start"], {one["id"]: one for one in talk["messages"]})
            for talk in report["shown"]
        }
        person = report["person"]
        self._believers.append(Believer(f"{person} (js)", person, talks))


@asynccontextmanager
async def scripted(
    history: History, url: str, tokens: Mapping[str, str]
) -> AsyncIterator[Scripted]:
    """Let people on the official client live, behind one address, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(node(), str(_PROGRAM), url, SAID, str(_PAUSE_MS)),
        *(f"{name}={token}" for name, token in tokens.items()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_BYTES,
        start_new_session=True,
    )
    running = Scripted(process, history)
    try:
        yield running
    finally:
        await running.close()
