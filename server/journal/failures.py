"""What a failure of the database means to a client."""

import sqlite3

import asyncpg
from tortoise.exceptions import BaseORMException, DBConnectionError

from server.errors import StorageFullError, UnavailableError

AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""Whoever was chosen as the victim of a conflict may try the same again."""

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
    # How a database that is being replaced or stopped turns down whoever connects.
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InternalClientError,
    DBConnectionError,
    OSError,
    TimeoutError,
)


class ConflictError(Exception):
    """The database asks for the transaction to be tried again."""


def translated(error: Exception) -> Exception:
    """Return what a failure of the database means to the client, or the error itself."""
    cause = _driver_error(error)
    if isinstance(cause, AGAIN):
        return ConflictError()
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
    meant = translated(error)
    return UnavailableError() if isinstance(meant, ConflictError) else meant
