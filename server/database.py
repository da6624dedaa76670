"""The database as a whole: opened, checked, migrated, closed."""

import fcntl
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, TextIO

from tortoise import Tortoise
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection
from tortoise.migrations.executor import MigrationExecutor

from server.config import Settings
from server.errors import SettingsError
from server.ids import new_id
from server.models import ServerKey, reader, sessions, sql
from server.models.reader import Reader
from server.models.sessions import Sessions

_APPS = {
    "palabre": {
        "models": ["server.models"],
        "migrations": "server.migrations",
        "default_connection": "default",
    }
}
# Any fixed number will do, as long as all nodes of all versions use the same one.
_MIGRATION_LOCK = 7_252_273
_FILE_KEY = "file_key"
_DURABLE = ["fsync", "full_page_writes", "synchronous_commit"]
_SWITCH_S = 0.000_5
# A read takes a millisecond; more of them at once would only wait in the database instead.
_READING = 4


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[None]:
    """Open the database for this process and close it at the end.

    Raises `SettingsError` when it cannot be reached or when SQLite is in use by another process.
    """
    lock = _sole_owner(settings)
    connection = settings.database.tortoise_connection()
    context = await Tortoise.init(config={"connections": {"default": connection}, "apps": _APPS})
    reads: Reader | Sessions | None = None
    try:
        await _reach()
        reads = _reader(settings) if settings.database.is_sqlite else _sessions(settings)
        yield
    finally:
        if reads is not None:
            reader.detach()
            sessions.detach()
            await reads.close()
        await context.close_connections()
        if lock is not None:
            lock.close()


@asynccontextmanager
async def visited(settings: Settings) -> AsyncIterator[None]:
    """Open the database for a few statements, beside the server that may have it open.

    Nothing of it is kept in memory here, so this is also fine on SQLite. Raises `SettingsError`
    when it cannot be reached or its tables are those of another version.
    """
    file = settings.database.file_path()
    if settings.database.is_sqlite and (file is None or not file.exists()):
        message = f"database.url: {settings.database.url} is no database yet: palabre migrate"
        raise SettingsError(message)
    connection = settings.database.tortoise_connection()
    context = await Tortoise.init(config={"connections": {"default": connection}, "apps": _APPS})
    try:
        await _reach()
        try:
            await ServerKey.exists()
        except Exception as error:
            message = "database.url: the tables are those of another version: palabre migrate"
            raise SettingsError(message) from error
        yield
    finally:
        await context.close_connections()


def _reader(settings: Settings) -> Reader | None:
    """Let reads of an SQLite file have connections of their own; none can see into memory."""
    file = settings.database.file_path()
    if file is None:
        return None
    credentials = settings.database.tortoise_connection()["credentials"]
    reads = Reader(str(file), busy_timeout=credentials["busy_timeout"])
    reader.attach(reads)
    # A thread of SQLite that comes back from the disk waits so long for a loop that is busy.
    sys.setswitchinterval(_SWITCH_S)
    return reads


def _sessions(settings: Settings) -> Sessions:
    """Let reads of PostgreSQL have connections of their own."""
    reads = Sessions(settings.database.postgres_session(), most=_READING)
    sessions.attach(reads)
    return reads


def _sole_owner(settings: Settings) -> TextIO | None:
    """Take the lock that keeps a second process off a SQLite file."""
    credentials = settings.database.tortoise_connection()["credentials"]
    if "file_path" not in credentials:
        return None
    file = Path(str(credentials["file_path"]))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f"{file.name}.lock").open("w")
    except OSError as error:
        message = f"database.url: {file} cannot be written ({error.strerror})"
        raise SettingsError(message) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        message = (
            f"database.url: {file} is in use by another Palabre; SQLite serves one process, "
            "use PostgreSQL for more"
        )
        raise SettingsError(message) from error
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


async def _reach() -> None:
    try:
        await sql.fetch("SELECT 1 AS one")
    except Exception as error:
        message = f"database.url: the database does not answer ({error})"
        raise SettingsError(message) from error


async def migrate() -> None:
    """Bring the schema up to date; several nodes may try at once, one does it."""
    connection = get_connection("default")
    if sql.dialect() == "sqlite":
        await _migrate(connection)
        return
    # The lock belongs to a session, so it is taken and given back on one connection.
    async with connection.acquire_connection() as session:
        # Waiting for another node's migration is not a statement that hangs.
        await session.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        await session.execute(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})")
        try:
            await _migrate(connection)
        finally:
            await session.execute(f"SELECT pg_advisory_unlock({_MIGRATION_LOCK})")
            await session.execute("RESET statement_timeout; RESET lock_timeout")


async def _migrate(connection: BaseDBAsyncClient) -> None:
    await MigrationExecutor(connection, _APPS).migrate()
    statement = "INSERT INTO installation (key, value) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    await sql.execute(statement, "epoch", new_id())
    await sql.execute(statement, _FILE_KEY, token_hex(32))


async def require_schema() -> None:
    """Raise `SettingsError` when a part of the schema is not there and nobody may make it.

    What newer nodes have added is in nobody's way.
    """
    off = "database.migrate_on_start is off and"
    try:
        # The last that migrating writes.
        await file_key()
        missing = await MigrationExecutor(get_connection("default"), _APPS).plan()
    except Exception as error:
        message = f"{off} the database is not ready: palabre migrate"
        raise SettingsError(message) from error
    if missing:
        message = f"{off} the database lacks {missing[0].migration.name}: palabre migrate"
        raise SettingsError(message)


async def require_durable() -> None:
    """Raise `SettingsError` when PostgreSQL may lose what it has confirmed; SQLite never does."""
    if sql.dialect() == "sqlite":
        return
    statement = "SELECT name FROM pg_settings WHERE name = ANY ($1) AND setting = 'off'"
    unsafe = [row["name"] for row in await sql.fetch(statement, _DURABLE)]
    if unsafe:
        message = (
            f"database.url: PostgreSQL has {unsafe[0]} off and may lose what it has confirmed; "
            "switch it on there, or set database.require_durable to false"
        )
        raise SettingsError(message)


async def epoch() -> str:
    """Return what changes when this database is replaced by an older copy of itself."""
    return await _fact("epoch")


async def begin_epoch() -> str:
    """Give the database a new epoch, because it is an older copy of itself; return it."""
    fresh = new_id()
    await sql.execute("UPDATE installation SET value = $1 WHERE key = 'epoch'", fresh)
    return fresh


async def follow() -> bool:
    """Go over to the file that has taken the place of the SQLite file; return whether one has."""
    reads = reader.present()
    if reads is None or not await reads.is_elsewhere():
        return False
    writes: Any = get_connection("default")
    # Nobody writes meanwhile.
    async with writes.acquire_connection():
        await writes.close()
        await reads.move()
        await writes.create_connection(with_db=True)
    return True


async def file_key() -> str:
    """Return the secret that signs addresses of files: 32 random bytes in hexadecimal, for ever."""
    return await _fact(_FILE_KEY)


async def _fact(key: str) -> str:
    rows = await sql.fetch("SELECT value FROM installation WHERE key = $1", key)
    return str(rows[0]["value"])
