"""Who is preparing a message: told, never stored."""

from server import events, journal
from server.actions import access
from server.errors import NotFoundError
from server.events import Event, Outcome
from server.permissions import Call, Permission
from server.schemas.requests import TypingStart, TypingStop


@journal.snapshot
async def start(call: Call, request: TypingStart) -> Outcome:
    """Tell the room that the caller is preparing a message; nobody in a large one."""
    expiry = call.settings.limits.typing_expiry_ms
    told = events.typing_started(
        request.conversation_id, call.caller.user_id, request.kind.value, expiry
    )
    return await _tell(call, request, told)


@journal.snapshot
async def stop(call: Call, request: TypingStop) -> Outcome:
    """Tell the room that the caller stopped."""
    told = events.typing_stopped(request.conversation_id, call.caller.user_id, request.kind.value)
    return await _tell(call, request, told)


async def _tell(call: Call, request: TypingStart | TypingStop, told: Event) -> Outcome:
    standing = await access.seen(call, request.conversation_id)
    if standing.member is None:
        raise NotFoundError
    standing.require(Permission.WRITE)
    standing.require_open()
    large = call.settings.limits.broadcast_members < standing.conversation.participants_count
    heard = () if large else (told.by(call.caller.session_id),)
    return Outcome({}, heard)
