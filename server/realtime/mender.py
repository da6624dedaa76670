"""What lines miss, read from the database and delivered: of many conversations in one query."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from server.actions import repair
from server.actions.repair import Missed
from server.config import Settings
from server.errors import UnavailableError
from server.events import Event, Room
from server.journal import database_refusal
from server.logs import get_logger
from server.permissions import Call, Caller
from server.realtime import frames
from server.realtime.epochs import RESYNC_WITHIN_MS
from server.realtime.hub import Hub
from server.realtime.lines import Line
from server.realtime.seats import Seats

MOST_REPAIRED = 1_000
"""A gap above this many changes is not replayed: the room is told to `sync`. And so many changes
are read by one query, at most, if they are of several conversations."""

AT_ONCE = 500
"""Of so many conversations, or people, at most."""

_READING = 4
"""How many people are read at a time: what they see is one query for each."""

_BREATH = 64
"""After so many events others get their turn."""

log = get_logger(__name__)


class Keeper(Protocol):
    """Whoever keeps the lines and delivers their events."""

    def is_current(self, line: Line) -> bool:
        """Return whether a line is still the one of its conversation or person."""

    def deliver(self, line: Line, event: Event) -> None:
        """Deliver what is next; what is left out in between is chained over."""

    def advance(self, line: Line) -> None:
        """Deliver what came early and is next now."""

    def release(self, conversation_ids: Collection[str]) -> None:
        """Drop the lines of conversations that nobody here hears."""

    def doubt(self) -> None:
        """Compare heads at once."""


class Mender:
    """Brings lines up to date, those that waited longest first."""

    def __init__(self, settings: Settings, hub: Hub, seats: Seats, feed: Keeper) -> None:
        """Mend the lines of a feed."""
        self._settings = settings
        self._hub = hub
        self._seats = seats
        self._feed = feed
        self._stale: dict[Room, dict[Line, None]] = {room: {} for room in Room}
        self._working: dict[Room, asyncio.Task[None]] = {}
        self.repairs = self.repaired = self.jumps = self.failures = 0

    def need(self, line: Line) -> None:
        """Read as soon as possible what a line misses."""
        if line.is_stale:
            return
        line.is_stale = True
        self._stale[line.room][line] = None
        if line.room not in self._working:
            work = self._work(line.room)
            self._working[line.room] = asyncio.get_running_loop().create_task(work)

    def close(self) -> None:
        """Stop reading."""
        for task in self._working.values():
            task.cancel()

    async def _work(self, room: Room) -> None:
        stale = self._stale[room]
        try:
            while stale:
                await self._mend(room, self._take(stale))
        finally:
            del self._working[room]

    def _take(self, stale: dict[Line, None]) -> list[Line]:
        """Take as many lines as one query may be about; the first one always is."""
        taken: list[Line] = []
        changes = 0
        for line in stale:
            changes += line.known - (line.position or 0)
            if taken and (changes > MOST_REPAIRED or len(taken) == AT_ONCE):
                break
            taken.append(line)
        for line in taken:
            del stale[line]
        return [line for line in taken if self._feed.is_current(line)]

    async def _mend(self, room: Room, lines: Sequence[Line]) -> None:
        """Deliver from the database what did not arrive; what fails is tried again later."""
        try:
            await self._bring(lines, await self._read(room, lines))
        except Exception as error:  # noqa: BLE001 (the next comparison of heads tries again)
            if len(lines) > 1 and not isinstance(database_refusal(error), UnavailableError):
                # One that cannot be read must not keep the others from being heard.
                for line in lines:
                    await self._mend(room, [line])
            else:
                self._give_up(lines, error)

    def _give_up(self, lines: Sequence[Line], error: Exception) -> None:
        self.failures += 1
        targets = [line.target for line in lines[:3]]
        log.warning("a repair must wait", lines=len(lines), targets=targets, error=str(error))
        for line in lines:
            line.known = line.position or 0
            self._resume(line)

    def _resume(self, line: Line) -> None:
        line.is_stale = False
        self._feed.advance(line)

    async def _read(self, room: Room, lines: Sequence[Line]) -> dict[str, Missed]:
        after = {line.target: line.position or 0 for line in lines}
        known = {line.target: line.known for line in lines}
        if room is Room.CONVERSATION:
            found = await repair.conversations(after, MOST_REPAIRED)
        else:
            found = await self._read_people(after)
        missed = {id_: found.get(id_, Missed(0, [])) for id_ in after}
        if any(missed[id_].head < at for id_, at in known.items()):
            # Somebody told of a number that the database does not know.
            self._feed.doubt()
        return missed

    async def _read_people(self, after: dict[str, int]) -> dict[str, Missed]:
        at_once = asyncio.Semaphore(_READING)

        async def one(user_id: str, number: int) -> Missed:
            async with at_once:
                call = Call(Caller(user_id, None), self._settings)
                return await repair.personal(call, number, MOST_REPAIRED)

        found = await asyncio.gather(*(one(*item) for item in after.items()))
        return dict(zip(after, found, strict=True))

    async def _bring(self, lines: Sequence[Line], missed: dict[str, Missed]) -> None:
        events = sum(len(one.events or ()) for one in missed.values())
        self.repairs += len(lines)
        self.repaired += events
        log.info("repaired", lines=len(lines), events=events)
        jumping: list[Line] = []
        delivered = 0
        for line in lines:
            found = missed[line.target]
            if found.events is None:
                jumping.append(line)
                continue
            self._deliver(line, found.events)
            self._arrive(line, found.head)
            delivered += len(found.events)
            if delivered > _BREATH:
                delivered = 0
                await asyncio.sleep(0)
        if jumping:
            await self._jump(jumping, missed)

    def _deliver(self, line: Line, missed: Sequence[Event]) -> None:
        """Deliver what did not arrive while it was read, all at once."""
        news = [event for event in missed if (event.number or 0) > (line.position or 0)]
        if self._feed.is_current(line):
            self._seats.suspend(line, news)
        for event in news:
            if self._feed.is_current(line):
                self._feed.deliver(line, event)

    def _arrive(self, line: Line, head: int) -> None:
        """Stand at the head that was read, whatever objects there were on the way."""
        line.stand_at(head)
        line.known = max(line.early, default=line.position or 0)
        line.expect_after(line.position or 0)
        self._resume(line)
        if line.room is Room.CONVERSATION:
            # Whoever was left when it was read may be gone.
            self._feed.release([line.target])

    # More than can be replayed

    async def _jump(self, lines: Sequence[Line], missed: dict[str, Missed]) -> None:
        """Give up replaying: go to the head and let the clients ask for what changed."""
        rooms = [line for line in lines if line.room is Room.CONVERSATION]
        here = {
            line.target: {device.user_id for device in self._hub.listeners_of(line.target)}
            for line in rooms
        }
        standing: dict[str, tuple[int, set[str]]] = {}
        try:
            if rooms:
                standing = await repair.standing(here, set().union(*here.values()))
        except Exception as error:  # noqa: BLE001 (as above)
            self._give_up(lines, error)
            return
        for line in lines:
            nobody: tuple[int, set[str]] = (missed[line.target].head, set())
            head, present = standing.get(line.target, nobody)
            if self._feed.is_current(line) and head > (line.position or 0):
                self._leap(line, head, here.get(line.target, set()) - present)
            self._arrive(line, 0)

    def _leap(self, line: Line, head: int, gone: set[str]) -> None:
        self.jumps += 1
        line.stand_at(head)
        # Among what is left out may be somebody's removal.
        for user_id in gone:
            self._seats.dismiss(line, user_id, head)
        body: dict[str, Any] = {"within_ms": RESYNC_WITHIN_MS}
        if line.room is Room.USER:
            self._hub.to_person(line.target, frames.event("session:resync", body), None)
            return
        self._feed.release([line.target])
        body["conversation_ids"] = [line.target]
        self._hub.to_conversation(line.target, frames.event("session:resync", body), None)
