"""Order without holes: every conversation with somebody here, and every person here, has a line.

The next number of a line is delivered, a lower one is a duplicate, and behind a higher one
something is missing: the line waits a moment for it, and then what happened since is read from the
database (`mender.py`). What nobody announced at all is found by comparing heads, always
(`heads.py`), and so is that the database is another one (`epochs.py`).

Only the feed moves seats of people who are connected, at the moment it delivers the membership
event (`seats.py`).
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import orjson

from server.actions import repair
from server.config import Settings
from server.events import Event, Room
from server.models.gathering import Gathering
from server.realtime import frames
from server.realtime.bus import Bus
from server.realtime.epochs import Epochs
from server.realtime.heads import Heads
from server.realtime.hub import Hub
from server.realtime.lines import Line, Lines
from server.realtime.mender import Mender
from server.realtime.seats import Seats

PATIENCE_S = 0.1
"""How long a line waits for a missing number before it asks the database."""

_PREV = {Room.CONVERSATION: "prev_event_seq", Room.USER: "prev_user_seq"}


class Feed:
    """Delivers events to the hub in the order of their numbers."""

    def __init__(self, settings: Settings, hub: Hub, bus: Bus) -> None:
        """Deliver to a hub, and mend what a bus loses; `open()` before anybody comes."""
        self._hub = hub
        self._bus = bus
        bus.repaired_by(self)
        self._lines = Lines(bus)
        self._following: set[asyncio.Task[None]] = set()
        self._conversations = self._lines.conversations
        self._people = self._lines.people
        self._seats = Seats(hub)
        self._mender = Mender(settings, hub, self._seats, self)
        self._epochs = Epochs(hub, self._lines, self.advance)
        self._heads = Heads(self._lines, self._epochs, self.advance)
        self._beginnings = Gathering(_heads_for_each)
        self._on_move: Callable[[str], object] | None = None

    def on_move(self, listener: Callable[[str], object]) -> None:
        """Let somebody know of people here who came into a conversation or went out of one."""
        self._on_move = listener

    async def open(self) -> None:
        """Learn which life of the database this is."""
        await self._epochs.open()

    # Lines

    def expect(self, conversation_ids: Iterable[str]) -> list[Line]:
        """Have a line for each conversation whose head somebody is about to read: see `place`.

        Seat those who are to hear it before: a line nobody hears may be dropped at any time. Before
        the head is read, `follow` them.
        """
        return self._lines.of_conversations(conversation_ids)

    async def follow(self, lines: Collection[Line]) -> None:
        """Let what is said to lines arrive: first the channels, then the heads."""
        unread = [line.target for line in lines if line.position is None]
        if unread:
            await self._bus.follow(Room.CONVERSATION, unread)

    @property
    def is_alone(self) -> bool:
        """Return whether all that is said arrives, so that nobody has to be followed."""
        return self._bus.is_alone

    def place(self, lines: Collection[Line], heads: Mapping[str, int]) -> bool:
        """Let lines begin at heads that were read after the lines were there, if they have not yet.

        Returns False when one has begun meanwhile at a later head: nobody brings what lies between
        the two, so the heads must be read again. Lines without a head are somebody else's.
        """
        is_whole = True
        for line in lines:
            head = heads.get(line.target)
            if head is None:
                continue
            if line.began is not None:
                is_whole &= line.began <= head
            elif self._conversations.get(line.target) is line:
                # Another one is there if the line was to begin in a database that is gone.
                line.begin(head)
                if line.early or line.known > head:
                    self.advance(line)
        return is_whole

    async def host(self, conversation_ids: Collection[str]) -> None:
        """Have a line for each conversation, beginning at its head; early events are kept.

        Seat those who are to hear it before: a line nobody hears may be dropped at any time.
        """
        lines = self.expect(conversation_ids)
        await self.follow(lines)
        unread = [line for line in lines if line.position is None]
        if unread:
            heads = await self._beginnings.ask([line.target for line in unread])
            self.place(unread, {line.target: heads.get(line.target, 0) for line in unread})

    async def expect_person(self, user_id: str) -> Line:
        """Have a line for a person whose number somebody is about to read: see `place_person`."""
        line = self._lines.person(user_id)
        await self._bus.follow(Room.USER, [user_id])
        return line

    def begin_at(self, conversation_id: str, head: int) -> None:
        """Have a line for a conversation that nobody hears yet, from after a head on."""
        line = self._open(conversation_id)
        # One that somebody is about to hear goes on from where it is.
        line.begin(head)
        self.advance(line)

    def _open(self, conversation_id: str) -> Line:
        """Have a line for a conversation of which somebody knows a number to begin after.

        Until its channel is certain something may have been said that did not arrive.
        """
        if conversation_id not in self._conversations:
            task = asyncio.get_running_loop().create_task(self._follow_late(conversation_id))
            self._following.add(task)
            task.add_done_callback(self._following.discard)
        return self._lines.conversation(conversation_id)

    async def _follow_late(self, conversation_id: str) -> None:
        if await self._bus.follow(Room.CONVERSATION, [conversation_id]):
            self.doubt()
        # It may have been dropped before this began.
        if conversation_id not in self._conversations:
            self._bus.leave(Room.CONVERSATION, [conversation_id])

    def place_person(self, line: Line, user_seq: int) -> None:
        """Let a person's line begin at a number that was read after the line was there.

        None of their connections has read its hello yet, so what came early will be in each.
        """
        if line.position is None and self.is_current(line):
            line.begin(max([user_seq, *line.early]))
            line.early.clear()

    def release(self, conversation_ids: Collection[str]) -> None:
        """Drop the lines of conversations that nobody here hears, or is about to."""
        lines, is_heard = self._conversations, self._hub.is_heard
        unheard = [
            id_
            for id_ in conversation_ids
            if not is_heard(id_) and (line := lines.get(id_)) is not None and not line.coming
        ]
        self._lines.drop(Room.CONVERSATION, unheard)

    def release_person(self, user_id: str) -> None:
        """Drop the line of a person without connections here."""
        if not self._hub.devices_of(user_id):
            self._lines.drop(Room.USER, [user_id])

    def behind(self, numbers: Mapping[str, int]) -> dict[str, int]:
        """Return the numbers of conversations that their feeds have yet to deliver."""
        lines = self._conversations
        return {
            id_: number
            for id_, number in numbers.items()
            if (line := lines.get(id_)) is not None
            and (line.position is None or line.position < number)
        }

    def close(self) -> None:
        """Stop waiting for anything."""
        for task in self._following:
            task.cancel()
        self._lines.close()
        self._epochs.close()
        self._mender.close()

    # Events

    def accept(self, event: Event) -> None:
        """Take an event from this process or from the bus, in any order, any number of times."""
        if event.number is None:
            self._hand_out(event, event.body)
            return
        line = self._lines.of(event.room).get(event.target)
        if line is None:
            return
        if line.position is not None:
            if event.number <= line.position:
                if line.is_denied_by(event):
                    self._heads.deny()
                return
            if event.number == line.position + 1 and not line.early:
                # Nearly always so: the next number, and nobody waits.
                line.known = max(line.known, event.number)
                self.deliver(line, event)
                return
        line.take(event, event.number)
        self.advance(line)

    def is_current(self, line: Line) -> bool:
        """Return whether a line is still the one of its conversation or person."""
        return self._lines.is_current(line)

    def advance(self, line: Line) -> None:
        """Deliver what is next; what is early waits, first for its turn, then for a repair."""
        while self.is_current(line) and (event := line.next()) is not None:
            self.deliver(line, event)
        # When the last who heard it went, whoever comes back gets a line of their own.
        if line.position is not None and self.is_current(line):
            line.forget_old()
            if line.is_behind:
                line.wait(PATIENCE_S, self._lose_patience)

    def _lose_patience(self, line: Line) -> None:
        line.timer = None
        if line.is_behind:
            self._mender.need(line)

    def deliver(self, line: Line, event: Event) -> None:
        """Hand out one event; what a repair left out is chained over."""
        number, before = event.number or 0, line.position or 0
        body = event.body
        if number != before + 1:
            body = orjson.dumps({**event.data, _PREV[event.room]: before})
        line.pass_by(event, number)
        self._seats.before(line, event)
        self._hand_out(event, body)
        self._seats.after(line, event)
        if event.room is Room.USER:
            self._move_seats(event)
        elif not self._hub.is_heard(event.target) and not line.is_stale:
            # Nobody of those it was opened for is left by now.
            self.release([event.target])

    def _move_seats(self, event: Event) -> None:
        """Move a person's seats as one of their own events says."""
        if event.name == "conversation:added":
            self._came_in(event.target, event.data["conversation"], event.data["event_seq"])
        elif event.name == "conversation:removed":
            self._went_out(event.target, event.data["conversation_id"], event.data["event_seq"])
        else:
            return
        if self._on_move is not None:
            self._on_move(event.target)

    def _came_in(self, user_id: str, conversation: dict[str, Any], at: int) -> None:
        """Have a line for a conversation from the moment one of its members here came in."""
        line = self._open(conversation["id"])
        line.begin(at - 1)
        self._seats.came_in(line, user_id, conversation, at)
        self.advance(line)

    def _went_out(self, user_id: str, conversation_id: str, at: int) -> None:
        line = self._conversations.get(conversation_id)
        if line is not None:
            self._seats.went_out(line, user_id, at)
            self.release([conversation_id])

    def _hand_out(self, event: Event, body: bytes) -> None:
        frame = frames.encoded(event.name, body, durable=event.number is not None)
        if event.room is Room.CONVERSATION:
            self._hub.to_conversation(event.target, frame, event.number)
        else:
            self._hub.to_person(event.target, frame, event.number)

    # Numbers

    @property
    def repairs(self) -> int:
        """Return how often a line was brought up to date from the database."""
        return self._mender.repairs

    @property
    def repaired(self) -> int:
        """Return how many events were missing."""
        return self._mender.repaired

    @property
    def jumps(self) -> int:
        """Return how often so many were missing that everybody there had to ask."""
        return self._mender.jumps

    @property
    def failures(self) -> int:
        """Return how often the database could not be asked."""
        return self._mender.failures + self._heads.failures

    # Heads

    async def watch(self) -> None:
        """Compare heads for ever, so that a loss nobody noticed is found within two seconds."""
        await self._heads.watch()

    def doubt(self) -> None:
        """Compare heads at once: something may have been stored that nobody tells of."""
        self._heads.doubt()

    def hear_of(self, room: Room, target: str, number: int) -> None:
        """Learn that there is a change with this number, which nobody brings."""
        line = self._lines.of(room).get(target)
        if line is not None:
            line.known = max(line.known, number)
            self.advance(line)

    async def compare(self) -> None:
        """Look once at the heads of everything that is heard here."""
        await self._heads.compare()

    @property
    def epoch(self) -> str:
        """Return which life of the database all this is about."""
        return self._epochs.current

    def knows(self, epoch: str) -> bool:
        """Return whether what is said in an epoch is about the database as it is.

        What is said in another one is to be ignored; who is right, the heads will tell.
        """
        if epoch != self.epoch:
            self.doubt()
        return epoch == self.epoch

    def forgets(self, forget: Callable[[], None]) -> None:
        """Let somebody who keeps what is stored forget it, too, whenever an epoch begins."""
        self._epochs.listen(forget)

    async def notice(self, epoch: str) -> None:
        """Notice an epoch that somebody has read in the database, unless it is known already."""
        await self._heads.notice(epoch)


async def _heads_for_each(asked: list[list[str]]) -> list[dict[str, int]]:
    """Return the heads of several lists of conversations: all of them to each who asks."""
    heads = await repair.heads(list({id_: None for ids in asked for id_ in ids}))
    return [heads] * len(asked)
