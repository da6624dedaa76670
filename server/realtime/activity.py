"""What goes on where a connection does not hear it: told to people in more than `joined`.

Nothing is sent to them for that. Once a second this node looks where something was said in the
conversations of those who are connected to it, which costs nothing while there are none, and costs
a sender nothing ever. Membership and message are read as of one moment.
"""

import asyncio

from server.actions import activity
from server.config import LimitsSettings
from server.logs import get_logger
from server.realtime import frames
from server.realtime.audience import Listener
from server.realtime.hub import Hub

LOOK_EVERY_S = 1.0
"""How often it is looked, and so the least time between two hints about one conversation."""

_TOGETHER = 50
_MOST = 200
"""Of how many conversations a person is told in one look; those who miss it find it in the list."""

log = get_logger(__name__)


class Activity:
    """The connections of this node that do not hear everything their person is in."""

    def __init__(self, limits: LimitsSettings, hub: Hub) -> None:
        """Tell connections of a hub."""
        self._limits = limits
        self._hub = hub
        self._watched: dict[str, set[Listener]] = {}
        # By person and conversation, the last message that was seen; as long as it may be found.
        self._seen: dict[str, dict[str, int]] = {}
        self._looking: asyncio.Task[None] | None = None

    def watch(self, connection: Listener) -> None:
        """Tell a connection from now on of what it does not hear."""
        self._watched.setdefault(connection.user_id, set()).add(connection)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_on())

    def forget(self, connection: Listener) -> None:
        """Tell a connection nothing any more."""
        watched = self._watched.get(connection.user_id)
        if watched is None:
            return
        watched.discard(connection)
        if not watched:
            del self._watched[connection.user_id]
            self._seen.pop(connection.user_id, None)

    async def _look_on(self) -> None:
        """Look every second until nobody is left; the first look finds where everything stands."""
        while self._watched:
            people = list(self._watched)
            for start in range(0, len(people), _TOGETHER):
                try:
                    await self._look(people[start : start + _TOGETHER])
                except Exception as error:  # noqa: BLE001 (the next look is soon)
                    log.warning("activity cannot be seen", error=str(error))
            await asyncio.sleep(LOOK_EVERY_S)
        self._looking = None

    async def _look(self, people: list[str]) -> None:
        most = self._limits.joined + _MOST
        found: dict[str, dict[str, int]] = {user_id: {} for user_id in people}
        for row in await activity.stirred(people, most=most):
            found[row["user_id"]][row["conversation_id"]] = row["last_seq"]
        for user_id, stirred in found.items():
            if user_id not in self._watched:
                continue
            seen = self._seen.get(user_id)
            self._seen[user_id] = stirred
            if seen is not None:
                news = [id_ for id_, last_seq in stirred.items() if last_seq > seen.get(id_, 0)]
                await self._tell(user_id, news)

    async def _tell(self, user_id: str, conversation_ids: list[str]) -> None:
        unheard = [id_ for id_ in conversation_ids if self._deaf(user_id, id_)][:_MOST]
        if not unheard:
            return
        for told in await activity.previews(user_id, unheard):
            frame = frames.hint("conversation:activity", told)
            for connection in self._deaf(user_id, told["conversation_id"]):
                connection.hear(frame, conversation="", number=None)

    def _deaf(self, user_id: str, conversation_id: str) -> list[Listener]:
        """Return the connections of a person that do not hear a conversation but might."""
        return [
            one
            for one in self._watched.get(user_id, ())
            if one.may_hear(conversation_id) and not self._hub.hears(one, conversation_id)
        ]

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
