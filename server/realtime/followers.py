"""Who is told of whose presence: connections that subscribed, as long as they may see the person.

Changes are collected for a moment. Then the database says, for all pairs of them at once, who may
see whom, and each connection is told what has changed for it. So nobody's right to see somebody is
remembered here, and whoever lost it hears nothing any more but that the person is offline, which is
what asking again would answer.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from server.actions import presence
from server.actions.presence import Look, Seen
from server.clock import to_text
from server.config import Settings
from server.errors import ValidationFailedError
from server.logs import get_logger
from server.permissions import Caller
from server.realtime import frames
from server.realtime.audience import Listener
from server.realtime.board import Board, Sight
from server.realtime.hub import Hub
from server.schemas.values import PresenceStatus

if TYPE_CHECKING:
    from server.realtime.frames import Frame

COLLECT_S = 0.05
"""How long changes are collected before they are told."""

REST_S = 1.0
"""After a change was told, how long the next one of the same person waits: nobody who comes and
goes all the time makes more of it for those who follow them."""

_PATIENT_S = 0.2
_AGAIN_S = 1.0
_AT_ONCE = 250
"""After telling so many, others get their turn."""

log = get_logger(__name__)


class View(NamedTuple):
    """A person as somebody sees them."""

    status: PresenceStatus
    last_active_at: int | None = None

    def of(self, user_id: str) -> dict[str, Any]:
        """Return it as it is said."""
        at = self.last_active_at
        return {
            "user_id": user_id,
            "status": self.status.value,
            "last_active_at": None if at is None else to_text(at),
        }


class Follower(Listener, Protocol):
    """A connection that may be told of people."""

    @property
    def caller(self) -> Caller:
        """Return who looks."""


class Followers:
    """The subscriptions of this node's connections."""

    def __init__(self, settings: Settings, board: Board, hub: Hub) -> None:
        """Tell of what stands on a board."""
        self._settings = settings
        self._board = board
        self._hub = hub
        # By person, who is told of them, and what they were told last; None while they are asking.
        self._followers: dict[str, dict[Follower, View | None]] = {}
        self._followed: dict[Follower, set[str]] = {}
        # Whom to look at again; who is to look again at everybody they follow.
        self._changed: dict[str, None] = {}
        self._looking: dict[Follower, None] = {}
        self._rested: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        board.listen(self._look_at)

    # Subscribing

    async def follow(self, follower: Follower, user_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Tell a connection of people from now on; return how they are now."""
        named = list(dict.fromkeys(user_ids))
        followed = self._followed.get(follower, set())
        new = [id_ for id_ in named if id_ not in followed]
        most = self._settings.limits.presence_subscriptions
        if len(followed) + len(new) > most:
            raise ValidationFailedError.of(
                "user_ids", f"make more than {most} people that this connection is subscribed to"
            )
        self._followed.setdefault(follower, followed).update(new)
        told = {id_: self._followers[id_][follower] for id_ in named if id_ not in new}
        for id_ in named:
            self._followers.setdefault(id_, {})[follower] = None
        try:
            await self._board.follow(new)
            views = await self._see([(id_, follower) for id_ in named])
        except BaseException:
            self.unfollow(follower, new)
            self._note(follower, told)
            raise
        self._note(follower, {id_: view for (id_, _), view in views.items()})
        return [views[id_, follower].of(id_) for id_ in named]

    def _note(self, follower: Follower, told: Mapping[str, View | None]) -> None:
        """Note what a connection was told last, of those whom it has not let go meanwhile."""
        for id_, view in told.items():
            if follower in self._followers.get(id_, ()):
                self._followers[id_][follower] = view

    def unfollow(self, follower: Follower, user_ids: Iterable[str]) -> None:
        """Tell a connection of these people no more."""
        followed = self._followed.get(follower, set())
        left = []
        for id_ in followed.intersection(user_ids):
            followers = self._followers[id_]
            del followers[follower]
            if not followers:
                del self._followers[id_]
                left.append(id_)
        followed.difference_update(user_ids)
        if not followed:
            self._followed.pop(follower, None)
        self._board.unfollow(left)

    def gone(self, follower: Follower) -> None:
        """Forget a connection that has ended."""
        self._looking.pop(follower, None)
        if follower in self._followed:
            self.unfollow(follower, tuple(self._followed[follower]))

    # What may have changed

    def _look_at(self, user_id: str) -> None:
        """Look at a person again, if anybody here is told of them."""
        if user_id in self._followers:
            self._changed[user_id] = None
            self._tell_in(COLLECT_S)

    def moved(self, user_id: str) -> None:
        """Learn that a person came into a conversation or went out of one."""
        self._board.again(user_id)
        for device in self._hub.devices_of(user_id):
            if device in self._followed:
                self._looking[device] = None
                self._tell_in(COLLECT_S)

    def _tell_in(self, seconds: float) -> None:
        if self._timer is None and (self._telling is None or self._telling.done()):
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    # Telling

    async def _tell(self) -> None:
        """Tell what has changed; what cannot be looked up now is looked up later."""
        changed, looking = self._due(), tuple(self._looking)
        self._looking = {}
        pairs = {(id_, one): None for id_ in changed for one in self._followers.get(id_, ())}
        pairs |= {(id_, one): None for one in looking for id_ in self._followed.get(one, ())}
        wait = COLLECT_S if pairs else _PATIENT_S
        try:
            # What stands on the board now is told to who may see it then, and not the other way.
            await self._tell_all(await self._see(pairs))
        except Exception as error:  # noqa: BLE001 (it is tried again)
            log.warning("presence must wait", error=str(error))
            self._changed.update(dict.fromkeys(changed))
            self._looking.update(dict.fromkeys(one for one in looking if one in self._followed))
            wait = _AGAIN_S
        self._telling = None
        if self._changed or self._looking:
            self._tell_in(wait)

    def _due(self) -> list[str]:
        """Take those who have changed, but for those of whom it was told a moment ago."""
        now = asyncio.get_running_loop().time()
        self._rested = {id_: at for id_, at in self._rested.items() if at > now}
        due = [id_ for id_ in self._changed if id_ not in self._rested]
        for id_ in due:
            del self._changed[id_]
        return due

    async def _tell_all(self, views: dict[tuple[str, Follower], View]) -> None:
        made: dict[tuple[str, View], Frame] = {}
        rested_at = asyncio.get_running_loop().time() + REST_S
        for count, ((id_, follower), view) in enumerate(views.items(), 1):
            followers = self._followers.get(id_, {})
            if follower not in followers:
                continue
            told = followers[follower]
            if told is None:
                # They are asking, and what they are answered may be older than this.
                self._changed[id_] = None
            elif told != view:
                followers[follower] = view
                self._rested[id_] = rested_at
                frame = made.get((id_, view))
                if frame is None:
                    frame = made[id_, view] = frames.hint("presence:changed", view.of(id_))
                follower.hear(frame, conversation="", number=None)
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _see(
        self, pairs: Collection[tuple[str, Follower]]
    ) -> dict[tuple[str, Follower], View]:
        """Return how each of these people is for each of these connections."""
        sights = {id_: self._board.look(id_) for id_, _ in pairs}
        looks = {(id_, one): self._look(one, id_) for id_, one in pairs}
        seen = await presence.seen(list(dict.fromkeys(looks.values())))
        return {
            (id_, one): _view(sights[id_], seen.get(look), own=one.user_id == id_)
            for (id_, one), look in looks.items()
        }

    def _look(self, follower: Follower, user_id: str) -> Look:
        seats = len(self._hub.seats_of(follower))
        return presence.look(follower.caller, self._settings, user_id, seats=seats)

    def close(self) -> None:
        """Tell nobody anything any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._telling is not None:
            self._telling.cancel()


def _view(sight: Sight | None, seen: Seen | None, *, own: bool) -> View:
    """Return how a person is for somebody who found this of them."""
    if seen is None:
        return View(PresenceStatus.OFFLINE)
    if seen.is_invisible and own:
        return View(PresenceStatus.INVISIBLE)
    if seen.is_invisible or sight is None:
        return View(PresenceStatus.OFFLINE, seen.last_active_at)
    if sight.is_active:
        return View(PresenceStatus.ACTIVE)
    return View(PresenceStatus.AWAY, sight.away_since)
