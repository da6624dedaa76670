"""How far people have received and read, moved for many at once.

Nearly every message is followed by receipts of all who are there, so what is asked for while others
are being stored is stored together. Only what is plain is done here: who is no member, marked the
conversation as unread, or has a membership that somebody else is changing is left to a transaction
of their own (`receipts.py`), which knows all the rules.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import orjson
from tortoise.connection import get_connection

from server import journal
from server.actions import recency, views
from server.clock import now_ms
from server.models import sql
from server.models.gathering import Gathering

if TYPE_CHECKING:
    from tortoise.backends.base.client import BaseDBAsyncClient


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


@dataclass(frozen=True, slots=True)
class Counters:
    """What somebody has read in a conversation, and what they have not, there and altogether."""

    read_seq: int
    unread: int
    total: int
    conversations: int


class Cursors:
    """Moves the cursors in one database."""

    def __init__(self) -> None:
        """Begin with nothing to move."""
        self._steps = Gathering(_move)
        self._counters = Gathering(_count)

    async def move(self, step: Step) -> Stand | None:
        """Move a cursor, never back; None when it is not plain that it may be moved."""
        return await self._steps.ask(step)

    async def count(
        self, user_id: str, conversation_id: str, *, unread_max: int
    ) -> Counters | None:
        """Return a member's counters, exact up to a limit; None for somebody who is no member."""
        return await self._counters.ask((user_id, conversation_id, unread_max))


_CURSORS: "WeakKeyDictionary[BaseDBAsyncClient, Cursors]" = WeakKeyDictionary()


def present() -> Cursors:
    """Return who moves the cursors in the database that is connected here."""
    connection = get_connection("default")
    found = _CURSORS.get(connection)
    if found is None:
        found = _CURSORS[connection] = Cursors()
    return found


# Moving


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
    rows = connection.execute(statement.replace("$1", "?1"), [asked]).fetchall()
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


# Counting


async def _count(asked: list[tuple[str, str, int]]) -> list[Counters | None]:
    noted = recency.noted()
    unread_max = asked[0][2]
    questions = [{"user_id": user, "conversation_id": talk} for user, talk, _ in asked]
    values: list[Any] = [orjson.dumps(questions).decode(), now_ms()]
    if len(noted) > recency.MERGED:
        statement = _counting(None)
    else:
        statement = _counting(unread_max)
        values.append(sql.texts(noted))
    found = {
        (user_id, talk): Counters(read_seq, *(views.capped(int(n), unread_max) for n in counts))
        for user_id, talk, read_seq, *counts in await sql.read(statement, *values)
    }
    return [found.get((user_id, talk)) for user_id, talk, _ in asked]


@sql.written_once
def _counting(unread_max: int | None) -> str:
    """Return what the people in `$1` have read, and have not, at the time `$2`.

    With `unread_max`, what is unread is looked for where it is said, and in the conversations that
    are listed in `$3`.
    """
    user, conversation = sql.member("q", "user_id"), sql.member("q", "conversation_id")
    if unread_max is None:
        totals = views.unread_in_all(user)
    else:
        totals = views.unread_totals_of(user, "$3", unread_max=unread_max)
    mine = f"p.conversation_id = {conversation} AND p.user_id = {user} AND p.is_active"
    return (
        f"SELECT p.user_id, c.id, p.read_seq, {views.UNREAD} AS unread, "
        f"(SELECT t.total FROM ({totals}) t), (SELECT t.waiting FROM ({totals}) t) "
        f"FROM {sql.members('$1', 'q')} {sql.looked_up('participants', 'p', mine)} "
        f"{sql.looked_up('conversations', 'c', 'c.id = p.conversation_id')}"
    )
