"""Who hears what on this node: seats in conversations, and a person's devices.

Only the feed moves seats of people who are connected; a connection takes its own first seats and
those it names. A quiet conversation is written at once. In a busy one frames wait until some
milliseconds after the end of the batch before, and leave joined; `Audience` says to whom. Large
batches share the loop: all of them together write for a few milliseconds, then it is the turn of
everything else.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from server.histogram import Histogram
from server.realtime.audience import Audience, Listener
from server.realtime.flight import Flight
from server.realtime.frames import JOINED_BYTES, Frame
from server.realtime.websocket import Turn

SLICE_S = 0.0025
"""How long the loop is held for batches before everything else has its turn."""

FEW = 32
"""Up to so many are written at once, without a batch."""

BEHIND_BYTES = 8 * 1_048_576
"""With so much waiting to be written on this node, nobody's next request is begun."""


class Hub:
    """Rooms of this node: one per conversation, one per person."""

    def __init__(self, turn: Turn, *, coalesce_s: float) -> None:
        """Begin with empty rooms; a busy one is written to at most that often."""
        self._turn = turn
        self._coalesce_s = coalesce_s
        self._loop = asyncio.get_running_loop()
        self._rooms: dict[str, Audience] = {}
        self._people: dict[str, dict[str, Listener]] = {}
        # By connection, the conversations it hears, the least recently named first.
        self._seats: dict[Listener, dict[str, Audience]] = {}
        # The rooms that owe their listeners something, and those of them whose batch may leave.
        self._owing: dict[Audience, None] = {}
        self._line: deque[Audience] = deque()
        self._is_slicing = False
        self._behind = 0
        self._caught_up: asyncio.Future[None] | None = None
        # From the commit to the last write, of one event in each batch that was stored.
        self.lags = Histogram(unit=0.000_5, bounds=15)

    # Coming and going

    def enter(self, listener: Listener) -> None:
        """Let a connection hear its person's own room."""
        self._people.setdefault(listener.user_id, {})[listener.id] = listener
        self._seats[listener] = {}

    def leave(self, listener: Listener) -> list[str]:
        """Take a connection out of everything; return the conversations nobody here hears now."""
        emptied = []
        for conversation_id, room in self._seats.pop(listener, {}).items():
            room.leave(listener)
            if room.is_empty:
                del self._rooms[conversation_id]
                emptied.append(conversation_id)
        devices = self._people.get(listener.user_id, {})
        devices.pop(listener.id, None)
        if not devices:
            self._people.pop(listener.user_id, None)
        return emptied

    def seat(self, listener: Listener, conversation_id: str) -> None:
        """Let a connection hear a conversation; naming it again makes it the most recent."""
        self.seat_all(listener, (conversation_id,))

    def seat_all(self, listener: Listener, conversation_ids: Iterable[str]) -> None:
        """Do the same for several, the most wanted last."""
        seats, rooms = self._seats.get(listener), self._rooms
        if seats is None:
            return
        for conversation_id in filter(listener.may_hear, conversation_ids):
            room = rooms.get(conversation_id)
            if room is None:
                room = rooms[conversation_id] = Audience(conversation_id)
            seats.pop(conversation_id, None)
            # The room's own text, which all its seats share.
            seats[room.conversation_id] = room
            room.join(listener)

    def unseat(self, listener: Listener, conversation_id: str) -> bool:
        """Stop a connection from hearing a conversation, after what was said until now.

        Returns whether nobody hears it now.
        """
        room = self._seats.get(listener, {}).pop(conversation_id, None)
        if room is None:
            return False
        owed = room.leave(listener)
        if owed:
            listener.take(owed)
        return self._vacate(room)

    def _vacate(self, room: Audience) -> bool:
        """Forget a room that nobody is left in; return whether it is one.

        What waits in it still takes off, to nobody.
        """
        if not room.is_empty:
            return False
        del self._rooms[room.conversation_id]
        return True

    def quicken(self, listener: Listener, conversation_ids: Iterable[str] | None = None) -> None:
        """Write straight to a connection again, in some of its conversations or in all."""
        seats = self._seats.get(listener, {})
        if conversation_ids is None:
            rooms = list(seats.values())
        else:
            rooms = [seats[id_] for id_ in conversation_ids if id_ in seats]
        for room in rooms:
            room.quicken(listener)

    def slow(self, listener: Listener) -> None:
        """Hand each frame to a connection that cannot just be written to any more."""
        for room in list(self._seats.get(listener, {}).values()):
            owed = room.slow(listener)
            if owed:
                listener.take(owed)

    # Looking

    def seats_of(self, listener: Listener) -> list[str]:
        """Return the conversations a connection hears, the least recently named first."""
        return list(self._seats.get(listener, ()))

    def everybody(self) -> list[Listener]:
        """Return all connections."""
        return list(self._seats)

    def devices_of(self, user_id: str) -> list[Listener]:
        """Return a person's connections."""
        return list(self._people.get(user_id, {}).values())

    def hears(self, listener: Listener, conversation_id: str) -> bool:
        """Return whether a connection hears a conversation."""
        return conversation_id in self._seats.get(listener, ())

    def listeners_of(self, conversation_id: str) -> list[Listener]:
        """Return the connections that hear a conversation."""
        room = self._rooms.get(conversation_id)
        return [] if room is None else room.listeners()

    def is_heard(self, conversation_id: str) -> bool:
        """Return whether anybody here hears a conversation."""
        return conversation_id in self._rooms

    def withdraw(self, listener: Listener) -> Sequence[Frame]:
        """Return what a connection's rooms owe it, which it will not be written again.

        Asked before it is told anything else: whatever was said before an answer is heard before.
        """
        if not self._owing:
            return ()
        seats = self._seats.get(listener, {})
        if len(seats) < len(self._owing):
            rooms = [room for room in seats.values() if room in self._owing]
        else:
            rooms = [room for room in self._owing if room.conversation_id in seats]
        return [frame for room in rooms for frame in room.withdraw(listener)]

    # Telling

    def to_person(self, user_id: str, frame: Frame, number: int | None) -> None:
        """Hand a frame to all of a person's devices."""
        for listener in self.devices_of(user_id):
            listener.hear(frame, conversation="", number=number)

    def to_conversation(self, conversation_id: str, frame: Frame, number: int | None) -> None:
        """Hand a frame to everybody who hears a conversation."""
        room = self._rooms.get(conversation_id)
        if room is None:
            return
        # As they are now: being written to may make one careful, and being handed this direct.
        careful = tuple(room.careful)
        if room.has_direct():
            self._write(room, frame)
        for listener in careful:
            listener.hear(frame, conversation=conversation_id, number=number)

    def _write(self, room: Audience, frame: Frame) -> None:
        """Write a frame at once if the room is quiet, else let it wait."""
        if room.owes():
            self._wait(room, frame)
            return
        now = self._loop.time()
        if now < room.rested_at:
            self._wait(room, frame)
            room.timer = self._loop.call_at(room.rested_at, self._rested, room)
        elif room.count_direct() > FEW:
            self._wait(room, frame)
            self._queue(room)
        else:
            room.write(frame)
            room.rested_at = now + self._coalesce_s

    def _wait(self, room: Audience, frame: Frame) -> None:
        room.wait(frame)
        self._owing[room] = None
        self._behind += frame.size
        if room.waiting_bytes > JOINED_BYTES and room.timer is not None:
            room.timer.cancel()
            self._rested(room)

    # Batches

    def _rested(self, room: Audience) -> None:
        room.timer = None
        self._queue(room)

    def _queue(self, room: Audience) -> None:
        """Let a room's batch take off as soon as it is its turn."""
        self._line.append(room)
        self._slice_soon()

    def _slice_soon(self) -> None:
        if not self._is_slicing:
            self._is_slicing = True
            self._loop.call_soon(self._slice)

    def _slice(self) -> None:
        """Write batches for a while, each in its turn."""
        self._is_slicing = False
        # What a batch sends goes past what is written otherwise.
        self._turn.end()
        until = self._loop.time() + SLICE_S
        while self._line:
            room = self._line.popleft()
            flight = room.flight or room.take_off()
            if not flight.go_on(self._loop.time, until):
                self._line.append(room)
                self._slice_soon()
                return
            self._land(room, flight)

    def _land(self, room: Audience, flight: Flight[Listener]) -> None:
        """Let a room rest whose batch has been written; what waits already goes after that."""
        room.flight = None
        now = self._loop.time()
        room.rested_at = now + self._coalesce_s
        if flight.since:
            self.lags.add(now - flight.since)
        self._catch_up(flight.size)
        if not room.waiting:
            self._owing.pop(room, None)
        elif room.waiting_bytes > JOINED_BYTES:
            self._queue(room)
        else:
            room.timer = self._loop.call_at(room.rested_at, self._rested, room)

    def measure(self, conversation_id: str, since: float) -> None:
        """Note how long it takes from `since` until all that was said in a room is written."""
        room = self._rooms.get(conversation_id)
        if room is None:
            return
        if room.waiting:
            room.since = room.since or since
        elif room.flight is not None:
            room.flight.since = room.flight.since or since
        else:
            self.lags.add(self._loop.time() - since)

    # Falling behind

    @property
    def behind_bytes(self) -> int:
        """Return how much waits to be written."""
        return self._behind

    @property
    def rooms(self) -> int:
        """Return how many conversations somebody here hears."""
        return len(self._rooms)

    @property
    def people(self) -> int:
        """Return how many people are connected here."""
        return len(self._people)

    @property
    def is_behind(self) -> bool:
        """Return whether so much waits to be written that nobody should add to it."""
        return self._behind > BEHIND_BYTES

    async def room(self) -> None:
        """Wait until less waits to be written."""
        while self.is_behind:
            if self._caught_up is None:
                self._caught_up = self._loop.create_future()
            await asyncio.shield(self._caught_up)

    def _catch_up(self, size: int) -> None:
        self._behind -= size
        if self._caught_up is not None and not self.is_behind:
            self._caught_up.set_result(None)
            self._caught_up = None
