"""How far people have received and read, moved for many at once.

Nearly every message is followed by receipts of all who are there, so what is asked for while others
are being stored is stored together. Only what is plain is done here: who is no member, marked the
conversation as unread, or has a membership that somebody else is changing is left to a transaction
of their own (`receipts.py`), which knows all the rules.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from tortoise.connection import get_connection

from server import journal
from server.models import sql
from server.models.gathering import together


@dataclass(frozen=True, slots=True)
class Step:
    """Whose cursor is to be moved, and where to; without a number to the last message.

    Whoever has read a message has received it, too.
    """

    user_id: str
    conversation_id: str
    up_to: int | None
    is_read: bool


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a step leads to, in a conversation of so many members."""

    seq: int
    members: int
    has_moved: bool


async def move(step: Step) -> Stand | None:
    """Move a cursor, never back; None when it is not plain that it may be moved."""
    return await together(_move).ask(step)


async def _move(steps: list[Step]) -> list[Stand | None]:
    """Move all of these, in one statement each membership once at most."""
    stands: list[Stand | None] = [None] * len(steps)
    left = list(range(len(steps)))
    while left:
        first: dict[tuple[str, str], int] = {}
        for place in left:
            first.setdefault((steps[place].conversation_id, steps[place].user_id), place)
        now = set(first.values())
        # In one order on all nodes.
        asked = [{"place": place, **asdict(steps[place])} for _, place in sorted(first.items())]
        for place, *stand in await _moved(orjson.dumps(asked).decode()):
            stands[place] = Stand(*stand)
        left = [place for place in left if place not in now]
    return stands


async def _moved(asked: str) -> Sequence[Sequence[Any]]:
    """Return for each step that was plain its place, and the values of its `Stand`."""
    if sql.dialect() == "sqlite":
        statement = _looked()
        return await journal.in_one_call(lambda writing: _move_all(writing, statement, asked))
    connection = get_connection("default")
    found = await connection.execute_query_dict(_moving(), [asked])
    return [tuple(row.values()) for row in found]


def _move_all(connection: sqlite3.Connection, statement: str, asked: str) -> Sequence[Any]:
    """Move cursors in the thread of the connection that writes, inside a transaction."""
    rows = connection.execute(sql.for_sqlite(statement), [asked]).fetchall()
    for _, seq, _, has_moved, id_, is_read, countable in rows:
        if has_moved and is_read:
            connection.execute(
                "UPDATE participants SET read_seq = ?2, read_countable = ?3, "
                "delivered_seq = MAX(delivered_seq, ?2) WHERE id = ?1",
                (id_, seq, countable),
            )
        elif has_moved:
            connection.execute(
                "UPDATE participants SET delivered_seq = ?2 WHERE id = ?1", (id_, seq)
            )
    return [(place, seq, members, bool(moved)) for place, seq, members, moved, *_ in rows]


@sql.written_once
def _moving() -> str:
    """Return what moves the cursors that `_looked` finds on PostgreSQL."""
    return (
        f"WITH k AS ({_looked()}), u AS (UPDATE participants t SET "
        "read_seq = CASE WHEN k.is_read THEN k.seq ELSE t.read_seq END, "
        "read_countable = CASE WHEN k.is_read THEN k.countable ELSE t.read_countable END, "
        "delivered_seq = GREATEST(t.delivered_seq, k.seq) "
        "FROM k WHERE t.id = k.id AND k.has_moved) "
        "SELECT k.place, k.seq, k.members, k.has_moved FROM k"
    )


@sql.written_once
def _looked() -> str:
    """Return where each of the steps in `$1` leads to, if that is plain.

    On PostgreSQL the memberships are locked; nobody is waited for, and so nobody waits in a circle.
    """
    user, conversation = sql.member("q", "user_id"), sql.member("q", "conversation_id")
    is_read = sql.member("q", "is_read", of="boolean")
    mine = f"p.conversation_id = {conversation} AND p.user_id = {user} AND p.is_active"
    plain = f"{mine} AND NOT (p.marked_unread AND {is_read})"
    up_to = sql.member("q", "up_to", of="bigint")
    seq = sql.least(f"COALESCE({up_to}, c.last_seq)", "c.last_seq")
    countable = (
        "(SELECT m.countable FROM messages m WHERE m.conversation_id = k.conversation_id "
        "AND m.seq <= k.seq ORDER BY m.seq DESC LIMIT 1)"
    )
    talk = sql.looked_up("conversations", "c", f"c.id = {conversation}")
    before = "CASE WHEN k.is_read THEN k.read_seq ELSE k.delivered_seq END"
    return (
        f"SELECT k.place, k.seq, k.members, {before} < k.seq AS has_moved, k.id, k.is_read, "
        f"CASE WHEN k.is_read THEN COALESCE({countable}, 0) END AS countable "
        f"FROM (SELECT {sql.member('q', 'place', of='integer')} AS place, {seq} AS seq, "
        f"c.participants_count AS members, {is_read} AS is_read, "
        "p.id, p.conversation_id, p.read_seq, p.delivered_seq "
        f"FROM {sql.members('$1', 'q')} {talk} "
        f"{sql.locked('participants', 'p', plain)}) k"
    )
