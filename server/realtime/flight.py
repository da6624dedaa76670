"""A batch of frames on its way to those who were to hear it when it took off.

It is written in slices: between two of them everything else goes on, and anybody may leave. Who
leaves is given the rest of the batch as frames and is written nothing more.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from typing import Generic, Protocol, TypeVar

from server.logs import get_logger
from server.realtime import frames
from server.realtime.frames import Door, Frame

Send = Callable[[bytes], int]
"""How bytes reach one client at once: the socket's own `send`, which may take only some of them."""

WRITES_BETWEEN_LOOKS = 64
"""How many writes are made before the clock is looked at."""

BYTES_BETWEEN_LOOKS = 262_144
"""About how many bytes the kernel takes before the clock is looked at."""

ListenerT = TypeVar("ListenerT")

log = get_logger(__name__)


# Stands in for somebody who has left: it takes everything.
_nowhere: Send = len


class Outlet(Protocol):
    """Where bytes for one client are just written, as long as nothing waits to be sent to it."""

    @property
    def send(self) -> Send:
        """Return what sends at once, past `write`; what it leaves behind is for `rest`."""

    def write(self, frames: bytes) -> None:
        """Send whole frames with what else is written in this turn of the loop."""

    def rest(self, frames: bytes, taken: int) -> None:
        """Send what `send` left of some frames."""


class Order(Generic[ListenerT]):
    """Listeners behind one door in an order that stays while nobody comes or goes."""

    __slots__ = ("_listeners", "_places", "outlets", "sends")

    def __init__(self, outlets: Mapping[ListenerT, Outlet]) -> None:
        """Take listeners, and where to write to each."""
        self._listeners = list(outlets)
        self._places: dict[ListenerT, int] | None = None
        self.outlets = list(outlets.values())
        self.sends: list[Send] = [outlet.send for outlet in self.outlets]

    def place_of(self, listener: ListenerT) -> int | None:
        """Return the place of a listener, if it has one."""
        if self._places is None:
            # Once for many batches: this looks at each listener.
            self._places = dict(zip(self._listeners, range(len(self._listeners)), strict=True))
        return self._places.get(listener)


class Group(Generic[ListenerT]):
    """Those behind one door who are to hear the same frames."""

    __slots__ = ("_order", "door", "sends")

    def __init__(self, door: Door, order: Order[ListenerT]) -> None:
        """Take listeners in their order."""
        self.door = door
        self.sends = order.sends.copy()
        self._order = order

    def withdraw(self, listener: ListenerT) -> int | None:
        """Write nothing more to a listener; return its place, if it had one still."""
        place = self._order.place_of(listener)
        if place is None or self.sends[place] is _nowhere:
            return None
        self.sends[place] = _nowhere
        return place

    def send(self, some: Iterator[Send], rest: Iterator[Send], data: bytes) -> None:
        """Send the same bytes to some of these, who are the next of the `rest`."""
        size = len(data)
        while True:
            taken = 0
            try:
                for send in some:
                    taken = send(data)
                    if taken != size:
                        break
                else:
                    return
            except OSError:
                # The kernel has no room for it, or the connection broke: its transport knows.
                taken = 0
            place = len(self.sends) - length_hint(rest) - 1
            self._finish(place, data, taken)

    def _finish(self, place: int, data: bytes, taken: int) -> None:
        """Leave to a transport what its socket did not take; that stops nobody else."""
        try:
            self._order.outlets[place].rest(data, taken)
        except Exception:
            log.exception("a connection could not be written to")


@dataclass(frozen=True, slots=True)
class _Leg(Generic[ListenerT]):
    """What is written with one write to each of a group."""

    group: Group[ListenerT]
    frames: list[Frame]


class Flight(Generic[ListenerT]):
    """Frames on their way to groups of listeners."""

    __slots__ = ("_alone", "_data", "_legs", "_level", "_rest", "since", "size")

    def __init__(
        self,
        level: Mapping[Door, Group[ListenerT]],
        alone: Mapping[ListenerT, tuple[Group[ListenerT], list[Frame]]],
        batch: list[Frame],
    ) -> None:
        """Send the batch to the groups behind each door, and to some listeners what they lack."""
        self.size = sum(frame.size for frame in batch)
        # When the first of it was stored, if somebody wants to know how long it took.
        self.since = 0.0
        self._level = level
        self._alone = alone
        parts = [(group, batch) for group in level.values()] + list(alone.values())
        self._legs = deque(_Leg(group, run) for group, part in parts for run in frames.runs(part))
        # Of the leg in progress: its bytes, and those it has not been written to.
        self._data = b""
        self._rest: Iterator[Send] | None = None

    def go_on(self, clock: Callable[[], float], until: float) -> bool:
        """Write until it is that late or all is written; return whether all is."""
        while self._legs:
            leg = self._legs[0]
            if self._rest is None:
                self._data = frames.joined(leg.frames, leg.group.door)
                self._rest = iter(leg.group.sends)
            if not self._send(leg.group, self._rest, clock, until):
                return False
            self._legs.popleft()
            self._rest = None
        return True

    def _send(
        self,
        group: Group[ListenerT],
        rest: Iterator[Send],
        clock: Callable[[], float],
        until: float,
    ) -> bool:
        data = self._data
        looks_after = max(1, min(WRITES_BETWEEN_LOOKS, BYTES_BETWEEN_LOOKS // len(data)))
        while length_hint(rest):
            if clock() >= until:
                return False
            group.send(islice(rest, looks_after), rest, data)
        return True

    def withdraw(self, listener: ListenerT, door: Door) -> list[Frame]:
        """Write nothing more to a listener; return the frames that were not written to it.

        Called while the listener is being written to, because that made it slow, this write counts.
        """
        alone = self._alone.get(listener)
        group = self._level.get(door) if alone is None else alone[0]
        place = None if group is None else group.withdraw(listener)
        if place is None:
            return []
        return [
            frame
            for number, leg in enumerate(self._legs)
            if leg.group is group and not (number == 0 and place < self._written(leg))
            for frame in leg.frames
        ]

    def _written(self, leg: _Leg[ListenerT]) -> int:
        """Return how many of the first leg's group were written to."""
        return 0 if self._rest is None else len(leg.group.sends) - length_hint(self._rest)
