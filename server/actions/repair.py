"""What a feed missed, read from the database as the events that would have been heard.

Changes that overwrote each other come once, in their last form.
"""

from collections.abc import Collection
from typing import Any

from server import events, journal
from server.actions import sync, views
from server.events import Event
from server.models import sql
from server.models.conversation import room_conversation
from server.permissions import Call


async def heads(conversation_ids: list[str]) -> dict[str, int]:
    """Return the heads of these conversations."""
    rows = await sql.fetch(
        f"SELECT c.id, c.head FROM conversations c WHERE c.id IN {sql.each('$1')}",
        sql.texts(conversation_ids),
    )
    return {row["id"]: row["head"] for row in rows}


async def standing(conversation_id: str, user_ids: Collection[str]) -> tuple[int, set[str]]:
    """Return the head of a conversation and, as of then, who of these people is in it."""
    rows = await sql.fetch(
        "SELECT c.head, p.user_id FROM conversations c "
        "LEFT JOIN participants p ON p.conversation_id = c.id AND p.is_active "
        f"AND p.user_id IN {sql.each('$2')} WHERE c.id = $1",
        conversation_id,
        sql.texts(sorted(user_ids)),
    )
    present = {row["user_id"] for row in rows if row["user_id"] is not None}
    return (rows[0]["head"] if rows else 0), present


async def user_heads(user_ids: list[str]) -> dict[str, int]:
    """Return the numbers of these people."""
    rows = await sql.fetch(
        f"SELECT u.id, u.user_seq FROM users u WHERE u.id IN {sql.each('$1')}",
        sql.texts(user_ids),
    )
    return {row["id"]: row["user_seq"] for row in rows}


@journal.snapshot
async def conversation(conversation_id: str, after: int, most: int) -> list[Event] | None:
    """Return what happened after a number, in order; None when it is more than `most`."""
    rows = await sql.fetch("SELECT * FROM conversations WHERE id = $1", conversation_id)
    if not rows or rows[0]["head"] - after > most:
        return None
    found = [_message(body) for body in await _messages(conversation_id, after, most)]
    members = await views.changed_members(conversation_id, after=after, limit=most)
    found += [_member(conversation_id, body) for body in members]
    if rows[0]["event_seq"] > after:
        changed = room_conversation(rows[0])
        found.append(events.conversation_updated(changed, changed["created_by"]))
    return sorted(found, key=lambda event: event.number or 0)


async def _messages(conversation_id: str, after: int, most: int) -> list[dict[str, Any]]:
    return await views.changed_messages(None, conversation_id, after=after, limit=most)


def _message(body: dict[str, Any]) -> Event:
    actor = body["sender"]["id"]
    if body["is_deleted"]:
        return events.message_deleted(body, actor)
    if body["version"] > 1:
        return events.message_updated(body, actor)
    return events.message_created(body, actor)


def _member(conversation_id: str, body: dict[str, Any]) -> Event:
    """Return the last change of a membership; who did it is not stored."""
    actor = body["user"]["id"]
    if body["is_active"]:
        return events.participant_added(conversation_id, body, actor)
    return events.participant_removed(conversation_id, body, actor, "removed")


@journal.snapshot
async def personal(call: Call, after: int, most: int) -> list[Event] | None:
    """Return a person's own changes after a number, in order; None when they are too many."""
    user_id = call.caller.user_id
    rows = await sql.fetch(
        "SELECT p.user_seq, p.event_seq, p.conversation_id, p.is_active, NULL AS hidden "
        "FROM participants p WHERE p.user_id = $1 AND p.user_seq > $2 UNION ALL "
        "SELECT h.user_seq, 0, h.conversation_id, NULL, h.message_id FROM hidden_messages h "
        f"WHERE h.user_id = $1 AND h.user_seq > $2 ORDER BY 1 LIMIT {int(most) + 1}",
        user_id,
        after,
    )
    if len(rows) > most:
        return None
    shown = iter(await sync.memberships(call, rows))
    return [_own(user_id, row, None if row["hidden"] else next(shown)) for row in rows]


def _own(user_id: str, row: dict[str, Any], membership: dict[str, Any] | None) -> Event:
    number, conversation_id = row["user_seq"], row["conversation_id"]
    if membership is None:
        return events.my_message_hidden(user_id, number, conversation_id, [row["hidden"]])
    if membership["is_active"]:
        whole = membership["conversation"]
        return events.conversation_added(user_id, number, whole, row["event_seq"])
    return events.conversation_removed(
        user_id, number, conversation_id, row["event_seq"], "removed"
    )
