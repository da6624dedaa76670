"""What all tables have in common."""

from typing import Any

from tortoise.models import Model

ID_CHARS = 64
"""What a request may name as an id. Ours have 36, but what is longer is to be looked for and not
found: with the length of the column here, the ORM would fail instead."""


class Table(Model):
    """A table whose rows can be read like those of a plain SQL statement."""

    class Meta(Model.Meta):
        """No table of its own."""

        abstract = True

    @classmethod
    def columns(cls) -> list[str]:
        """Return the names of the columns."""
        return sorted(cls._meta.db_fields)

    def to_row(self) -> dict[str, Any]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in self._meta.db_fields}
