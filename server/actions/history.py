"""A page of history in one statement: who may read it, what it shows, and what is around it.

The database writes the JSON; it is put into the answer as it is.
"""

from typing import Any

import orjson

from server.actions import views
from server.errors import NotFoundError
from server.events import Outcome
from server.models import shapes, sql
from server.permissions import Call
from server.schemas.requests import ListMessages
from server.schemas.values import MAX_INTEGER


async def page(call: Call, request: ListMessages) -> Outcome | None:
    """Return a page before or after a number; None when it is larger than an answer may be.

    Raises `NotFoundError` to whoever is not in the conversation.
    """
    limits = call.settings.limits
    forward = request.after_seq is not None
    at = request.after_seq if forward else request.before_seq
    rows = await sql.read(
        _statement(request.limit or limits.page, limits.broadcast_members, forward=forward),
        call.caller.user_id,
        request.conversation_id,
        MAX_INTEGER if at is None else at,
    )
    if not rows:
        raise NotFoundError
    last_seq, head, shown, before, after, receipts, users = rows[0]
    messages = shown or ""
    if _size(messages) >= limits.sync_bytes:
        return None
    reply: dict[str, Any] = {
        "messages": orjson.Fragment(f"[{messages}]"),
        "has_more_before": bool(before),
        "has_more_after": bool(after),
        "last_seq": last_seq,
        "event_seq": head,
        "receipts": orjson.Fragment(f"[{receipts or ''}]"),
        "users": orjson.Fragment(f"[{users or ''}]"),
    }
    return Outcome(reply)


def _size(text: str) -> int:
    """Return how many bytes a text takes; whether it is ASCII is known without looking."""
    return len(text) if text.isascii() else len(text.encode())


@sql.written_once
def _statement(limit: int, most: int, *, forward: bool) -> str:
    """Return the page of person `$1` in `$2` beyond the number `$3`, of at most so many messages.

    Conversations of more than `most` members show no receipts and the first `most` profiles.
    PostgreSQL plans anew, each time, what has a limit that it does not know.
    """
    beyond, direction = (">", "ASC") if forward else ("<", "DESC")
    # Without a message, what was asked for lies between these two.
    first, last = ("$3 + 1", "$3") if forward else ("$3", "$3 - 1")
    message = shapes.seen_message(
        "m", "s", own="me.own", delivered="others.delivered", read="others.seen"
    )
    shown = sql.joined(
        message,
        "page m JOIN users s ON s.id = m.sender_id CROSS JOIN me CROSS JOIN others",
        order="m.seq",
    )
    receipts = sql.joined(
        sql.as_text(shapes.receipt("r")),
        "participants r WHERE r.conversation_id = $2 AND r.is_active "
        f"AND (SELECT participants_count FROM me) <= {most}",
        order="r.user_id",
    )
    users = sql.joined(
        sql.as_text(shapes.user("u")),
        "(SELECT q.user_id FROM participants q WHERE q.conversation_id = $2 AND q.is_active "
        f"ORDER BY q.user_id LIMIT {most}) q JOIN users u ON u.id = q.user_id",
        order="u.id",
    )
    visible = views.visible("m")
    # The nearest one: asked only whether there is any, PostgreSQL looks through the whole table.
    others = "SELECT m.seq FROM messages m WHERE m.conversation_id = $2 AND m.seq"
    return (
        "WITH me AS (SELECT c.last_seq, c.head, c.participants_count, p.read_seq AS own "
        "FROM participants p JOIN conversations c ON c.id = p.conversation_id "
        "WHERE p.conversation_id = $2 AND p.user_id = $1 AND p.is_active), "
        "others AS (SELECT MIN(o.delivered_seq) AS delivered, MIN(o.read_seq) AS seen "
        "FROM participants o WHERE o.conversation_id = $2 AND o.is_active AND o.user_id <> $1), "
        f"page AS MATERIALIZED (SELECT m.* FROM messages m WHERE m.conversation_id = $2 "
        f"AND m.seq {beyond} CAST($3 AS bigint) AND {visible} "
        f"ORDER BY m.seq {direction} LIMIT {limit}) "
        f"SELECT me.last_seq, me.head, {shown}, "
        f"({others} < COALESCE((SELECT MIN(seq) FROM page), {first}) AND {visible} "
        "ORDER BY m.seq DESC LIMIT 1) IS NOT NULL, "
        f"({others} > COALESCE((SELECT MAX(seq) FROM page), {last}) AND {visible} "
        "ORDER BY m.seq LIMIT 1) IS NOT NULL, "
        f"{receipts}, {users} FROM me"
    )
