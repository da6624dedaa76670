"""Where the numbers of a conversation and of a person are given out, one change at a time.

Numbers are taken under the row lock of their conversation or person, in the transaction of the
change they count, so that the order of commits is the order of numbers. Locks are taken in one
order everywhere: conversations, users, participants, messages, each by primary key. What is decided
under a lock is read after it, in statements of its own: a statement that locks and joins still sees
the membership from before it waited.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson

from server.clock import now_ms
from server.ids import new_id
from server.models import Conversation, Message, sql
from server.schemas.values import MessageType


async def lock_conversation(conversation_id: str) -> Conversation | None:
    """Lock a conversation for the rest of the transaction and return it as it is now."""
    query = Conversation.filter(id=conversation_id).select_for_update()
    return await query.get_or_none()


async def lock_people(user_ids: Collection[str]) -> None:
    """Lock these people for the rest of the transaction."""
    await sql.fetch(
        f"SELECT id FROM users WHERE id IN {sql.each('$1')} ORDER BY id FOR UPDATE",
        sql.texts(sorted(user_ids)),
    )


async def next_user_numbers(user_ids: Collection[str]) -> dict[str, int]:
    """Lock these people and take each one's next `user_seq`."""
    await lock_people(user_ids)
    rows = await sql.fetch(
        "UPDATE users SET user_seq = user_seq + 1 "
        f"WHERE id IN {sql.each('$1')} RETURNING id, user_seq",
        sql.texts(sorted(user_ids)),
    )
    return {row["id"]: row["user_seq"] for row in rows}


async def save_counters(conversation: Conversation) -> None:
    """Store the numbers that were given out under the lock."""
    await conversation.save(
        update_fields=[
            "head",
            "last_seq",
            "countable",
            "event_seq",
            "last_activity_at",
            "participants_count",
        ]
    )


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that has no numbers yet."""

    sender_id: str
    type: MessageType
    content: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] | None = None
    client_msg_id: str | None = None
    fingerprint: str | None = None


async def append(conversation: Conversation, draft: Draft) -> Message:
    """Give a message its numbers in a locked conversation and insert it.

    The caller saves the conversation's counters at the end of the transaction.
    """
    counts = draft.type is not MessageType.SYSTEM
    conversation.last_seq += 1
    conversation.countable += counts
    conversation.last_activity_at = now_ms()
    return await Message.create(
        id=new_id(),
        conversation_id=conversation.id,
        seq=conversation.last_seq,
        event_seq=conversation.next_event(),
        sender_id=draft.sender_id,
        client_msg_id=draft.client_msg_id,
        fingerprint=draft.fingerprint,
        type=draft.type.value,
        content=draft.content,
        metadata=orjson.dumps(draft.metadata).decode(),
        system=None if draft.system is None else orjson.dumps(draft.system).decode(),
        countable=conversation.countable,
        created_at=conversation.last_activity_at,
    )
