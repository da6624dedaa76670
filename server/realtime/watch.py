"""Who must say who they are, who must show that they are there, who does not read, who must go.

One timer watches over all connections of a node. A client that answers pings and reads nothing is
found as well: what is unsent must move.
"""

from typing import Protocol

from server.config import Settings
from server.realtime.wheel import Wheel

LAST_WORDS_S = 1.0
"""How long a client has to take what was said before its end."""

_LOOKS = 6
"""How often it is looked whether the unsent bytes of a client move, before it is cut."""


class Watched(Protocol):
    """A connection, as far as it is watched over."""

    @property
    def is_held(self) -> bool:
        """Return whether nothing is read from it now."""

    @property
    def sent(self) -> int:
        """Return a number that grows when it takes something of what is unsent."""

    def ping(self) -> None:
        """Ask the client whether it is there."""

    def late(self) -> None:
        """End the connection of somebody who did not say who they are."""

    def cut(self, why: str) -> None:
        """Cut the connection, and write down why."""

    def abort(self) -> None:
        """Cut the connection of somebody to whom everything was said."""


class Watch:
    """Watches over the connections of a node."""

    def __init__(self, settings: Settings) -> None:
        """Use the times of the settings."""
        realtime = settings.realtime
        self.wheel = Wheel()
        self._strangers = self.wheel.lane(settings.limits.authenticate_s, _late)
        self._quiet = self.wheel.lane(realtime.ping_interval_s, self._ask)
        self._asked = self.wheel.lane(realtime.ping_timeout_s, self._does_not_answer)
        self._slow = self.wheel.lane(realtime.stall_s / _LOOKS, self._look)
        self._leaving = self.wheel.lane(LAST_WORDS_S, _abort)
        # Of slow ones: how much they had taken, and for how many looks.
        self._marks: dict[Watched, tuple[int, int]] = {}

    @property
    def strangers(self) -> int:
        """Return how many have not said who they are."""
        return len(self._strangers)

    @property
    def slow(self) -> int:
        """Return how many do not take what waits for them."""
        return len(self._slow)

    def hurry(self, one: Watched) -> None:
        """Give somebody a few seconds to say who they are."""
        self._strangers.add(one)

    def know(self, one: Watched) -> None:
        """Learn that somebody has said who they are."""
        self._strangers.discard(one)

    def keep(self, one: Watched) -> None:
        """Ping a WebSocket from now on."""
        self._quiet.add(one)

    def answered(self, one: Watched) -> None:
        """Learn that somebody is there."""
        if self._asked.discard(one):
            self._quiet.add(one)

    def slowed(self, one: Watched) -> None:
        """Begin to look whether what is unsent moves."""
        self._marks[one] = (one.sent, 0)
        self._slow.add(one)

    def quickened(self, one: Watched) -> None:
        """Learn that nothing is unsent."""
        self._marks.pop(one, None)
        self._slow.discard(one)

    def leaves(self, one: Watched) -> None:
        """Give somebody to whom everything was said a moment to take it."""
        if one not in self._leaving:
            self._leaving.add(one)

    def forget(self, one: Watched) -> None:
        """Stop watching over somebody who is gone."""
        for lane in (self._strangers, self._quiet, self._asked, self._leaving):
            lane.discard(one)
        self.quickened(one)

    def _ask(self, one: Watched) -> None:
        self._asked.add(one)
        one.ping()

    def _does_not_answer(self, one: Watched) -> None:
        if one.is_held:
            # The answer may be there: it is we who do not read.
            self._asked.add(one)
        else:
            one.cut("it does not answer")

    def _look(self, one: Watched) -> None:
        mark, looks = self._marks[one]
        sent = one.sent
        looks = looks + 1 if sent == mark else 0
        if looks >= _LOOKS:
            self._marks.pop(one)
            one.cut("it does not read")
            return
        self._marks[one] = (sent, looks)
        self._slow.add(one)


def _late(one: Watched) -> None:
    one.late()


def _abort(one: Watched) -> None:
    one.abort()
