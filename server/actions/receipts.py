"""How far a person has received and read: two cursors per member that never go back."""

from typing import Any

from server import events, journal
from server.actions import access, people, views
from server.clock import now_ms, to_text
from server.events import Event, Outcome, Room
from server.models import Conversation, Participant, sql
from server.permissions import Call
from server.schemas.requests import (
    MarkConversationRead,
    MarkMessageRead,
    ReceiptDelivered,
    ReceiptRead,
)


@journal.transaction
async def read(call: Call, request: ReceiptRead) -> Outcome:
    """Move the caller's read cursor; beyond the last message it stops there."""
    return await _read(call, request.conversation_id, request.up_to_seq)


@journal.transaction
async def mark_read(call: Call, request: MarkConversationRead) -> Outcome:
    """Move the caller's read cursor, to the last message unless another is named."""
    return await _read(call, request.conversation_id, request.up_to_seq)


@journal.transaction
async def mark_message_read(call: Call, request: MarkMessageRead) -> Outcome:
    """Move the caller's read cursor to one message."""
    message = await access.readable_message(call, request.message_id)
    outcome = await _read(call, message.conversation_id, message.seq)
    reply = {
        "conversation_id": message.conversation_id,
        "read_seq": outcome.reply["read_seq"],
        "unread_count": outcome.reply["unread_count"],
    }
    return Outcome(reply, outcome.events)


async def _read(call: Call, conversation_id: str, up_to_seq: int | None) -> Outcome:
    conversation, member = await access.joined(call, conversation_id)
    seq = conversation.last_seq
    if up_to_seq is not None:
        seq = min(up_to_seq, seq)
    if member.marked_unread:
        # People are locked before memberships, everywhere.
        await journal.lock_people([member.user_id])
    told: list[Event] = []
    if await _move_read(conversation, member, seq):
        told.append(_receipt(call, "receipt:read", conversation, seq))
    if member.marked_unread:
        told += await _unmark(call, member)
    unread_max = call.settings.limits.unread_max
    my = await views.mine(member.user_id, conversation.id, unread_max=unread_max)
    counters = await people.counters(call)
    if told:
        told.append(counters)
    reply = {
        "read_seq": my["read_seq"],
        "unread_count": my["unread_count"],
        "unread_total": counters.data["total"],
    }
    return Outcome(reply, tuple(told))


async def _move_read(conversation: Conversation, member: Participant, seq: int) -> bool:
    """Move both cursors up to `seq` and return whether the read one moved."""
    rows = await sql.fetch(
        "SELECT countable FROM messages WHERE conversation_id = $1 AND seq <= $2 "
        "ORDER BY seq DESC LIMIT 1",
        conversation.id,
        seq,
    )
    countable = rows[0]["countable"] if rows else 0
    # The condition is looked at again when another device was faster: a cursor never goes back.
    moved = await sql.execute(
        "UPDATE participants SET read_seq = $1, read_countable = $2, "
        "delivered_seq = CASE WHEN delivered_seq < $1 THEN $1 ELSE delivered_seq END "
        "WHERE id = $3 AND is_active AND read_seq < $1",
        seq,
        countable,
        member.id,
    )
    return moved > 0


async def _unmark(call: Call, member: Participant) -> list[Event]:
    """Take away the caller's own "unread" mark, which is a change of `my`."""
    number = (await journal.next_user_numbers([member.user_id]))[member.user_id]
    await Participant.filter(id=member.id).update(marked_unread=False, user_seq=number)
    unread_max = call.settings.limits.unread_max
    my = await views.mine(member.user_id, member.conversation_id, unread_max=unread_max)
    return [events.my_updated(member.user_id, number, member.conversation_id, my)]


def _receipt(call: Call, name: str, conversation: Conversation, seq: int) -> Event:
    """Return the receipt for the room; in a large conversation only for the caller's devices."""
    told = events.receipt(name, conversation.id, call.caller.user_id, seq, to_text(now_ms()))
    if conversation.participants_count <= call.settings.limits.broadcast_members:
        return told
    return Event(name, Room.USER, call.caller.user_id, told.data)


@journal.transaction
async def delivered(call: Call, request: ReceiptDelivered) -> Outcome:
    """Move the caller's delivered cursors in several conversations."""
    wanted: dict[str, int] = {}
    for item in request.items:
        wanted[item.conversation_id] = max(item.up_to_seq, wanted.get(item.conversation_id, 0))
    accepted, told = 0, list[Event]()
    for conversation_id in sorted(wanted):
        heard = await _deliver(call, conversation_id, wanted[conversation_id])
        accepted += heard is not None
        told += heard or []
    return Outcome({"accepted": accepted}, tuple(told))


async def _deliver(call: Call, conversation_id: str, seq: int) -> list[Event] | None:
    """Move one cursor; None when the caller is not in that conversation."""
    conversation = await Conversation.get_or_none(id=conversation_id)
    member: Any = await Participant.get_or_none(
        conversation_id=conversation_id, user_id=call.caller.user_id, is_active=True
    )
    if conversation is None or member is None:
        return None
    up_to = min(seq, conversation.last_seq)
    moved = await sql.execute(
        "UPDATE participants SET delivered_seq = $1 "
        "WHERE id = $2 AND is_active AND delivered_seq < $1",
        up_to,
        member.id,
    )
    if not moved:
        return []
    return [_receipt(call, "receipt:delivered", conversation, up_to)]
