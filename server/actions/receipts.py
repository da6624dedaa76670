"""How far a person has received and read: two cursors per member that never go back."""

import asyncio
from collections.abc import Sequence
from typing import Any

from server import events, journal
from server.actions import access, counters, cursors, people, views
from server.actions.cursors import Stand, Step
from server.clock import now_ms, to_text
from server.errors import NotFoundError
from server.events import Event, Outcome, Room
from server.models import Conversation, Participant, sql
from server.permissions import Call
from server.schemas.requests import (
    MarkConversationRead,
    MarkMessageRead,
    ReceiptDelivered,
    ReceiptRead,
)


async def read(call: Call, request: ReceiptRead) -> Outcome:
    """Move the caller's read cursor; beyond the last message it stops there."""
    return await _read(call, request.conversation_id, request.up_to_seq)


async def mark_read(call: Call, request: MarkConversationRead) -> Outcome:
    """Move the caller's read cursor, to the last message unless another is named."""
    return await _read(call, request.conversation_id, request.up_to_seq)


async def _read(call: Call, conversation_id: str, up_to_seq: int | None) -> Outcome:
    """Move the read cursor with those of others, if nothing speaks against it."""
    step = Step(call.caller.user_id, conversation_id, up_to_seq, is_read=True)
    stand = await _moved(call, step)
    if stand is None:
        return await _read_alone(call, conversation_id, up_to_seq)
    unread_max = call.settings.limits.unread_max
    counted = await counters.count(call.caller.user_id, conversation_id, unread_max=unread_max)
    if counted is None:
        raise NotFoundError
    told: list[Event] = []
    if stand.has_moved:
        told.append(_receipt(call, "receipt:read", conversation_id, stand))
        told.append(events.my_unread(call.caller.user_id, counted.total, counted.conversations))
    reply = {
        "read_seq": counted.read_seq,
        "unread_count": counted.unread,
        "unread_total": counted.total,
    }
    return Outcome(reply, tuple(told))


async def _moved(call: Call, step: Step) -> Stand | None:
    # The embedding backend is no member, also where somebody added its id.
    return None if call.caller.is_service else await cursors.move(step)


@journal.transaction
async def mark_message_read(call: Call, request: MarkMessageRead) -> Outcome:
    """Move the caller's read cursor to one message."""
    message = await access.readable_message(call, request.message_id)
    outcome = await _read_now(call, message.conversation_id, message.seq)
    reply = {
        "conversation_id": message.conversation_id,
        "read_seq": outcome.reply["read_seq"],
        "unread_count": outcome.reply["unread_count"],
    }
    return Outcome(reply, outcome.events)


@journal.transaction
async def _read_alone(call: Call, conversation_id: str, up_to_seq: int | None) -> Outcome:
    return await _read_now(call, conversation_id, up_to_seq)


async def _read_now(call: Call, conversation_id: str, up_to_seq: int | None) -> Outcome:
    """Move the read cursor by all the rules, inside a transaction."""
    conversation, member = await access.joined(call, conversation_id)
    seq = conversation.last_seq
    if up_to_seq is not None:
        seq = min(up_to_seq, seq)
    if member.marked_unread:
        # People are locked before memberships, everywhere.
        await journal.lock_people([member.user_id])
    told: list[Event] = []
    if await _move_read(conversation, member, seq):
        stand = Stand(seq, conversation.participants_count, has_moved=True)
        told.append(_receipt(call, "receipt:read", conversation.id, stand))
    if member.marked_unread:
        told += await _unmark(call, member)
    unread_max = call.settings.limits.unread_max
    my = await views.mine(member.user_id, conversation.id, unread_max=unread_max)
    unread = await people.counters(call)
    if told:
        told.append(unread)
    reply = {
        "read_seq": my["read_seq"],
        "unread_count": my["unread_count"],
        "unread_total": unread.data["total"],
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


def _receipt(call: Call, name: str, conversation_id: str, stand: Stand) -> Event:
    """Return the receipt for the room; in a large conversation only for the caller's devices."""
    told = events.receipt(name, conversation_id, call.caller.user_id, stand.seq, to_text(now_ms()))
    if stand.members <= call.settings.limits.broadcast_members:
        return told
    return Event(name, Room.USER, call.caller.user_id, told.data)


async def delivered(call: Call, request: ReceiptDelivered) -> Outcome:
    """Move the caller's delivered cursors in several conversations."""
    wanted: dict[str, int] = {}
    for item in request.items:
        wanted[item.conversation_id] = max(item.up_to_seq, wanted.get(item.conversation_id, 0))
    steps = [
        Step(call.caller.user_id, conversation_id, wanted[conversation_id], is_read=False)
        for conversation_id in sorted(wanted)
    ]
    found = await asyncio.gather(*(_moved(call, step) for step in steps))
    stands = dict(zip(steps, found, strict=True))
    if None in found:
        late = [step for step, stand in stands.items() if stand is None]
        stands |= await _deliver_alone(call, late)
    told = [
        _receipt(call, "receipt:delivered", step.conversation_id, stand)
        for step, stand in stands.items()
        if stand is not None and stand.has_moved
    ]
    accepted = sum(stand is not None for stand in stands.values())
    return Outcome({"accepted": accepted}, tuple(told))


@journal.transaction
async def _deliver_alone(call: Call, steps: Sequence[Step]) -> dict[Step, Stand | None]:
    return {step: await _deliver(call, step) for step in steps}


async def _deliver(call: Call, step: Step) -> Stand | None:
    """Move one cursor; None when the caller is not in that conversation."""
    conversation = await Conversation.get_or_none(id=step.conversation_id)
    member: Any = await Participant.get_or_none(
        conversation_id=step.conversation_id, user_id=call.caller.user_id, is_active=True
    )
    if conversation is None or member is None:
        return None
    up_to = min(step.up_to or 0, conversation.last_seq)
    moved = await sql.execute(
        "UPDATE participants SET delivered_seq = $1 "
        "WHERE id = $2 AND is_active AND delivered_seq < $1",
        up_to,
        member.id,
    )
    return Stand(up_to, conversation.participants_count, has_moved=moved > 0)
