"""Connections of SQLite that only read, so that no page of history waits for a commit.

In its WAL a reader sees everything that was committed when it began, and waits for nobody. What is
read in one call has a connection and thread of its own; a snapshot, which is several calls, has
another.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from tortoise.backends.base.client import BaseDBAsyncClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.connection import get_connection

T = TypeVar("T")

_Asked = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]

_STATEMENTS = 256
_AT_ONCE = 32
_SUFFIXES = ("", "-wal", "-shm")


class Reader:
    """What reads the file of one SQLite database."""

    def __init__(self, file_path: str, *, busy_timeout: int) -> None:
        """Read this file; `busy_timeout` is in milliseconds."""
        self._file_path = file_path
        self._busy_timeout = busy_timeout
        self._thread = ThreadPoolExecutor(1, "sqlite-reader")
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[_Asked] = []
        self._is_reading = False
        self._files = _files(file_path)
        # It stands in for Tortoise's connection during a snapshot, so it has the same name.
        self._snapshots = SqliteClient(
            file_path, connection_name="default", busy_timeout=busy_timeout, query_only="ON"
        )

    def snapshot(self) -> TransactionContext:
        """Return a transaction that sees the database as of its first statement."""
        return self._snapshots._in_transaction()  # noqa: SLF001 (what `in_transaction` does)

    async def run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a function reads, in a thread; rows are tuples.

        Changing threads costs more than most reads, so what is asked while the thread reads goes
        there together.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((read, answer))
        if not self._is_reading:
            self._send()
        return await answer

    def _send(self) -> None:
        """Let the thread read some of what waits."""
        some, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
        try:
            self._thread.submit(self._read_all, some, asyncio.get_running_loop())
        except RuntimeError as error:  # it is closed
            self._deliver([(answer, None, error) for _, answer in some])
        else:
            self._is_reading = True

    def _read_all(self, asked: list[_Asked], loop: asyncio.AbstractEventLoop) -> None:
        """Read, in the thread, for those who have not given up."""
        found = [(answer, *self._run(read)) for read, answer in asked if not answer.done()]
        # The loop is gone when nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._deliver, found)

    def _run(self, read: Callable[[sqlite3.Connection], Any]) -> tuple[Any, Exception | None]:
        try:
            if self._connection is None:
                self._connection = self._connected()
            return read(self._connection), None
        except Exception as error:  # noqa: BLE001 (whoever asked gets it)
            return None, error

    def _deliver(self, found: list[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
        self._is_reading = False
        if self._waiting:
            self._send()
        for answer, read, error in found:
            if answer.done():
                continue
            if error is None:
                answer.set_result(read)
            else:
                answer.set_exception(error)

    async def run_afresh(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a function reads on a connection that is opened for it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run_afresh, read)

    def _run_afresh(self, read: Callable[[sqlite3.Connection], T]) -> T:
        with closing(self._connected()) as connection:
            return read(connection)

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file_path,
            timeout=self._busy_timeout / 1_000,
            isolation_level=None,
            cached_statements=_STATEMENTS,
        )
        connection.execute("PRAGMA query_only = ON")
        return connection

    # The file

    async def is_elsewhere(self) -> bool:
        """Return whether another file has taken the place of the one that is open."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    def _look(self) -> bool:
        now = _files(self._file_path)
        if now[0] is None or now[0] != self._files[0]:
            return now[0] is not None
        self._files = now
        return False

    async def move(self) -> None:
        """Go over to the file that is in place now; call when nobody writes into the old one.

        What is left of the old one's WAL goes first: SQLite would take it for the new one's.
        """
        await self._snapshots.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._move)

    def _move(self) -> None:
        self._close()
        now = _files(self._file_path)
        for suffix, there, before in zip(_SUFFIXES[1:], now[1:], self._files[1:], strict=True):
            if there is not None and there == before:
                Path(self._file_path + suffix).unlink(missing_ok=True)
        self._files = _files(self._file_path)

    async def close(self) -> None:
        """Give everything back."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()
        await self._snapshots.close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _files(file_path: str) -> list[tuple[int, int] | None]:
    """Return what tells the files of a database from others in their places."""
    return [_identity(file_path + suffix) for suffix in _SUFFIXES]


def _identity(file_path: str) -> tuple[int, int] | None:
    try:
        status = Path(file_path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


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
