"""Batches on PostgreSQL: one function call is one transaction, in one round trip."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from server.clock import now_ms
from server.errors import ClientError
from server.journal.entries import (
    AwayError,
    Entry,
    Left,
    Locks,
    Placed,
    UnknownOutcomeError,
    Verdict,
)
from server.journal.failures import ConflictError, translated

if TYPE_CHECKING:
    from asyncpg.prepared_stmt import PreparedStatement

_CONNECT_S = 2.0
_ANSWER_S = 4.0
"""How long a batch may take before its connection is given up; senders wait five seconds."""

_APPEND = "SELECT * FROM palabre_append_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"


class Session:
    """A connection to PostgreSQL of its own."""

    def __init__(self, credentials: Mapping[str, Any]) -> None:
        """Connect as this says, in the words of asyncpg, when it is needed."""
        self._credentials = {**credentials, "timeout": _CONNECT_S}
        self._connection: asyncpg.Connection | None = None
        self._append: PreparedStatement | None = None

    @property
    def is_open(self) -> bool:
        """Return whether there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.is_closed()

    async def open(self) -> None:
        """Connect; raises `AwayError`."""
        if self.is_open:
            return
        try:
            self._connection = await asyncpg.connect(**self._credentials)
            self._append = await self._connection.prepare(_APPEND, timeout=_CONNECT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            self._drop()
            raise AwayError(
                retry_after_ms=1_000, reason=f"{type(error).__name__}: {error}"
            ) from error

    async def append(self, entries: Sequence[Entry], locks: Locks) -> Sequence[Verdict]:
        """Append these entries, or none of them."""
        statement = self._append
        if statement is None or not self.is_open:
            raise AwayError(retry_after_ms=1_000)
        at = now_ms()
        try:
            rows = await statement.fetch(*_columns(entries, at, locks), timeout=_ANSWER_S)
        except asyncpg.LockNotAvailableError:
            return [Left.HELD] * len(entries)
        except Exception as error:
            raise self._judged(error) from error
        verdicts: list[Verdict] = [Left.ASIDE] * len(entries)
        for place, seq, event_seq, name, avatar_url, role in rows:
            verdicts[place - 1] = (
                Left.HELD if seq is None else Placed(seq, event_seq, at, name, avatar_url, role)
            )
        return verdicts

    def _judged(self, error: Exception) -> Exception:
        """Return what a failure says about the batch.

        An error that leaves the connection open is the end of a transaction that was rolled back.
        """
        ended = isinstance(
            error,
            asyncpg.PostgresConnectionError
            | asyncpg.AdminShutdownError
            | asyncpg.CrashShutdownError
            | asyncpg.CannotConnectNowError,
        )
        if isinstance(error, asyncpg.PostgresError) and self.is_open and not ended:
            meant = translated(error)
            return meant if isinstance(meant, ClientError | ConflictError) else error
        if isinstance(error, ValueError | TypeError):
            # The driver refused to send it.
            return error
        self._drop()
        return UnknownOutcomeError(f"{type(error).__name__}: {error}")

    async def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None and self.is_open:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await asyncio.wait_for(self._connection.close(), _CONNECT_S)
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = self._append = None


def _columns(entries: Sequence[Entry], at: int, locks: Locks) -> tuple[Any, ...]:
    """Return a batch as the function takes it: one list a column."""
    writers: dict[str, int] = {}
    return (
        [entry.id for entry in entries],
        [entry.conversation_id for entry in entries],
        [entry.sender_id for entry in entries],
        [entry.client_msg_id for entry in entries],
        [entry.fingerprint for entry in entries],
        [entry.content for entry in entries],
        [entry.metadata for entry in entries],
        [writers.setdefault(entry.writers, len(writers) + 1) for entry in entries],
        list(writers),
        at,
        locks is Locks.AWAITED,
    )
