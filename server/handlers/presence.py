"""Who is there."""

from server.actions import presence
from server.dispatch import Request
from server.errors import UnauthorizedError
from server.events import Outcome
from server.permissions import Call, Connection
from server.schemas.answers import Presences, StatusAnswer
from server.schemas.requests import PresenceSet, PresenceSubscribe, PresenceUnsubscribe


async def subscribe(call: Call, request: PresenceSubscribe) -> Outcome:
    """Let the connection hear of these people, and say how they are now."""
    return Outcome({"presence": await _connection(call).follow(request.user_ids)})


async def unsubscribe(call: Call, request: PresenceUnsubscribe) -> Outcome:
    """Let the connection hear no more of these people."""
    _connection(call).unfollow(request.user_ids)
    return Outcome({"presence": []})


async def set_own(call: Call, request: PresenceSet) -> Outcome:
    """Let the caller be active or away on this device, or invisible on all."""
    connection = _connection(call)
    status = await presence.choose(call.caller.user_id, request.status)
    connection.appear(request.status)
    return Outcome({"status": status.value})


def _connection(call: Call) -> Connection:
    """Return the connection by which the request came; presence is about nothing else."""
    if call.connection is None:
        raise UnauthorizedError
    return call.connection


REQUESTS = (
    Request("presence:subscribe", PresenceSubscribe, Presences, subscribe),
    Request("presence:unsubscribe", PresenceUnsubscribe, Presences, unsubscribe),
    Request("presence:set", PresenceSet, StatusAnswer, set_own),
)
