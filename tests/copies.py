"""A database that is replaced by an older copy of itself, as operators and failovers do it."""

import asyncio
import sqlite3
from contextlib import closing
from urllib.parse import urlsplit

import asyncpg

from server.config import Settings
from server.ids import new_id
from tests.services import PostgresAt


class File:
    """An SQLite file."""

    def __init__(self, settings: Settings) -> None:
        path = settings.database.file_path()
        assert path is not None
        self._file = path
        self._copy = path.with_name("copy.db")

    async def copy(self) -> None:
        """Keep what is stored now."""
        with (
            closing(sqlite3.connect(self._file)) as live,
            closing(sqlite3.connect(self._copy)) as to,
        ):
            live.backup(to)

    async def restore(self) -> None:
        """Bring the copy back under a running server, as `.restore` of the shell does."""
        await asyncio.to_thread(self._restore)

    def _restore(self) -> None:
        with (
            closing(sqlite3.connect(self._copy)) as kept,
            closing(sqlite3.connect(self._file, timeout=5)) as live,
        ):
            kept.backup(live)

    async def begin_epoch(self, epoch: str) -> None:
        """Say that it was replaced, as an operator does."""
        with closing(sqlite3.connect(self._file, timeout=5)) as live, live:
            live.execute("UPDATE installation SET value = ? WHERE key = 'epoch'", [epoch])

    async def swap(self) -> None:
        """Put the copy in the place of the file; whoever has that open does not notice."""
        self._copy.rename(self._file)

    async def is_sound(self) -> bool:
        """Return whether the file holds what it should, in itself."""
        with closing(sqlite3.connect(self._file)) as live:
            return bool(live.execute("PRAGMA integrity_check").fetchall() == [("ok",)])

    async def drop(self) -> None:
        """Leave the files to the folder they are in."""


class Copied:
    """A database of PostgreSQL; it is copied while nobody is connected to it."""

    def __init__(self, settings: Settings, server: PostgresAt) -> None:
        self._server = server
        self._url = settings.database.url
        self._name = urlsplit(settings.database.url).path.removeprefix("/")
        self._copy = f"copy_{new_id().replace('-', '')}"
        self._gone = f"gone_{new_id().replace('-', '')}"

    async def copy(self) -> None:
        """Keep what is stored now."""
        await self._server.create_database(self._copy, self._name)

    async def restore(self) -> None:
        """Put the copy in the place of the database, whose connections are cut."""
        await self._server.rename_database(self._name, self._gone)
        await self._server.rename_database(self._copy, self._name)

    async def begin_epoch(self, epoch: str) -> None:
        """Say that it was replaced, as an operator does."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(
                "UPDATE installation SET value = $1 WHERE key = 'epoch'", epoch
            )
        finally:
            await connection.close()

    async def drop(self) -> None:
        """Leave nothing behind but a database of the name that was there."""
        for name in (self._copy, self._gone):
            await self._server.drop_database(name)


Copy = File | Copied


def of(settings: Settings, server: PostgresAt | None) -> Copy:
    """Return what copies and restores the database of these settings."""
    return File(settings) if server is None else Copied(settings, server)
