"""People; they live in the application that embeds this server and are mirrored here."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import orjson
from tortoise import fields
from tortoise.models import Model

from server.models.table import Table


class User(Table):
    """A profile, and the counter of this person's own changes."""

    id = fields.CharField(max_length=64, primary_key=True)
    name = fields.CharField(max_length=200, default="")
    search_name = fields.CharField(max_length=400, default="")
    avatar_url = fields.CharField(max_length=2000, null=True)
    role = fields.CharField(max_length=16, null=True)
    metadata = fields.TextField(default="{}")
    user_seq = fields.BigIntField(default=0)
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "users"


def fold(text: str) -> str:
    """Return the form in which names are compared: no case, no accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def columns(alias: str, prefix: str) -> str:
    """Return the columns that `person()` and `user()` read, of a joined users row."""
    names = ("id", "name", "avatar_url", "role", "metadata")
    return ", ".join(f"{alias}.{name} AS {prefix}{name}" for name in names)


def person(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a person as shown beside a message."""
    return {
        "id": row[f"{prefix}id"],
        "name": row[f"{prefix}name"],
        "avatar_url": row[f"{prefix}avatar_url"],
        "role": row[f"{prefix}role"],
    }


def user(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a person's profile."""
    return {**person(row, prefix), "metadata": orjson.loads(row[f"{prefix}metadata"])}
