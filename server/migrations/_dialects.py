"""A migration step in plain SQL for both databases."""

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
