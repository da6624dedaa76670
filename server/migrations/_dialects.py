"""Migration steps in plain SQL, for both databases or for one."""

from typing import Any

from tortoise.migrations.operations import RunSQL


class RunOnBoth(RunSQL):
    """Run statements, with the few words that differ filled in for the database at hand."""

    _WORDS = {
        "sqlite": {
            "id": "VARCHAR(36)",
            "key": "VARCHAR(64)",
            "bool": "INT",
            "true": "1",
            "hot": "",
        },
        "postgres": {
            "id": 'VARCHAR(36) COLLATE "C"',
            "key": 'VARCHAR(64) COLLATE "C"',
            "bool": "BOOLEAN",
            "true": "TRUE",
            # Rows whose counters change with each message: room for updates on the same page.
            "hot": " WITH (fillfactor = 70)",
        },
    }

    async def _run_sql(self, state_editor: Any, sqls: Any) -> None:
        words = self._WORDS[state_editor.client.capabilities.dialect]
        await super()._run_sql(state_editor, [sql.format(**words) for sql in sqls])


class RunOnPostgres(RunSQL):
    """Run statements on PostgreSQL, as they are; SQLite needs nothing of the kind."""

    async def _run_sql(self, state_editor: Any, sqls: Any) -> None:
        if state_editor.client.capabilities.dialect == "postgres":
            await super()._run_sql(state_editor, sqls)


class AddColumn(RunSQL):
    """Add a column that may be null, unless it is there."""

    def __init__(self, table: str, column: str, kind: str) -> None:
        super().__init__([f"ALTER TABLE {table} ADD COLUMN {column} {kind}"])
        self._table = table
        self._column = column

    async def _run_sql(self, state_editor: Any, sqls: Any) -> None:
        client = state_editor.client
        if client.capabilities.dialect == "sqlite":
            there, _ = await client.execute_query(
                "SELECT 1 FROM pragma_table_info(?) WHERE name = ?", [self._table, self._column]
            )
            if not there:
                await super()._run_sql(state_editor, sqls)
            return
        await super()._run_sql(
            state_editor, [sql.replace("ADD COLUMN", "ADD COLUMN IF NOT EXISTS") for sql in sqls]
        )
