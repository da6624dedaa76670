"""One timer for many: lanes of a fixed length, in which whoever came first is due first."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_TICK_S = 0.02
"""How close together two turns may be, so that many who are due are one turn's work."""

_AT_ONCE = 250
"""Of how many a lane takes care before others have a turn."""


class Lane(Generic[T]):
    """Those who are due a fixed time after they were added."""

    __slots__ = ("_due", "_items", "_seconds", "_wheel")

    def __init__(self, wheel: "Wheel", seconds: float, due: Callable[[T], object]) -> None:
        """Call `due` with each of them, who has left the lane by then; only `Wheel.lane` does."""
        self._wheel = wheel
        self._seconds = seconds
        self._due = due
        self._items: dict[T, float] = {}

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Let somebody be due from now on in the lane's time; who is in it already begins anew."""
        items = self._items
        items.pop(item, None)
        at = self._wheel.now() + self._seconds
        if not items or not self._wheel.is_set:
            self._wheel.turn_by(at)
        # Else it turns for whoever came before, and then knows of this one.
        items[item] = at

    def discard(self, item: T) -> bool:
        """Let somebody not be due any more; return whether they were in the lane."""
        return self._items.pop(item, None) is not None

    def first(self) -> float | None:
        """Return when the next of them is due."""
        return next(iter(self._items.values()), None)

    def turn(self, now: float) -> None:
        """Take care of those who are due."""
        due: list[T] = []
        for item, at in self._items.items():
            if at > now or len(due) == _AT_ONCE:
                break
            due.append(item)
        for item in due:
            # Whoever was before may have taken this one out.
            if self._items.pop(item, None) is not None:
                self._due(item)


class Wheel:
    """The timer; it runs only while somebody is in a lane. Times are those of the event loop."""

    def __init__(self) -> None:
        """Begin without lanes."""
        self._lanes: list[Lane[object]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0

    def lane(self, seconds: float, due: Callable[[T], object]) -> Lane[T]:
        """Return a new lane."""
        lane: Lane[T] = Lane(self, seconds, due)
        self._lanes.append(lane)  # type: ignore[arg-type]  # what is in a lane goes to its own `due`
        return lane

    @property
    def is_set(self) -> bool:
        """Return whether it turns again by itself."""
        return self._timer is not None

    def now(self) -> float:
        """Return the time."""
        return asyncio.get_running_loop().time()

    def turn_by(self, at: float) -> None:
        """Turn not later than this."""
        at = max(at, self._last + _TICK_S)
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._turn)

    def _turn(self) -> None:
        self._timer = None
        self._last = now = self.now()
        for lane in self._lanes:
            lane.turn(now)
        firsts = [first for lane in self._lanes if (first := lane.first()) is not None]
        if firsts:
            self.turn_by(min(firsts))

    def stop(self) -> None:
        """Forget the timer; whoever is in a lane is not taken care of any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
