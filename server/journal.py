"""The one place where the numbers of a conversation and of a person are given out.

Numbers are taken under the row lock of their conversation or person, in the transaction of the
change they count, so that the order of commits is the order of numbers. Locks are taken in one
order everywhere: conversations, users, participants, messages, each by primary key. What is decided
under a lock is read after it, in statements of its own: a statement that locks and joins still sees
the membership from before it waited.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import asyncpg
import orjson
from tortoise.exceptions import BaseORMException, DBConnectionError
from tortoise.transactions import in_transaction

from server.clock import now_ms
from server.errors import StorageFullError, UnavailableError
from server.ids import new_id
from server.models import Conversation, Message, sql
from server.schemas.values import MessageType

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 5
_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_FULL = (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)
_SQLITE_GONE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
)
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
    DBConnectionError,
    OSError,
    TimeoutError,
)


def transaction(
    action: Callable[P, Awaitable[T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make an action one transaction: everything it writes is stored, or nothing.

    The action runs in a task of its own that nobody cancels, because a transaction that is
    cancelled while it begins would keep its connection for ever. It may run again from the start
    when the database chose it as the victim of a conflict, so it must do nothing but use the
    database.
    """

    @wraps(action)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_TRIES):
            with suppress(_Conflict):
                return await _alone(_one_try(action, *args, **kwargs))
        message = "The database is too busy. Ask again."
        raise UnavailableError(message)

    return run


def snapshot(
    action: Callable[P, Awaitable[T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make an action one read: all its statements see the database as of one moment."""

    @wraps(action)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await _alone(_one_look(action, *args, **kwargs))

    return run


class _Conflict(Exception):  # noqa: N818 (a signal of this module, not an error anybody sees)
    """The database asks for the transaction to be tried again."""


async def _alone(work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.shield(asyncio.ensure_future(work))


@asynccontextmanager
async def _begun(*, writes: bool) -> AsyncIterator[None]:
    """Open a transaction, and give its connection back whatever fails.

    Tortoise takes a connection (on SQLite: the lock) before it begins and keeps it for ever when
    that fails, so that a database that was gone for a moment would leave an empty pool behind. And
    it does not roll back when COMMIT fails, which leaves SQLite inside that transaction for good.
    """
    context: Any = in_transaction("default")
    if writes and sql.dialect() == "sqlite":
        context.connection.begin = partial(_begin_to_write, context.connection)
    try:
        transaction = await context.__aenter__()
    except BaseException:
        await _give_back(context)
        raise
    try:
        yield
        await transaction.commit()
    except BaseException as error:
        with suppress(Exception):
            await transaction.rollback()
        with suppress(Exception):
            await context.__aexit__(type(error), error, error.__traceback__)
        raise
    await context.__aexit__(None, None, None)


async def _begin_to_write(client: Any) -> None:
    """Begin with the lock that writing needs, and wait for whoever holds it.

    SQLite refuses at once to turn a transaction that has read already into one that writes while
    another process (a shell, a backup) is writing.
    """
    await client._connection.execute("BEGIN IMMEDIATE")  # noqa: SLF001 (Tortoise only says BEGIN)


async def _give_back(context: Any) -> None:
    lock = getattr(context, "_trxlock", None)
    if lock is not None:
        if lock.locked():
            lock.release()
        return
    client = context.client
    if client._connection is not None:  # noqa: SLF001 (nothing public gives it back)
        await client._parent._pool.release(client._connection)  # noqa: SLF001


async def _one_try(action: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        async with _begun(writes=True):
            return await action(*args, **kwargs)
    except Exception as error:
        translated = _translated(error)
        if translated is error:
            raise
        raise translated from error


async def _one_look(action: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        async with _begun(writes=False):
            if sql.dialect() == "postgres":
                await sql.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return await action(*args, **kwargs)
    except Exception as error:
        translated = _translated(error)
        if translated is error:
            raise
        raise translated from error


def _translated(error: Exception) -> Exception:
    """Return what a failure of the database means to the client, or the error itself."""
    cause = _driver_error(error)
    if isinstance(cause, _AGAIN):
        return _Conflict()
    sqlite_code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if isinstance(cause, _FULL) or sqlite_code == sqlite3.SQLITE_FULL:
        return StorageFullError(reason=str(cause))
    if isinstance(cause, _GONE) or sqlite_code in _SQLITE_GONE:
        return UnavailableError(retry_after_ms=1_000, reason=f"{type(cause).__name__}: {cause}")
    return error


def _driver_error(error: BaseException) -> BaseException:
    """Return the driver's own error that Tortoise wrapped."""
    if isinstance(error, BaseORMException) and not isinstance(error, DBConnectionError):
        inner = error.__cause__ or (error.args[0] if error.args else None)
        if isinstance(inner, BaseException):
            return inner
    return error


def database_refusal(error: Exception) -> Exception:
    """Return what a failure outside any transaction means to the client."""
    translated = _translated(error)
    return UnavailableError() if isinstance(translated, _Conflict) else translated


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
