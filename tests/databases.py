"""A migrated PostgreSQL database for one test after the other.

Making a database costs a third of a second here, because it is hundreds of new files; emptying one
costs ten milliseconds. A test that changes the tables themselves costs its database.
"""

from collections.abc import Sequence

import asyncpg

from server.ids import new_id
from tests.services import PostgresAt

# What a test does to the tables themselves is noted where the server does not look.
_WATCH = """
CREATE SCHEMA harness;
CREATE TABLE harness.altered (what TEXT NOT NULL);
CREATE TABLE harness.installation AS SELECT * FROM public.installation;
CREATE FUNCTION harness.note_made() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO harness.altered SELECT command_tag FROM pg_event_trigger_ddl_commands();
END $$;
CREATE FUNCTION harness.note_dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO harness.altered VALUES (tg_tag);
END $$;
CREATE EVENT TRIGGER made ON ddl_command_end EXECUTE FUNCTION harness.note_made();
CREATE EVENT TRIGGER dropped ON sql_drop EXECUTE FUNCTION harness.note_dropped();
"""
_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_TABLES = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'tortoise%'
"""


class LentDatabase:
    """A database that is lent to one test at a time and comes back as it was."""

    def __init__(self, server: PostgresAt, template: str) -> None:
        """Lend copies of a migrated template."""
        self._server = server
        self._template = template
        self._name = ""
        self._url = ""

    async def lend(self) -> str:
        """Return the address of a database that holds nothing but what migrations put there."""
        if not self._url:
            self._name = f"test_{new_id().replace('-', '')}"
            self._url = await self._server.create_database(self._name, self._template)
            await self._run(_WATCH)
        return self._url

    async def take_back(self) -> None:
        """Empty the database, or give it up when the test has altered its tables."""
        try:
            emptied = await self._empty()
        except asyncpg.LockNotAvailableError:
            emptied = False
        if not emptied:
            await self._server.drop_database(self._name)
            self._url = ""

    async def _empty(self) -> bool:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_OTHERS)
            if await connection.fetchval("SELECT EXISTS (SELECT 1 FROM harness.altered)"):
                return False
            tables = [row["tablename"] for row in await connection.fetch(_TABLES)]
            await connection.execute(_emptying(tables))
        finally:
            await connection.close()
        return True

    async def _run(self, statements: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()


def _emptying(tables: Sequence[str]) -> str:
    deletes = "".join(f'DELETE FROM public."{table}"; ' for table in tables)
    return (
        "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL session_replication_role = replica; "
        f"{deletes} INSERT INTO public.installation SELECT * FROM harness.installation; COMMIT"
    )
