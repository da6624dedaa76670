"""What the feed knows of one conversation or person: how far it is, and what came before its turn.

A line knows the last number it delivered. The next number is delivered, a lower one is a duplicate,
and behind a higher one something is missing.
"""

import asyncio
from collections.abc import Callable, Iterable

from server.events import Event, Room
from server.realtime.bus import Bus


class Line:
    """One conversation's or person's events on their way out, in order."""

    __slots__ = (
        "began",
        "coming",
        "early",
        "going",
        "is_stale",
        "known",
        "moved",
        "position",
        "room",
        "said",
        "target",
        "timer",
    )

    def __init__(self, room: Room, target: str) -> None:
        """Begin without knowing after which number."""
        self.room = room
        self.target = target
        # The last number that was delivered; none as long as nobody has read where to begin.
        self.position: int | None = None
        # After which number it began to deliver.
        self.began: int | None = None
        # Higher numbers that came early, and the highest number known to exist.
        self.early: dict[int, Event] = {}
        self.known = 0
        # The message that the last event was about: its number cannot be another one's.
        self.said = ""
        self.timer: asyncio.TimerHandle | None = None
        # Whether it waits for the database, or is being read from there.
        self.is_stale = False
        # The number of the last change of seats, by person.
        self.moved: dict[str, int] = {}
        # Who is known to go, and to come, at a number that has not been delivered yet.
        self.going: dict[str, int] = {}
        self.coming: dict[str, int] = {}

    @property
    def is_behind(self) -> bool:
        """Return whether something is known to exist that was not delivered."""
        return self.position is not None and self.known > self.position

    def begin(self, number: int) -> None:
        """Begin to deliver after a number, unless it has begun."""
        if self.position is None:
            self.position = self.began = number

    def pass_by(self, event: Event, number: int) -> None:
        """Stand at an event that is being delivered."""
        self.position, self.said = number, event.about

    def stand_at(self, number: int) -> None:
        """Stand at a number, whatever happened on the way, unless the line is further."""
        if self.position is None or number > self.position:
            self.position, self.said = number, ""

    def is_denied_by(self, event: Event) -> bool:
        """Return whether an event has the number of the last one and is about another message."""
        is_last = event.number is not None and event.number == self.position
        return is_last and bool(self.said) and event.about not in ("", self.said)

    def take(self, event: Event, number: int) -> None:
        """Keep an event for its turn."""
        self.early[number] = event
        self.known = max(self.known, number)

    def next(self) -> Event | None:
        """Return what is next, if it is here."""
        return None if self.position is None else self.early.pop(self.position + 1, None)

    def expect_after(self, number: int) -> None:
        """Expect nobody any more who was to come up to a number."""
        self.coming = {id_: at for id_, at in self.coming.items() if at > number}

    def forget_old(self) -> None:
        """Drop what came early and has been delivered otherwise."""
        for number in [number for number in self.early if number <= (self.position or 0)]:
            del self.early[number]

    def wait(self, seconds: float, then: Callable[["Line"], None]) -> None:
        """Let something happen later, unless that is arranged already."""
        if self.timer is None and not self.is_stale:
            self.timer = asyncio.get_running_loop().call_later(seconds, then, self)

    def close(self) -> None:
        """Wait for nothing any more."""
        if self.timer is not None:
            self.timer.cancel()


class Lines:
    """All lines of this node, by conversation and by person; with a line its channel is left."""

    def __init__(self, bus: Bus) -> None:
        """Begin with none."""
        self._bus = bus
        self.conversations: dict[str, Line] = {}
        self.people: dict[str, Line] = {}

    def all(self) -> list[Line]:
        """Return all lines."""
        return [*self.conversations.values(), *self.people.values()]

    def of(self, room: Room) -> dict[str, Line]:
        """Return the lines of one kind of room."""
        return self.conversations if room is Room.CONVERSATION else self.people

    def is_current(self, line: Line) -> bool:
        """Return whether a line is still the one of its conversation or person."""
        return self.of(line.room).get(line.target) is line

    def conversation(self, conversation_id: str) -> Line:
        """Return the line of a conversation, which is made if there is none."""
        line = self.conversations.get(conversation_id)
        if line is None:
            line = self.conversations[conversation_id] = Line(Room.CONVERSATION, conversation_id)
        return line

    def of_conversations(self, conversation_ids: Iterable[str]) -> list[Line]:
        """Return the lines of several, of which those are made that are not there."""
        lines, found = self.conversations, list[Line]()
        for id_ in conversation_ids:
            line = lines.get(id_)
            if line is None:
                line = lines[id_] = Line(Room.CONVERSATION, id_)
            found.append(line)
        return found

    def person(self, user_id: str) -> Line:
        """Return the line of a person, which is made if there is none."""
        line = self.people.get(user_id)
        if line is None:
            line = self.people[user_id] = Line(Room.USER, user_id)
        return line

    def drop(self, room: Room, targets: Iterable[str]) -> None:
        """Forget lines, where there are any."""
        lines, dropped = self.of(room), list[str]()
        for target in targets:
            line = lines.pop(target, None)
            if line is not None:
                line.close()
                dropped.append(target)
        self._bus.leave(room, dropped)

    def start_over(self) -> None:
        """Forget how far any of them was; only people keep a line, a new one."""
        self.close()
        self.drop(Room.CONVERSATION, list(self.conversations))
        for user_id in self.people:
            self.people[user_id] = Line(Room.USER, user_id)

    def close(self) -> None:
        """Let none of them wait any more."""
        for line in self.all():
            line.close()
