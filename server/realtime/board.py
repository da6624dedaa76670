"""Who is there, on all nodes together: what each of them vouches for.

In one process that is a dict. Whether somebody may see it is not decided here.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

Listener = Callable[[str], None]


class Sight(NamedTuple):
    """Somebody is there: active, or away since they were last active."""

    away_since: int | None = None

    @property
    def is_active(self) -> bool:
        """Return whether they are active."""
        return self.away_since is None


class Board(Protocol):
    """What the nodes know of people who are connected to one of them."""

    def vouch(self, user_id: str, sight: Sight | None) -> None:
        """Say how a person is on this node, or that they are not on it any more."""

    def again(self, user_id: str) -> None:
        """Let everybody look at a person again: what is stored of them has changed."""

    async def follow(self, user_ids: Collection[str]) -> None:
        """Begin to learn of people: from here on `look()` is right and listeners are called."""

    def unfollow(self, user_ids: Collection[str]) -> None:
        """Learn no more of people."""

    def look(self, user_id: str) -> Sight | None:
        """Return how a person is, on whichever node, if they are there."""

    def listen(self, listener: Listener) -> None:
        """Let somebody hear of everybody who is, or who is to be looked at again."""

    async def open(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """Vouch for nobody any more, once people have had a moment to come back elsewhere."""


def best(sights: Collection[Sight]) -> Sight | None:
    """Return how a person is who is seen in several places: active beats away, late beats early."""
    if any(sight.is_active for sight in sights):
        return Sight()
    return max(sights, key=lambda sight: sight.away_since or 0, default=None)


class MemoryBoard:
    """The board of an installation that is one process."""

    def __init__(self) -> None:
        """Begin with nobody there."""
        self._sights: dict[str, Sight] = {}
        self._listeners: list[Listener] = []

    def vouch(self, user_id: str, sight: Sight | None) -> None:
        """Say how a person is, or that they are not there any more."""
        if self._sights.get(user_id) == sight:
            return
        if sight is None:
            del self._sights[user_id]
        else:
            self._sights[user_id] = sight
        self.again(user_id)

    def again(self, user_id: str) -> None:
        """Let everybody look at a person again."""
        for listener in self._listeners:
            listener(user_id)

    async def follow(self, user_ids: Collection[str]) -> None:
        """Do nothing: all there is to know is here."""

    def unfollow(self, user_ids: Collection[str]) -> None:
        """Do nothing."""

    def look(self, user_id: str) -> Sight | None:
        """Return how a person is, if they are there."""
        return self._sights.get(user_id)

    def listen(self, listener: Listener) -> None:
        """Let somebody hear of everybody who is to be looked at again."""
        self._listeners.append(listener)

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing: it ends with the process."""
