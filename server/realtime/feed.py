"""Order without holes: every conversation with somebody here, and every person here, has a line.

A line knows the last number it delivered. The next number is delivered, a lower one is a duplicate,
and behind a higher one something is missing: the line waits a moment for it and then reads from the
database what happened since. What nobody announced at all is found by comparing heads, always.

Only the feed moves seats of people who are connected, at the moment it delivers the membership
event: the removed person hears the removal as the last frame, the added one hears from there on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from server.actions import repair
from server.config import Settings
from server.events import Event, Room
from server.logs import get_logger
from server.permissions import Call, Caller
from server.realtime import frames
from server.realtime.hub import Hub

PATIENCE_S = 0.1
"""How long a line waits for a missing number before it asks the database."""

HEADS_EVERY_S = 1.5
"""How often heads are compared; with the comparison itself well under two seconds."""

_COMPARED_AGAIN_S = 0.5
"""How soon after the database did not answer."""

MOST_REPAIRED = 1_000
"""A gap above this many changes is not replayed: the room is told to `sync`."""

RESYNC_WITHIN_MS = 2_000
_SLICE = 1_000
_PREV = {Room.CONVERSATION: "prev_event_seq", Room.USER: "prev_user_seq"}

log = get_logger(__name__)


@dataclass(slots=True)
class _Line:
    """One conversation's or person's events on their way out, in order."""

    target: str
    position: int | None = None
    # Higher numbers that came early, and the highest number known to exist.
    early: dict[int, Event] = field(default_factory=dict)
    known: int = 0
    timer: asyncio.TimerHandle | None = None
    repairing: bool = False
    # The number of the last change of seats, by person.
    moved: dict[str, int] = field(default_factory=dict)
    # Who is known to go at a number that has not been delivered yet.
    going: dict[str, int] = field(default_factory=dict)

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Feed:
    """Delivers events to the hub in the order of their numbers."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        """Deliver to a hub."""
        self._settings = settings
        self._hub = hub
        self._conversations: dict[str, _Line] = {}
        self._people: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._doubted = asyncio.Event()

    # Lines

    async def host(self, conversation_ids: Collection[str]) -> None:
        """Have a line for each conversation, beginning at its head; early events are kept.

        Seat those who are to hear it before: a line nobody hears may be dropped at any time.
        """
        lines = self._conversations
        new = [id_ for id_ in conversation_ids if id_ not in lines]
        for id_ in new:
            lines[id_] = _Line(id_)
        unread = [id_ for id_ in conversation_ids if lines[id_].position is None]
        if not unread:
            return
        try:
            heads = await repair.heads(unread)
        except Exception:
            for id_ in new:
                if id_ in lines and lines[id_].position is None:
                    lines.pop(id_).close()
            raise
        for id_ in unread:
            line = lines.get(id_)
            if line is not None and line.position is None:
                line.position = heads.get(id_, 0)
                self._advance(lines, line)

    def expect_person(self, user_id: str) -> None:
        """Have a line for a person whose number somebody is about to read: see `place_person`."""
        if user_id not in self._people:
            self._people[user_id] = _Line(user_id)

    def begin_at(self, conversation_id: str, head: int) -> None:
        """Have a line for a conversation that nobody hears yet, from after a head on."""
        line = self._conversations.setdefault(conversation_id, _Line(conversation_id))
        line.position = max(head, line.position or 0)
        self._advance(self._conversations, line)

    def place_person(self, user_id: str, user_seq: int) -> None:
        """Let a person's line begin at a number that was read after the line was there.

        None of their connections has read its hello yet, so what came early will be in each.
        """
        line = self._people.get(user_id)
        if line is not None and line.position is None:
            line.position = max([user_seq, *line.early])
            line.early.clear()

    def release(self, conversation_ids: Collection[str]) -> None:
        """Drop the lines of conversations that nobody here hears."""
        for id_ in conversation_ids:
            if not self._hub.is_heard(id_) and id_ in self._conversations:
                self._conversations.pop(id_).close()

    def release_person(self, user_id: str) -> None:
        """Drop the line of a person without connections here."""
        if not self._hub.devices_of(user_id) and user_id in self._people:
            self._people.pop(user_id).close()

    def is_behind(self, conversation_id: str, number: int) -> bool:
        """Return whether the feed of a conversation has yet to deliver a number."""
        line = self._conversations.get(conversation_id)
        return line is not None and (line.position is None or line.position < number)

    def close(self) -> None:
        """Stop waiting for anything."""
        for line in (*self._conversations.values(), *self._people.values()):
            line.close()
        for task in self._tasks:
            task.cancel()

    # Events

    def accept(self, event: Event) -> None:
        """Take an event from this process or from the bus, in any order, any number of times."""
        if event.number is None:
            self._hand_out(event, event.data)
            return
        lines = self._lines(event)
        line = lines.get(event.target)
        if line is None:
            return
        if line.position is not None:
            if event.number <= line.position:
                return
            if event.number == line.position + 1 and not line.early:
                # Nearly always so: the next number, and nobody waits.
                line.known = max(line.known, event.number)
                self._deliver(line, event)
                return
        line.early[event.number] = event
        line.known = max(line.known, event.number)
        self._advance(lines, line)

    def _lines(self, event: Event) -> dict[str, _Line]:
        return self._conversations if event.room is Room.CONVERSATION else self._people

    def _advance(self, lines: dict[str, _Line], line: _Line) -> None:
        """Deliver what is next; what is early waits, first for its turn, then for a repair."""
        if lines.get(line.target) is not line:
            return
        while line.position is not None and line.position + 1 in line.early:
            self._deliver(line, line.early.pop(line.position + 1))
            if lines.get(line.target) is not line:
                # The last who heard it went; whoever comes back gets a line of their own.
                return
        if line.position is None:
            return
        for number in [number for number in line.early if number <= line.position]:
            del line.early[number]
        if line.known > line.position and line.timer is None and not line.repairing:
            loop = asyncio.get_running_loop()
            line.timer = loop.call_later(PATIENCE_S, self._lose_patience, lines, line)

    def _deliver(self, line: _Line, event: Event) -> None:
        """Hand out one event; what a repair left out is chained over."""
        number, before = event.number or 0, line.position or 0
        data = event.data
        if number != before + 1:
            data = {**data, _PREV[event.room]: before}
        line.position = number
        if line.going:
            self._dismiss_before(line, number)
        seating = event.seating
        if seating is not None and seating.is_active:
            self._admit(line, seating.user_id, number)
        self._hand_out(event, data)
        if seating is not None and not seating.is_active:
            self._dismiss(line, seating.user_id, number)
        if event.room is Room.USER:
            self._follow(event)
        elif not line.repairing and not self._hub.is_heard(event.target):
            # Nobody of those it was opened for is left by now.
            self.release([event.target])

    def _dismiss_before(self, line: _Line, number: int) -> None:
        """Take out those who were to go at a number that has been passed."""
        for user_id in [id_ for id_, at in line.going.items() if at < number]:
            self._dismiss(line, user_id, line.going.pop(user_id))

    def _follow(self, event: Event) -> None:
        """Move a person's seats as one of their own events says."""
        if event.name == "conversation:added":
            self._came_in(event.target, event.data["conversation"], event.data["event_seq"])
        elif event.name == "conversation:removed":
            self._went_out(event.target, event.data["conversation_id"], event.data["event_seq"])

    def _admit(self, line: _Line, user_id: str, number: int) -> None:
        """Seat a person's devices, as of a number of the conversation."""
        for device in self._hub.devices_of(user_id):
            line.moved[user_id] = number
            device.admitted(line.target)
            self._hub.seat(device, line.target)

    def _dismiss(self, line: _Line, user_id: str, number: int) -> None:
        """Take a person's devices out, as of a number of the conversation."""
        for device in self._hub.devices_of(user_id):
            line.moved[user_id] = number
            self._hub.unseat(device, line.target)
            device.dismissed(line.target)

    def _came_in(self, user_id: str, conversation: dict[str, Any], at: int) -> None:
        """Have a line for a conversation from the moment one of its members here came in.

        A line that began at a later head has left their coming out: then they are seated now, and
        ask for what was said between the head they were told and this moment.
        """
        id_ = conversation["id"]
        line = self._conversations.setdefault(id_, _Line(id_))
        if line.position is None:
            line.position, line.known = at - 1, max(line.known, at)
            self._advance(self._conversations, line)
        elif line.position >= at > line.moved.get(user_id, 0):
            self._admit(line, user_id, at)
            if conversation["head"] < line.position:
                body = {"conversation_ids": [id_], "within_ms": 0}
                self._hub.to_person(user_id, frames.event("session:resync", body), None)

    def _went_out(self, user_id: str, conversation_id: str, at: int) -> None:
        """Take a person out whose going was left out by a line that began at a later head.

        A line that is still behind remembers it: a repair may find them back in already, and what
        was said while they were out is not for them.
        """
        line = self._conversations.get(conversation_id)
        if line is None or at <= line.moved.get(user_id, 0):
            return
        if (line.position or 0) >= at:
            self._dismiss(line, user_id, at)
            self.release([conversation_id])
        else:
            line.going[user_id] = at

    def _hand_out(self, event: Event, data: dict[str, Any]) -> None:
        make = frames.hint if event.number is None else frames.event
        frame = make(event.name, data)
        if event.room is Room.CONVERSATION:
            self._hub.to_conversation(event.target, frame, event.number)
        else:
            self._hub.to_person(event.target, frame, event.number)

    # Repair

    def _lose_patience(self, lines: dict[str, _Line], line: _Line) -> None:
        line.timer = None
        if line.position is None or line.known <= line.position or line.repairing:
            return
        line.repairing = True
        task = asyncio.get_running_loop().create_task(self._repair(lines, line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _repair(self, lines: dict[str, _Line], line: _Line) -> None:
        """Deliver from the database what did not arrive; what fails is tried again later."""
        try:
            await self._mend(lines, line)
        except Exception as error:  # noqa: BLE001 (the next comparison of heads tries again)
            line.known = line.position or 0
            log.warning("a repair must wait", target=line.target, error=str(error))
        finally:
            line.repairing = False
        self._advance(lines, line)

    async def _mend(self, lines: dict[str, _Line], line: _Line) -> None:
        after = line.position or 0
        missed = await self._read(lines, line.target, after)
        if lines.get(line.target) is not line:
            return
        log.info("repaired", target=line.target, after=after, events=len(missed or ()))
        if missed is None:
            await self._jump(lines, line)
            return
        self._set_aside(line, missed)
        for event in missed:
            if (event.number or 0) > (line.position or 0) and lines.get(line.target) is line:
                self._deliver(line, event)
        if lines is self._conversations:
            self.release([line.target])
        line.known = max(line.early, default=line.position or 0)

    def _set_aside(self, line: _Line, missed: Sequence[Event]) -> None:
        """Take out for now whoever is said to come in: they were out before, unless only renamed.

        A removal that a return overwrote is not among what was read, and what was said in between
        is not for them. Their coming in seats them again, and what they lack they ask for.
        """
        for event in missed:
            if event.seating is not None and event.seating.is_active:
                for device in self._hub.devices_of(event.seating.user_id):
                    self._hub.unseat(device, line.target)

    async def _read(self, lines: dict[str, _Line], target: str, after: int) -> list[Event] | None:
        if lines is self._conversations:
            return await repair.conversation(target, after, MOST_REPAIRED)
        call = Call(Caller(target, None), self._settings)
        return await repair.personal(call, after, MOST_REPAIRED)

    async def _jump(self, lines: dict[str, _Line], line: _Line) -> None:
        """Give up replaying: go to the head and let the clients ask for what changed."""
        of_room = lines is self._conversations
        here = {device.user_id for device in self._hub.listeners_of(line.target)}
        if of_room:
            head, present = await repair.standing(line.target, here)
        else:
            head, present = (await repair.user_heads([line.target])).get(line.target, 0), here
        if lines.get(line.target) is not line or head <= (line.position or 0):
            return
        line.position = head
        # Among what is left out may be somebody's removal.
        for user_id in here - present:
            self._dismiss(line, user_id, head)
        if of_room:
            self.release([line.target])
        body: dict[str, Any] = {"within_ms": RESYNC_WITHIN_MS}
        if of_room:
            body["conversation_ids"] = [line.target]
        frame = frames.event("session:resync", body)
        if of_room:
            self._hub.to_conversation(line.target, frame, None)
        else:
            self._hub.to_person(line.target, frame, None)

    async def watch(self) -> None:
        """Compare heads for ever, so that a loss nobody noticed is found within two seconds."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._doubted.wait(), HEADS_EVERY_S)
            self._doubted.clear()
            try:
                await self.compare()
            except Exception as error:  # noqa: BLE001 (a comparison that fails is tried again)
                log.warning("heads cannot be compared", error=str(error))
                await asyncio.sleep(_COMPARED_AGAIN_S)
                self._doubted.set()

    def doubt(self) -> None:
        """Compare heads at once: something may have been stored that nobody tells of."""
        self._doubted.set()

    async def compare(self) -> None:
        """Look once at the heads of everything that is heard here."""
        await self._compare(self._conversations, repair.heads)
        await self._compare(self._people, repair.user_heads)

    async def _compare(
        self,
        lines: dict[str, _Line],
        read_heads: Callable[[list[str]], Awaitable[dict[str, int]]],
    ) -> None:
        targets = list(lines)
        for start in range(0, len(targets), _SLICE):
            for target, head in (await read_heads(targets[start : start + _SLICE])).items():
                line = lines.get(target)
                if line is None or line.position is None or head <= line.position:
                    continue
                line.known = max(line.known, head)
                self._advance(lines, line)
