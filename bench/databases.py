"""Where the servers that are measured keep their data: durably, as in production."""

import asyncio
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from tests.services import LOOPBACK, Postgres, PostgresAt

# PostgreSQL as it comes: fsync, full pages and synchronous commits are on.
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",
}

_DURABILITY = ("server_version", "fsync", "synchronous_commit", "full_page_writes")


class Databases:
    """Databases for one run of the benchmark; what is kept is filled once, for all rounds."""

    def __init__(self, postgres: PostgresAt, folder: Path) -> None:
        """Make databases in this PostgreSQL, and files in this folder."""
        self._postgres = postgres
        self._kept: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        """What whoever filled a database remembers of it: ids, numbers."""
        self.folder = folder

    @contextmanager
    def postgres(self) -> Iterator[str]:
        """Give the address of an empty PostgreSQL database that lives as long as the block."""
        name = f"bench_{secrets.token_hex(6)}"
        url = asyncio.run(self._postgres.create_database(name))
        try:
            # The log of whoever was measured before is written out now, not while this one runs.
            asyncio.run(execute(self._postgres.url, "CHECKPOINT"))
            yield url
        finally:
            asyncio.run(self._postgres.drop_database(name))

    @contextmanager
    def sqlite(self) -> Iterator[str]:
        """Give the address of an SQLite database that lives as long as the block."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield f"sqlite://{folder}/palabre.db"

    def kept(self, name: str, fill: Callable[[str], None]) -> str:
        """Return the address of a PostgreSQL database that is filled the first time."""
        if name not in self._kept:
            url = asyncio.run(self._postgres.create_database(f"bench_{secrets.token_hex(6)}"))
            fill(url)
            asyncio.run(execute(url, "VACUUM ANALYZE"))
            asyncio.run(execute(url, "CHECKPOINT"))
            self._kept[name] = url
        return self._kept[name]

    def durability(self) -> dict[str, str]:
        """Return the settings of PostgreSQL that decide whether an answer survives a power cut."""

        async def read() -> dict[str, str]:
            connection = await asyncpg.connect(self._postgres.url)
            try:
                return {name: await connection.fetchval(f"SHOW {name}") for name in _DURABILITY}
            finally:
                await connection.close()

        return asyncio.run(read())


@contextmanager
def started(folder: Path) -> Iterator[Databases]:
    """Run a PostgreSQL for the benchmark as long as the block lasts."""
    with Postgres(SETTINGS) as postgres:
        yield Databases(postgres, folder)


async def execute(url: str, statement: str, *values: object) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url, timeout=60)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()
