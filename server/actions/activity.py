"""What has just been said in conversations of people who are in more than they can hear."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.clock import now_ms, to_text
from server.models import sql
from server.models.user import columns, person

WITHIN_MS = 5_000
"""How far back it is looked: longer than the copy of a time needs to reach the memberships."""

_EXCERPT = 160


async def stirred(user_ids: Sequence[str], *, most: int) -> list[dict[str, Any]]:
    """Return, by `user_id`, the conversations of each person in which something was said just now.

    With `conversation_id` and `last_seq`; the newest, at most so many of each person.
    """
    recent = sql.for_each(
        "participants",
        "p",
        "p.user_id = k.id AND p.is_active AND p.last_activity_at > $2",
        first="$3",
        order="p.last_activity_at DESC",
    )
    return await sql.fetch(
        f"SELECT k.id AS user_id, c.id AS conversation_id, c.last_seq FROM {sql.rows_of('$1')} "
        f"{recent} JOIN conversations c ON c.id = p.conversation_id "
        # Conversations that are too large for a copy of their time.
        "UNION ALL SELECT k.id, c.id, c.last_seq "
        f"FROM {sql.rows_of('$1')} JOIN participants p ON p.user_id = k.id AND p.is_active "
        "AND p.last_activity_at IS NULL JOIN conversations c ON c.id = p.conversation_id "
        "WHERE c.last_activity_at > $2",
        sql.texts(user_ids),
        now_ms() - WITHIN_MS,
        most,
    )


async def previews(user_id: str, conversation_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return what a member is told of these conversations, as of one moment.

    Of a conversation that the person is not in any more, nothing.
    """
    rows = await sql.fetch(
        "SELECT c.id AS conversation_id, c.last_seq, c.head, m.seq, m.type, m.content, "
        f"m.deleted_at, m.created_at, {columns('s', 'sender_')}, EXISTS (SELECT 1 "
        "FROM hidden_messages h WHERE h.user_id = p.user_id AND h.message_id = m.id) AS is_hidden "
        "FROM participants p JOIN conversations c ON c.id = p.conversation_id "
        "JOIN messages m ON m.conversation_id = c.id AND m.seq = c.last_seq "
        "JOIN users s ON s.id = m.sender_id "
        f"WHERE p.user_id = $1 AND p.is_active AND p.conversation_id IN {sql.each('$2')}",
        user_id,
        sql.texts(conversation_ids),
    )
    return [
        {
            "conversation_id": row["conversation_id"],
            "last_seq": row["last_seq"],
            "event_seq": row["head"],
            "preview": None if row["is_hidden"] or row["deleted_at"] is not None else _shown(row),
        }
        for row in rows
    ]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seq": row["seq"],
        "sender": person(row, "sender_"),
        "type": row["type"],
        "excerpt": row["content"][:_EXCERPT],
        "created_at": to_text(row["created_at"]),
    }
