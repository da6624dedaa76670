"""Who is there on this node: connections come and go, fall quiet, and say how they are.

Looking at the clock with each request would cost all of them. Instead a connection that was active
a moment ago is left alone; then it is asked to tell of its next request, and only if none comes for
the rest of `presence_away_s` it is away. So that time is kept to a tenth.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from server.actions import presence
from server.clock import now_ms
from server.config import Settings
from server.logs import get_logger
from server.realtime.audience import Listener
from server.realtime.board import Board, Sight, best
from server.realtime.followers import Follower, Followers
from server.realtime.hub import Hub
from server.realtime.wheel import Wheel
from server.schemas.values import OwnStatus

PARTED_S = 1.5
"""How long after their last connection somebody is still there: a page is loaded again, a network
changed, in less."""

_LEFT_ALONE = 0.1
_AGAIN_S = 1.0
_LAST_S = 1.0
_BY_ITSELF = frozenset(
    {
        *("sync", "auth:refresh", "receipt:delivered"),
        *("presence:subscribe", "presence:unsubscribe", "presence:set"),
    }
)
"""What clients ask for while nobody is looking."""

log = get_logger(__name__)


class Guest(Follower, Protocol):
    """A connection, as far as it shows whether somebody is there."""

    stirred: "Stirred | None"
    """What it calls with the name of its next request, if anything."""


Stirred = Callable[[Guest, object], None]


class Presence:
    """The people who are connected to this node."""

    def __init__(self, settings: Settings, board: Board, hub: Hub) -> None:
        """Vouch for people on a board."""
        self.followers = Followers(settings, board, hub)
        self.board = board
        self._hub = hub
        self._wheel = Wheel()
        away_s = settings.limits.presence_away_s
        # A connection is in one of these two, or away, or it has not come in yet.
        self._lively = self._wheel.lane(away_s * _LEFT_ALONE, self._watch)
        self._quiet = self._wheel.lane(away_s * (1 - _LEFT_ALONE), self._fall_away)
        self._quiet_ms = int(away_s * (1 - _LEFT_ALONE) * 1_000)
        self._away: dict[Listener, int] = {}
        # People whose last connection has ended, with when they were last active: for a moment,
        # then until that is written.
        self._parting = self._wheel.lane(PARTED_S, self._part)
        self._last: dict[str, int] = {}
        self._unwritten: dict[str, int] = {}
        self._writing: asyncio.Task[None] | None = None

    # Coming and going

    def came(self, connection: Guest) -> None:
        """Count a connection that has just come in."""
        self._parting.discard(connection.user_id)
        self._last.pop(connection.user_id, None)
        self._lively.add(connection)
        self._vouch(connection.user_id)

    def gone(self, connection: Guest) -> None:
        """Count a connection no more; the hub has forgotten it already."""
        self.followers.gone(connection)
        was_active = self._take(connection)
        away_since = self._away.pop(connection, None)
        if not was_active and away_since is None:
            return
        connection.stirred = None
        user_id = connection.user_id
        at = now_ms() if away_since is None else away_since
        others = [one for one in self._hub.devices_of(user_id) if one in self._away]
        for other in others:
            self._away[other] = max(self._away[other], at)
        if self._sight(user_id) is None:
            self._last[user_id] = at
            self._parting.add(user_id)
        else:
            self._vouch(user_id)

    def _take(self, connection: Listener) -> bool:
        """Let nothing become of a connection's silence; return whether it was active."""
        return self._lively.discard(connection) or self._quiet.discard(connection)

    # Being active

    def _watch(self, connection: Listener) -> None:
        """Ask a connection that was left alone to tell of its next request."""
        cast("Guest", connection).stirred = self._stir
        self._quiet.add(connection)

    def _stir(self, connection: Guest, request: object) -> None:
        """Learn of a request, and leave the connection alone for a while if somebody made it."""
        if request in _BY_ITSELF:
            return
        self._be_active(connection)

    def _fall_away(self, connection: Listener) -> None:
        self._away[connection] = now_ms() - self._quiet_ms
        self._vouch(connection.user_id)

    def _be_active(self, connection: Guest) -> None:
        connection.stirred = None
        self._take(connection)
        self._away.pop(connection, None)
        self._lively.add(connection)
        self._vouch(connection.user_id)

    def appear(self, connection: Guest, status: OwnStatus) -> None:
        """Learn what a person says of themselves: `away` is so until this connection says else."""
        is_here = (
            connection in self._away or connection in self._lively or connection in self._quiet
        )
        if is_here and status is OwnStatus.ACTIVE:
            self._be_active(connection)
        elif is_here and status is OwnStatus.AWAY:
            self._take(connection)
            connection.stirred = None
            self._away[connection] = now_ms()
            self._vouch(connection.user_id)
        self.board.again(connection.user_id)

    # Vouching

    def _vouch(self, user_id: str) -> None:
        sight = self._sight(user_id)
        if sight is not None:
            self.board.vouch(user_id, sight)

    def _sight(self, user_id: str) -> Sight | None:
        """Return how a person is on this node."""
        sights = []
        for one in self._hub.devices_of(user_id):
            if one in self._lively or one in self._quiet:
                return Sight()
            if one in self._away:
                sights.append(Sight(self._away[one]))
        return best(sights)

    # Parting

    def _part(self, user_id: str) -> None:
        """Let somebody be gone who did not come back."""
        self._unwritten[user_id] = self._last.pop(user_id)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write when people were last there, then say that they are not: who looks finds both."""
        while self._unwritten:
            parted = dict(self._unwritten)
            is_written = await _noted(parted)
            for user_id, at in parted.items():
                if self._sight(user_id) is None and user_id not in self._last:
                    self.board.vouch(user_id, None)
                if is_written and self._unwritten[user_id] == at:
                    del self._unwritten[user_id]
            if not is_written:
                await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Write what is left, and stop."""
        self.followers.close()
        self._wheel.stop()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
        left = {**self._unwritten, **self._last}
        if left:
            with suppress(TimeoutError):
                await asyncio.wait_for(_noted(left), _LAST_S)
        await self.board.close()


async def _noted(last_active: dict[str, int]) -> bool:
    try:
        await presence.note(last_active)
    except Exception as error:  # noqa: BLE001 (it is tried again)
        log.warning("when people were last there must wait", error=str(error))
        return False
    return True
