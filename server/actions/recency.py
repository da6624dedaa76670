"""When something was last said, and who has not read it, copied to members behind the send.

A person's list is read in this order from an index of their memberships, which costs the same with
ten conversations and ten thousand. What has not been copied yet is known here and merged into the
list; a crash in between is mended when the server starts. A membership without a copy is looked up
in its conversation: new ones, and those of conversations with more members than are written to.
In the same way a counter looks only at memberships that are said to be behind, or not yet copied.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tortoise.connection import get_connection

from server import journal
from server.events import Event, Room
from server.logs import get_logger
from server.models import sql

COPY_AFTER_S = 0.8
"""How long a copy waits for others to go with it: with the copying itself, within a second."""

MERGED = 200
"""How many conversations a list is merged with at most; more are copied before it is read."""

_AT_ONCE = 500
_PAUSE_S = 0.02
_MOVES = frozenset({"message:created", "participant:added", "participant:removed", "receipt:read"})

if TYPE_CHECKING:
    from tortoise.backends.base.client import BaseDBAsyncClient

log = get_logger(__name__)


class Recency:
    """Copies what the events of this process say was moved."""

    def __init__(self, largest: int) -> None:
        """Copy for conversations of at most so many members."""
        self._largest = largest
        self._moved: dict[str, None] = {}
        # Taken by a copy that is under way: not copied yet, for all that others know.
        self._going: tuple[str, ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._copying: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let lists be merged with what is not copied, and mend what a crash left."""
        _RECENCIES[get_connection("default")] = self
        self._mending = asyncio.get_running_loop().create_task(self._mend())

    def notice(self, event: Event) -> None:
        """Note a conversation in which something moves it up, or its members, or what they read."""
        if event.name in _MOVES and event.room is Room.CONVERSATION:
            self._moved[event.target] = None
            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(COPY_AFTER_S, self._begin)

    def noted(self) -> list[str]:
        """Return the conversations whose copies may be old, however many they are."""
        return [*self._going, *self._moved]

    async def pending(self) -> list[str]:
        """Return the conversations whose copies may be old; copies first if they are many."""
        if len(self._moved) + len(self._going) > MERGED:
            await asyncio.shield(self._begin())
        return self.noted()

    def _begin(self) -> "asyncio.Task[None]":
        """Return the copying under way, which is started if there is none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._copying is None or self._copying.done():
            self._copying = asyncio.get_running_loop().create_task(self._copy())
        return self._copying

    async def _copy(self) -> None:
        self._going, self._moved = tuple(self._moved), {}
        left: Sequence[str] = self._going
        try:
            for start in range(0, len(self._going), _AT_ONCE):
                left = self._going[start:]
                rest = await copy(left[:_AT_ONCE], self._largest)
                left = [*rest, *left[_AT_ONCE:]]
                self._moved.update(dict.fromkeys(rest))
            left = ()
        except Exception as error:  # noqa: BLE001 (it is tried again, and merged meanwhile)
            log.warning("the order of lists must wait", error=str(error))
        self._moved.update(dict.fromkeys(left))
        self._going = ()
        if self._moved and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COPY_AFTER_S, self._begin)

    async def _mend(self) -> None:
        """Copy whatever differs, in slices: what a crash left, and what other settings left."""
        last = ""
        try:
            while True:
                rows = await sql.fetch(
                    "SELECT c.id FROM conversations c WHERE c.id > $1 "
                    f"ORDER BY c.id LIMIT {_AT_ONCE}",
                    last,
                )
                if not rows:
                    return
                last = rows[-1]["id"]
                for id_ in await copy([row["id"] for row in rows], self._largest):
                    self._moved[id_] = None
                await asyncio.sleep(_PAUSE_S)
        except Exception as error:  # noqa: BLE001 (lists stay readable, and the next start mends)
            log.warning("the order of lists could not be mended", error=str(error))

    async def close(self) -> None:
        """Copy what is left, and stop."""
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait([self._mending])
        if self._moved or self._going:
            with suppress(Exception):
                await asyncio.wait_for(asyncio.shield(self._begin()), 1.0)
        if self._timer is not None:
            self._timer.cancel()
        if self._copying is not None:
            await asyncio.wait([self._copying])
        if self._timer is not None:
            self._timer.cancel()
        _RECENCIES.pop(get_connection("default"), None)


_RECENCIES: "WeakKeyDictionary[BaseDBAsyncClient, Recency]" = WeakKeyDictionary()


async def pending() -> list[str]:
    """Return the conversations whose copies may be old; call it outside transactions."""
    present = _RECENCIES.get(get_connection("default"))
    return [] if present is None else await present.pending()


def noted() -> list[str]:
    """Return the conversations whose copies may be old; for within transactions."""
    present = _RECENCIES.get(get_connection("default"))
    return [] if present is None else present.noted()


@journal.transaction
async def copy(conversation_ids: Sequence[str], largest: int) -> list[str]:
    """Copy to the members what is known behind a send; return the conversations left over.

    Rows that somebody holds are left over, because waiting for one while holding another is how
    transactions come to wait for each other.
    """
    listed = sql.texts(conversation_ids)
    at = "CASE WHEN c.participants_count <= $2 THEN c.last_activity_at END"
    behind = "CASE WHEN c.participants_count <= $2 THEN c.countable > p.read_countable END"
    other = "IS NOT" if sql.dialect() == "sqlite" else "IS DISTINCT FROM"
    differing = (
        "FROM participants p JOIN conversations c ON c.id = p.conversation_id "
        f"WHERE p.conversation_id IN {sql.each('$1')} "
        f"AND (p.last_activity_at {other} {at} OR p.is_behind {other} ({behind}))"
    )
    held = "" if sql.dialect() == "sqlite" else " ORDER BY p.id FOR NO KEY UPDATE OF p SKIP LOCKED"
    own = "FROM conversations c WHERE c.id = p.conversation_id"
    await sql.execute(
        f"UPDATE participants AS p SET last_activity_at = (SELECT {at} {own}), "
        f"is_behind = (SELECT {behind} {own}) "
        f"WHERE p.id IN (SELECT p.id {differing}{held})",
        listed,
        largest,
    )
    if sql.dialect() == "sqlite":
        return []
    rows = await sql.fetch(f"SELECT DISTINCT p.conversation_id AS id {differing}", listed, largest)
    return [row["id"] for row in rows]
