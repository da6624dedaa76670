"""Who hears one conversation on this node, and what waits to be written to them.

A listener is *direct* or *careful*. Careful ones, who poll, are slow, connect or wait for a `sync`,
are handed each frame at once and see to the rest themselves. To direct ones the same bytes are
written, and while the conversation is busy, frames wait and are joined. Then this holds:

- All direct listeners are owed all that waits, except the first few frames for those who are
  *ahead*. So a listener may become direct only while nothing waits; until the batch takes off it
  is *hopeful*, and careful.
- A batch that takes off has its recipients with it (`Flight`). What is said from then on waits for
  the next, so two batches of one conversation are never on their way together.
- A direct listener that leaves, turns careful, or is about to be told something else is given what
  it is owed at once, and is written none of it again.

Hence a removal closes nothing: the removed person's devices are given everything up to the removal
when they lose their seat, and what is said next finds them gone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from server.logs import get_logger
from server.realtime.flight import Flight, Group, Order, Outlet
from server.realtime.frames import Door, Frame

if TYPE_CHECKING:
    from asyncio import TimerHandle

log = get_logger(__name__)


class Listener(Protocol):
    """A connection, as far as those who hand frames to it know it."""

    @property
    def id(self) -> str:
        """Return what tells this connection from others."""

    @property
    def user_id(self) -> str:
        """Return whose connection it is."""

    @property
    def door(self) -> Door:
        """Return how its frames are wrapped."""

    def direct(self, conversation_id: str) -> Outlet | None:
        """Return where frames of a conversation are written, if they may be just written."""

    def hear(self, frame: Frame, *, conversation: str, number: int | None) -> None:
        """Take a frame of a conversation (or, with an empty name, of the person's own room)."""

    def take(self, frames: Sequence[Frame]) -> None:
        """Write what was owed, of which it is known that it is for this connection."""

    def may_hear(self, conversation_id: str) -> bool:
        """Return whether this connection may have a seat in a conversation of its person."""

    def admitted(self, conversation_id: str) -> None:
        """Learn that the person came into a conversation while connected."""

    def dismissed(self, conversation_id: str) -> None:
        """Learn that the person is no longer in a conversation, once all of it was heard."""

    @property
    def is_adrift(self) -> bool:
        """Return whether a new epoch took its seats, and it did not ask for others yet."""

    def start_over(self, frame: Frame) -> None:
        """Forget every number because an epoch begins, of which the frame tells."""

    def send_away(self) -> None:
        """End the connection, so that the client comes in again."""


class Audience:
    """The listeners of one conversation."""

    __slots__ = (
        "_ahead",
        "_direct",
        "_hopeful",
        "_orders",
        "careful",
        "conversation_id",
        "flight",
        "rested_at",
        "since",
        "timer",
        "waiting",
        "waiting_bytes",
    )

    def __init__(self, conversation_id: str) -> None:
        """Begin with nobody."""
        self.conversation_id = conversation_id
        self.careful: dict[Listener, None] = {}
        self._direct: dict[Door, dict[Listener, Outlet]] = {}
        # Of the direct ones, as long as nobody comes or goes; made when a batch takes off.
        self._orders: dict[Door, Order[Listener]] | None = None
        self._hopeful: list[Listener] = []
        self.waiting: list[Frame] = []
        self.waiting_bytes = 0
        # How many of the waiting frames a direct listener has been given before the others.
        self._ahead: dict[Listener, int] = {}
        self.flight: Flight[Listener] | None = None
        # Before when no batch takes off, and what wakes the one that waits for that.
        self.rested_at = 0.0
        self.timer: TimerHandle | None = None
        # When something that waits was stored: see `Hub.measure`.
        self.since = 0.0

    @property
    def is_empty(self) -> bool:
        """Return whether nobody listens."""
        return not self.careful and not self._direct

    def has_direct(self) -> bool:
        """Return whether anybody is direct."""
        return bool(self._direct)

    def count_direct(self) -> int:
        """Return how many are direct."""
        return sum(map(len, self._direct.values()))

    def listeners(self) -> list[Listener]:
        """Return all who listen."""
        return [*self.careful, *(one for outlets in self._direct.values() for one in outlets)]

    def owes(self) -> bool:
        """Return whether direct listeners are owed anything."""
        return bool(self.waiting) or self.flight is not None

    # Coming and going

    def join(self, listener: Listener) -> None:
        """Let a listener hear what is said from now on; whoever is here already stays as it is."""
        if self._direct and listener in self._direct.get(listener.door, ()):
            return
        self.careful[listener] = None
        self.quicken(listener)

    def quicken(self, listener: Listener) -> None:
        """Make a careful listener direct, now or as soon as nothing waits, if it can be."""
        outlet = listener.direct(self.conversation_id)
        if outlet is None or listener not in self.careful:
            return
        if self.waiting:
            self._hopeful.append(listener)
            return
        del self.careful[listener]
        if not self.careful:
            # A dict that was large once stays large.
            self.careful = {}
        self._direct.setdefault(listener.door, {})[listener] = outlet
        self._orders = None

    def slow(self, listener: Listener) -> list[Frame]:
        """Make a direct listener careful; return what it is owed."""
        owed = self.leave(listener)
        self.careful[listener] = None
        return owed

    def leave(self, listener: Listener) -> list[Frame]:
        """Forget a listener; return what it is owed."""
        owed = self.withdraw(listener) if self.owes() else []
        if self.careful:
            self.careful.pop(listener, None)
        outlets = self._direct.get(listener.door)
        if outlets is not None and outlets.pop(listener, None) is not None:
            self._ahead.pop(listener, None)
            self._orders = None
            if not outlets:
                del self._direct[listener.door]
        return owed

    def withdraw(self, listener: Listener) -> list[Frame]:
        """Return what a listener is owed, which it will not be written again."""
        owed = [] if self.flight is None else self.flight.withdraw(listener, listener.door)
        if self.waiting and listener in self._direct.get(listener.door, ()):
            owed += self.waiting[self._ahead.get(listener, 0) :]
            self._ahead[listener] = len(self.waiting)
        return owed

    # Writing

    def write(self, frame: Frame) -> None:
        """Write a frame to the direct listeners now."""
        for door, outlets in tuple(self._direct.items()):
            data = frame.wired(door)
            # As they are now: being written to may make one careful.
            for outlet in tuple(outlets.values()):
                try:
                    outlet.write(data)
                except Exception:
                    log.exception("a connection could not be written to")

    def wait(self, frame: Frame) -> None:
        """Let a frame wait for the next batch."""
        self.waiting.append(frame)
        self.waiting_bytes += frame.size

    def take_off(self) -> Flight[Listener]:
        """Begin to write what waits; whoever hoped to be direct is so from the next frame on."""
        batch, ahead = self.waiting, self._ahead
        self.waiting, self.waiting_bytes, self._ahead = [], 0, {}
        if self._orders is None:
            self._orders = {door: Order(outlets) for door, outlets in self._direct.items()}
        level = {door: Group(door, order) for door, order in self._orders.items()}
        for one in ahead:
            level[one.door].withdraw(one)
        alone = {one: (self._alone(one), batch[heard:]) for one, heard in ahead.items()}
        self.flight = Flight(level, alone, batch)
        self.flight.since, self.since = self.since, 0.0
        hopeful, self._hopeful = self._hopeful, []
        for listener in hopeful:
            self.quicken(listener)
        return self.flight

    def _alone(self, listener: Listener) -> Group[Listener]:
        door = listener.door
        return Group(door, Order({listener: self._direct[door][listener]}))
