"""Connections of SQLite that only read, so that no page of history waits for a commit.

In its WAL a reader sees everything that was committed when it began, and waits for nobody. What is
read in one call has a connection and thread of its own; a snapshot, which is several calls, has
another.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakKeyDictionary

from tortoise.backends.base.client import BaseDBAsyncClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.connection import get_connection

T = TypeVar("T")

_STATEMENTS = 256


class Reader:
    """What reads the file of one SQLite database."""

    def __init__(self, file_path: str, *, busy_timeout: int) -> None:
        """Read this file; `busy_timeout` is in milliseconds."""
        self._file_path = file_path
        self._busy_timeout = busy_timeout
        self._thread = ThreadPoolExecutor(1, "sqlite-reader")
        self._connection: sqlite3.Connection | None = None
        # It stands in for Tortoise's connection during a snapshot, so it has the same name.
        self._snapshots = SqliteClient(
            file_path, connection_name="default", busy_timeout=busy_timeout, query_only="ON"
        )

    def snapshot(self) -> TransactionContext:
        """Return a transaction that sees the database as of its first statement."""
        return self._snapshots._in_transaction()  # noqa: SLF001 (what `in_transaction` does)

    async def run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a function reads, in a thread; rows are tuples."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, read)

    def _run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._file_path,
                timeout=self._busy_timeout / 1_000,
                isolation_level=None,
                cached_statements=_STATEMENTS,
            )
            self._connection.execute("PRAGMA query_only = ON")
        return read(self._connection)

    async def close(self) -> None:
        """Give everything back."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()
        await self._snapshots.close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()


_READERS: "WeakKeyDictionary[BaseDBAsyncClient, Reader]" = WeakKeyDictionary()


def attach(reader: Reader) -> None:
    """Let a reader serve what is read from here on outside transactions."""
    _READERS[get_connection("default")] = reader


def detach() -> None:
    """Let everything be read by the connection that writes, as before."""
    _READERS.pop(get_connection("default"), None)


def present() -> Reader | None:
    """Return who reads here: nobody within a transaction, on PostgreSQL, and in memory."""
    return of(get_connection("default"))


def of(connection: BaseDBAsyncClient) -> Reader | None:
    """Return who reads beside a connection."""
    return _READERS.get(connection)
