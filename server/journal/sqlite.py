"""Batches on SQLite: one call on the thread of the one connection that writes."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import orjson

from server.clock import now_ms
from server.journal.entries import Entry, Left, Locks, Placed, Verdict
from server.journal.transactions import in_one_call

# What is decided about a batch is read in one row and written in few statements: each step of
# SQLite lets go of Python's lock, and whoever has it next may keep it for milliseconds. Rows are
# parameters (`_rows` fills `{rows}`): JSON would be taken apart for each of their values.
_LOOK = """
WITH e (place, conversation_id, sender_id, client_msg_id) AS (VALUES {rows})
SELECT json_group_array(json_array(e.place, c.type, c.is_active, c.last_seq, c.head, c.countable,
    p.id, p.role, p.is_active, p.archived_countable, p.archived_seq, u.name, u.avatar_url, u.role,
    EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = p.conversation_id
        AND m.sender_id = p.user_id AND m.client_msg_id = e.client_msg_id)))
FROM e
CROSS JOIN conversations c ON c.id = e.conversation_id
CROSS JOIN participants p ON p.conversation_id = c.id AND p.user_id = e.sender_id
CROSS JOIN users u ON u.id = p.user_id
"""
_INSERT = """
INSERT INTO messages (id, conversation_id, seq, event_seq, sender_id, client_msg_id, fingerprint,
    content, metadata, countable, created_at, type, version)
VALUES {rows}
"""
_COUNT = """
WITH k (id, last_seq, head, countable, at) AS (VALUES {rows})
UPDATE conversations SET last_seq = k.last_seq, head = k.head, countable = k.countable,
    last_activity_at = k.at
FROM k WHERE conversations.id = k.id
"""
_MOVE = """
WITH k (id, seq, countable, archived_countable, archived_seq) AS (VALUES {rows})
UPDATE participants SET read_seq = k.seq, delivered_seq = k.seq, read_countable = k.countable,
    archived_countable = k.archived_countable, archived_seq = k.archived_seq
FROM k WHERE participants.id = k.id
"""


class File:
    """The connection of Tortoise that writes; its lock keeps batches and transactions apart."""

    is_open = True

    async def open(self) -> None:
        """There is nothing to connect to."""

    async def close(self) -> None:
        """Leave the connection to whoever opened it."""

    async def append(self, entries: Sequence[Entry], locks: Locks) -> Sequence[Verdict]:  # noqa: ARG002 (nobody else holds a row)
        """Append these entries, or none of them."""
        return await in_one_call(partial(_write, entries))


def _write(entries: Sequence[Entry], connection: sqlite3.Connection) -> Sequence[Verdict]:
    """Append a batch in the thread of the connection."""
    at = now_ms()
    verdicts: list[Verdict] = [Left.ASIDE] * len(entries)
    heads: dict[str, tuple[Any, ...]] = {}
    messages: list[tuple[Any, ...]] = []
    members: list[tuple[Any, ...]] = []
    for row in sorted(_look(connection, entries)):
        place, kind, is_open, last_seq, head, countable, member, role, is_active = row[:9]
        archived_countable, archived_seq, name, avatar_url, user_role, is_stored = row[9:]
        entry = entries[place]
        is_allowed = is_open and is_active and f" {kind}:{role} " in entry.writers
        if is_stored or not is_allowed:
            continue
        id_ = entry.conversation_id
        _, seq, event_seq, counted, _ = heads.get(id_, (id_, last_seq, head, countable, at))
        seq, event_seq, counted = seq + 1, event_seq + 1, counted + 1
        heads[id_] = (id_, seq, event_seq, counted, at)
        messages.append(_message(entry, seq, event_seq, counted, at))
        if archived_countable == counted - 1:
            # The mark of an archive goes along with the sender's own words.
            archived_countable, archived_seq = counted, seq
        members.append((member, seq, counted, archived_countable, archived_seq))
        verdicts[place] = Placed(seq, event_seq, at, name, avatar_url, user_role)
    _run(connection, _INSERT, messages)
    _run(connection, _COUNT, list(heads.values()))
    _run(connection, _MOVE, members)
    return verdicts


def _look(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[list[Any]]:
    """Return, by the place of each entry, what is to be decided about."""
    asked = [
        (place, entry.conversation_id, entry.sender_id, entry.client_msg_id)
        for place, entry in enumerate(entries)
    ]
    return [
        found
        for cursor in _run(connection, _LOOK, asked)
        for found in orjson.loads(cursor.fetchone()[0])
    ]


def _message(entry: Entry, seq: int, event_seq: int, countable: int, at: int) -> tuple[Any, ...]:
    return (
        entry.id,
        entry.conversation_id,
        seq,
        event_seq,
        entry.sender_id,
        entry.client_msg_id,
        entry.fingerprint,
        entry.content,
        entry.metadata,
        countable,
        at,
        "text",
        1,
    )


def _run(
    connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]
) -> list[sqlite3.Cursor]:
    """Run a statement for all rows, in parts of which there are few sizes, each prepared once."""
    cursors = []
    at = 0
    while at < len(rows):
        size = 1 << ((len(rows) - at).bit_length() - 1)
        part = rows[at : at + size]
        text = _rows(statement, len(part), len(part[0]))
        cursors.append(connection.execute(text, tuple(chain.from_iterable(part))))
        at += size
    return cursors


@lru_cache(maxsize=64)
def _rows(statement: str, rows: int, columns: int) -> str:
    """Return a statement with a place for each value."""
    row = f"({', '.join('?' * columns)})"
    return statement.format(rows=", ".join([row] * rows))
