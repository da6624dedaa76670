"""How an action gets hold of something: through the caller, or not at all.

Whoever holds a `Standing` has passed the check. A conversation that does not exist and one that the
caller is not in are refused by the same line.
"""

from dataclasses import dataclass

from server import journal
from server.errors import ConversationClosedError, ForbiddenError, NotFoundError
from server.models import Conversation, Message, Participant, sql
from server.permissions import Call, Permission, effective, may
from server.schemas.values import ConversationType, MembershipRole


@dataclass(frozen=True, slots=True)
class Standing:
    """A conversation, and what the caller is in it; the embedding backend is no member."""

    call: Call
    conversation: Conversation
    member: Participant | None

    @property
    def role(self) -> MembershipRole | None:
        """Return the caller's role here, or None for the embedding backend."""
        return None if self.member is None else MembershipRole(self.member.role)

    @property
    def rank(self) -> MembershipRole | None:
        """Return the role that counts for rights over others."""
        return None if self.role is None else effective(self.call.caller, self.role)

    def may(self, permission: Permission) -> bool:
        """Return whether the caller's role allows this here."""
        kind = ConversationType(self.conversation.type)
        return may(self.call.caller, self.role, kind, permission)

    def require(self, permission: Permission) -> None:
        """Raise `ForbiddenError` unless the caller's role allows this here."""
        if not self.may(permission):
            raise ForbiddenError

    def require_open(self) -> None:
        """Raise `ConversationClosedError` when nothing can be written any more."""
        if not self.conversation.is_active:
            raise ConversationClosedError


async def locked(call: Call, conversation_id: str) -> Standing:
    """Lock a conversation that the caller is in (or provisions) and return their standing."""
    conversation = await journal.lock_conversation(conversation_id)
    return await standing(call, conversation)


async def seen(call: Call, conversation_id: str) -> Standing:
    """Return the caller's standing without a lock, for what changes no number."""
    conversation = await Conversation.get_or_none(id=conversation_id)
    return await standing(call, conversation)


async def joined(call: Call, conversation_id: str) -> tuple[Conversation, Participant]:
    """Return a conversation and the caller's membership of it, without a lock."""
    found = await seen(call, conversation_id)
    if found.member is None:
        raise NotFoundError
    return found.conversation, found.member


async def standing(call: Call, conversation: Conversation | None) -> Standing:
    """Return what the caller is in a conversation; raises `NotFoundError` if they are nothing."""
    if conversation is None:
        raise NotFoundError
    if call.caller.is_service:
        # Also where somebody added its id before it first came: else that would take its rights.
        return Standing(call, conversation, None)
    member = await Participant.get_or_none(
        conversation_id=conversation.id, user_id=call.caller.user_id, is_active=True
    )
    if member is None:
        raise NotFoundError
    return Standing(call, conversation, member)


async def locked_message(call: Call, message_id: str) -> tuple[Standing, Message]:
    """Lock the conversation of a message that the caller may read, then read the message again."""
    found = await Message.get_or_none(id=message_id)
    if found is None:
        raise NotFoundError
    held = await locked(call, found.conversation_id)
    if held.member is None:
        raise NotFoundError
    return held, await Message.get(id=message_id)


async def readable_message(call: Call, message_id: str) -> Message:
    """Return a message of a conversation that the caller is in, in one statement with it."""
    rows = await sql.fetch(
        "SELECT m.id FROM messages m JOIN participants p "
        "ON p.conversation_id = m.conversation_id AND p.user_id = $2 AND p.is_active "
        "WHERE m.id = $1",
        message_id,
        call.caller.user_id,
    )
    if not rows:
        raise NotFoundError
    return await Message.get(id=message_id)
