"""Batches on SQLite: one call on the thread of the one connection that writes."""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson
from tortoise.connection import get_connection

from server.clock import now_ms
from server.errors import ClientError
from server.journal.entries import AwayError, Entry, Left, Locks, Placed, Verdict
from server.journal.failures import translated

# What is decided about a batch is read in one row and written in one statement a table: each step
# of SQLite lets go of Python's lock, and whoever has it next may keep it for milliseconds.
_LOOK = """
SELECT json_group_array(json_array(e.key, c.type, c.is_active, c.last_seq, c.head, c.countable,
    p.id, p.role, p.is_active, p.archived_countable, p.archived_seq, u.name, u.avatar_url, u.role,
    EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = p.conversation_id
        AND m.sender_id = p.user_id AND m.client_msg_id = json_extract(e.value, '$[2]'))))
FROM json_each(?1) e
CROSS JOIN conversations c ON c.id = json_extract(e.value, '$[0]')
CROSS JOIN participants p
    ON p.conversation_id = c.id AND p.user_id = json_extract(e.value, '$[1]')
CROSS JOIN users u ON u.id = p.user_id
"""
_INSERT = f"""
INSERT INTO messages (id, conversation_id, seq, event_seq, sender_id, client_msg_id, fingerprint,
    content, metadata, countable, created_at, type, version)
SELECT {", ".join(f"json_extract(e.value, '$[{n}]')" for n in range(11))}, 'text', 1
FROM json_each(?1) e
"""
_COUNT = """
UPDATE conversations SET last_seq = k.last_seq, head = k.head, countable = k.countable,
    last_activity_at = ?2
FROM (SELECT json_extract(e.value, '$[0]') AS id, json_extract(e.value, '$[1]') AS last_seq,
    json_extract(e.value, '$[2]') AS head, json_extract(e.value, '$[3]') AS countable
    FROM json_each(?1) e) k
WHERE conversations.id = k.id
"""
_MOVE = """
UPDATE participants SET read_seq = k.seq, delivered_seq = k.seq, read_countable = k.countable,
    archived_countable = k.archived_countable, archived_seq = k.archived_seq
FROM (SELECT json_extract(e.value, '$[0]') AS id, json_extract(e.value, '$[1]') AS seq,
    json_extract(e.value, '$[2]') AS countable,
    json_extract(e.value, '$[3]') AS archived_countable,
    json_extract(e.value, '$[4]') AS archived_seq
    FROM json_each(?1) e) k
WHERE participants.id = k.id
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
        client: Any = get_connection("default")
        try:
            async with client.acquire_connection() as connection:
                # One call: what Tortoise would do in six.
                return await connection._execute(_append, connection._conn, entries)  # type: ignore[no-any-return]  # noqa: SLF001
        except ValueError as error:
            raise AwayError(retry_after_ms=1_000, reason=str(error)) from error
        except sqlite3.Error as error:
            meant = translated(error)
            raise (meant if isinstance(meant, ClientError) else error) from error


def _append(connection: sqlite3.Connection, entries: Sequence[Entry]) -> Sequence[Verdict]:
    """Append a batch in one transaction, in the thread of the connection."""
    # With the lock that writing needs, as all who write begin.
    connection.execute("BEGIN IMMEDIATE")
    try:
        verdicts = _write(connection, entries, now_ms())
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return verdicts


def _write(connection: sqlite3.Connection, entries: Sequence[Entry], at: int) -> Sequence[Verdict]:
    verdicts: list[Verdict] = [Left.ASIDE] * len(entries)
    heads: dict[str, tuple[str, int, int, int]] = {}
    messages: list[list[Any]] = []
    members: list[list[Any]] = []
    for row in sorted(_look(connection, entries)):
        place, kind, is_open, last_seq, head, countable, member, role, is_active = row[:9]
        archived_countable, archived_seq, name, avatar_url, user_role, is_stored = row[9:]
        entry = entries[place]
        is_allowed = is_open and is_active and f" {kind}:{role} " in entry.writers
        if is_stored or not is_allowed:
            continue
        start = (entry.conversation_id, last_seq, head, countable)
        _, seq, event_seq, counted = heads.get(entry.conversation_id, start)
        seq, event_seq, counted = seq + 1, event_seq + 1, counted + 1
        heads[entry.conversation_id] = (entry.conversation_id, seq, event_seq, counted)
        messages.append(_message(entry, seq, event_seq, counted, at))
        if archived_countable == counted - 1:
            # The mark of an archive goes along with the sender's own words.
            archived_countable, archived_seq = counted, seq
        members.append([member, seq, counted, archived_countable, archived_seq])
        verdicts[place] = Placed(seq, event_seq, at, name, avatar_url, user_role)
    if messages:
        connection.execute(_INSERT, (_json(messages),))
        connection.execute(_COUNT, (_json(list(heads.values())), at))
        connection.execute(_MOVE, (_json(members),))
    return verdicts


def _look(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[list[Any]]:
    """Return, by the place of each entry, what is to be decided about."""
    asked = [(entry.conversation_id, entry.sender_id, entry.client_msg_id) for entry in entries]
    row = connection.execute(_LOOK, (_json(asked),)).fetchone()
    found: list[list[Any]] = orjson.loads(row[0])
    return found


def _message(entry: Entry, seq: int, event_seq: int, countable: int, at: int) -> list[Any]:
    return [
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
    ]


def _json(values: Sequence[Any]) -> str:
    return orjson.dumps(values).decode()
