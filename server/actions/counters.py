"""What people have not read, counted for many at once when they have read something."""

from dataclasses import dataclass

import orjson

from server.actions import views
from server.clock import now_ms
from server.models import sql
from server.models.gathering import together


@dataclass(frozen=True, slots=True)
class Counters:
    """What somebody has read in a conversation, and what they have not, there and altogether."""

    read_seq: int
    unread: int
    total: int
    conversations: int


async def count(user_id: str, conversation_id: str, *, unread_max: int) -> Counters | None:
    """Return a member's counters, exact up to a limit; None for somebody who is no member."""
    return await together(_count).ask((user_id, conversation_id, unread_max))


async def _count(asked: list[tuple[str, str, int]]) -> list[Counters | None]:
    most = asked[0][2]
    exact, listed = views.unread_now(most)
    questions = [{"user_id": user, "conversation_id": talk} for user, talk, _ in asked]
    rows = await sql.read(_statement(exact), orjson.dumps(questions).decode(), now_ms(), *listed)
    found = {
        (user_id, talk): Counters(read_seq, *(views.capped(int(n), most) for n in counts))
        for user_id, talk, read_seq, *counts in rows
    }
    return [found.get((user_id, talk)) for user_id, talk, _ in asked]


@sql.written_once
def _statement(unread_max: int | None) -> str:
    """Return what the people in `$1` have read, and have not, at the time `$2`.

    What is unread is counted as `views.unread_now` says, with the list in `$3`.
    """
    user, conversation = sql.member("q", "user_id"), sql.member("q", "conversation_id")
    totals = views.unread_totals_of(user, "$3", unread_max=unread_max)
    mine = f"p.conversation_id = {conversation} AND p.user_id = {user} AND p.is_active"
    return (
        f"SELECT p.user_id, c.id, p.read_seq, {views.UNREAD} AS unread, "
        f"(SELECT t.total FROM ({totals}) t), (SELECT t.waiting FROM ({totals}) t) "
        f"FROM {sql.members('$1', 'q')} {sql.looked_up('participants', 'p', mine)} "
        f"{sql.looked_up('conversations', 'c', 'c.id = p.conversation_id')}"
    )
