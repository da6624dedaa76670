"""Sessions of PostgreSQL that only read: one round trip a statement, and nothing around it.

A pool gives a connection back with a question of its own and a task; these are taken and put back
by hand. They change nothing in their session, so there is nothing to reset.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import asyncpg
from tortoise.connection import get_connection

if TYPE_CHECKING:
    from tortoise.backends.base.client import BaseDBAsyncClient

_STATEMENT_BYTES = 65_536
"""Up to which size a statement is prepared once; asyncpg's own bound is below our largest."""

_COMMAND_S = 6.0
"""How long an answer is waited for, so that a dead network does not keep every session; longer than
the database's own bound."""


class Sessions:
    """A few connections that wait for the next read."""

    def __init__(self, credentials: Mapping[str, Any], *, most: int) -> None:
        """Connect as this says, in the words of asyncpg, and at most so many times."""
        self._credentials = dict(credentials)
        self._most = most
        self._open = 0
        self._free: list[asyncpg.Connection] = []
        # Each gets a connection that is free, or none and may open one.
        self._waiting: deque[asyncio.Future[asyncpg.Connection | None]] = deque()
        self._is_closed = False

    async def fetch(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows of a statement, which is a snapshot of its own."""
        connection = self._next() or await self._another()
        try:
            found: list[Any] = await connection.fetch(statement, *values)
        except (asyncio.CancelledError, TimeoutError):
            # Its answer is on the way still, or never comes: nobody else should wait for that.
            connection.terminate()
            raise
        finally:
            self._put_back(connection)
        return found

    def _next(self) -> asyncpg.Connection | None:
        """Take a connection that waits; those that the database has ended meanwhile are dropped."""
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
            self._open -= 1
        return None

    async def _another(self) -> asyncpg.Connection:
        """Return a new connection, or wait for one when there are as many as there may be."""
        if self._open < self._most:
            self._open += 1
        else:
            given = await self._turn()
            if given is not None and not given.is_closed():
                return given
        try:
            return await self._connected()
        except BaseException:
            self._hand_on(None)
            raise

    async def _turn(self) -> asyncpg.Connection | None:
        """Wait for a connection, or for the place of one that has ended; first come, first served.

        Whoever reads again and again would else always be faster than those who wait.
        """
        turn: asyncio.Future[asyncpg.Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except BaseException:
            # Whoever gave up may have been called already: the next one takes the turn.
            if turn.done() and not turn.cancelled():
                self._hand_on(turn.result())
            raise

    async def fetch_afresh(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows as a server sees them that can be written to, asked by a new connection.

        Whoever was the primary a moment ago may be none any more.
        """
        connection = await self._connected(target_session_attrs="read-write")
        try:
            found: list[Any] = await connection.fetch(statement, *values)
            return found
        finally:
            connection.terminate()

    async def _connected(self, **more: Any) -> asyncpg.Connection:
        return await asyncpg.connect(
            **self._credentials,
            **more,
            max_cacheable_statement_size=_STATEMENT_BYTES,
            command_timeout=_COMMAND_S,
        )

    def _put_back(self, connection: asyncpg.Connection) -> None:
        if self._is_closed:
            connection.terminate()
        self._hand_on(None if connection.is_closed() else connection)

    def _hand_on(self, connection: asyncpg.Connection | None) -> None:
        """Give a connection, or the place of one that has ended, to whoever waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if connection is None:
            self._open -= 1
        else:
            self._free.append(connection)

    async def close(self) -> None:
        """Give everything back."""
        self._is_closed = True
        while self._free:
            connection = self._free.pop()
            try:
                await connection.close(timeout=1)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                connection.terminate()


_SESSIONS: "WeakKeyDictionary[BaseDBAsyncClient, Sessions]" = WeakKeyDictionary()


def attach(sessions: Sessions) -> None:
    """Let these serve what is read from here on outside transactions."""
    _SESSIONS[get_connection("default")] = sessions


def detach() -> None:
    """Let everything be read through the pool again."""
    _SESSIONS.pop(get_connection("default"), None)


def of(connection: "BaseDBAsyncClient") -> Sessions | None:
    """Return who reads beside a connection: nobody for a transaction, and on SQLite."""
    return _SESSIONS.get(connection)
