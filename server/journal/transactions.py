"""Transactions and snapshots of the database that nothing can leave half done."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from tortoise.connection import get_connection
from tortoise.transactions import in_transaction

from server.errors import ClientError, UnavailableError
from server.journal.failures import ConflictError, translated
from server.models import reader, sql

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 5


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
            with suppress(ConflictError):
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


async def in_one_call(write: Callable[[sqlite3.Connection], T]) -> T:
    """Run a function as one transaction on SQLite, in the thread of the connection that writes.

    One change of threads instead of one for each statement. Raises `UnavailableError` or
    `StorageFullError` for what is the database's fault.
    """
    client: Any = get_connection("default")
    try:
        async with client.acquire_connection() as connection:
            done: T = await connection._execute(_at_once, connection._conn, write)  # noqa: SLF001
    except ValueError as error:  # so says a connection that is not open
        raise UnavailableError(retry_after_ms=1_000, reason=str(error)) from error
    except sqlite3.Error as error:
        meant = translated(error)
        raise (meant if isinstance(meant, ClientError) else error) from error
    return done


def _at_once(connection: sqlite3.Connection, write: Callable[[sqlite3.Connection], T]) -> T:
    # With the lock that writing needs, as all who write begin.
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = write(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return done


async def _alone(work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.shield(asyncio.ensure_future(work))


def _to_write() -> Any:
    context: Any = in_transaction("default")
    if sql.dialect() == "sqlite":
        context.connection.begin = partial(_begin_to_write, context.connection)
    return context


def _to_read() -> Any:
    """Return a transaction on a connection that waits for no writer, where there is one."""
    present = reader.present()
    return in_transaction("default") if present is None else present.snapshot()


@asynccontextmanager
async def _begun(context: Any) -> AsyncIterator[None]:
    """Open a transaction, and give its connection back whatever fails.

    Tortoise takes a connection (on SQLite: the lock) before it begins and keeps it for ever when
    that fails, so that a database that was gone for a moment would leave an empty pool behind. And
    it does not roll back when COMMIT fails, which leaves SQLite inside that transaction for good.
    """
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
        async with _begun(_to_write()):
            return await action(*args, **kwargs)
    except Exception as error:
        meant = translated(error)
        if meant is error:
            raise
        raise meant from error


async def _one_look(action: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        async with _begun(_to_read()):
            if sql.dialect() == "postgres":
                await sql.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return await action(*args, **kwargs)
    except Exception as error:
        meant = translated(error)
        if meant is error:
            raise
        raise meant from error
