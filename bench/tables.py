"""Rows put into databases below the servers: years of talk that nobody has the time to send.

Nothing here knows what columns there are: a row that the server wrote is copied, and only what must
differ is said.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping

import asyncpg

_NAME = "UPDATE users SET name = 'Person ' || id, search_name = 'person ' || id"


def name_everybody(url: str) -> None:
    """Call everybody as their tokens call them, so that nobody is new when they connect."""
    if not url.startswith("sqlite://"):
        asyncio.run(_execute(url, _NAME))
        return
    with sqlite3.connect(url.removeprefix("sqlite://"), timeout=10) as connection:
        connection.execute(_NAME)
    connection.close()


def lengthen(url: str, message_id: str, count: int) -> None:
    """Let a conversation of Palabre with one message have so many."""

    async def fill(connection: asyncpg.Connection) -> None:
        changed = {
            "id": "uuidv7()::text",
            "seq": "row.seq + n",
            "event_seq": "row.event_seq + n",
            "countable": "row.countable + n",
            "client_msg_id": "'m' || n",
            "created_at": "row.created_at + n",
        }
        await _copy(connection, "messages", message_id, count - 1, changed)
        await connection.execute(
            "UPDATE conversations SET last_seq = last_seq + $2, head = head + $2, "
            "countable = countable + $2 "
            "WHERE id = (SELECT conversation_id FROM messages WHERE id = $1)",
            message_id,
            count - 1,
        )

    asyncio.run(_on(url, fill))


def multiply(url: str, message_id: str, count: int) -> None:
    """Let there be so many conversations of Palabre like the one with this message."""
    other = f"md5('{message_id}' || n)::uuid::text"

    async def fill(connection: asyncpg.Connection) -> None:
        original = await connection.fetchval(
            "SELECT conversation_id FROM messages WHERE id = $1", message_id
        )
        changed = {"id": other, "last_activity_at": "row.last_activity_at + n"}
        await _copy(connection, "conversations", original, count - 1, changed)
        for table, key in (("participants", "conversation_id"), ("messages", "conversation_id")):
            rows = await connection.fetch(f"SELECT id FROM {table} WHERE {key} = $1", original)
            for row in rows:
                changed = {
                    "id": "uuidv7()::text",
                    "conversation_id": other,
                    "last_activity_at": "row.last_activity_at + n",
                }
                await _copy(connection, table, row["id"], count - 1, changed)

    asyncio.run(_on(url, fill))


def lengthen_peer(url: str, sizes: Mapping[int, int]) -> dict[int, int]:
    """Fill conversations of a peer by their numbers; return the first id of each."""
    first: dict[int, int] = {}

    async def fill(connection: asyncpg.Connection) -> None:
        for conversation, count in sizes.items():
            await connection.execute(
                "INSERT INTO messages (conversation_id, sender_id, type, content, created_at) "
                "SELECT $1::bigint, 2 * $1::bigint - n % 2, 'text', repeat('x', 200), now() "
                "FROM generate_series(1, $2::bigint) n",
                conversation,
                count,
            )
            first[conversation] = await connection.fetchval(
                "SELECT min(id) FROM messages WHERE conversation_id = $1", conversation
            )

    asyncio.run(_on(url, fill))
    return first


async def _copy(
    connection: asyncpg.Connection, table: str, id_: str, count: int, changed: Mapping[str, str]
) -> None:
    """Insert so many copies of a row, each changed as said in terms of `row` and `n`."""
    columns = [
        found["column_name"]
        for found in await connection.fetch(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = $1 AND is_generated = 'NEVER'",
            table,
        )
    ]
    values = ", ".join(changed.get(column, f"row.{column}") for column in columns)
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {values} FROM {table} row, generate_series(1, $2::bigint) n WHERE row.id = $1",
        id_,
        count,
        timeout=600,
    )


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _on(url: str, fill: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await fill(connection)
    finally:
        await connection.close()
