"""Reads in plain SQL, portable to both databases.

Statements are written with `$1, $2, …`; on SQLite these become `?1, ?2, …`. A list is passed as one
JSON text and opened with `each("$1")`, so that a statement is the same whatever the list's length.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from tortoise.connection import get_connection

_PARAMETER = re.compile(r"\$(\d+)")


@lru_cache(maxsize=512)
def _for_sqlite(statement: str) -> str:
    return _PARAMETER.sub(r"?\1", statement).replace(" FOR UPDATE", "")


def dialect() -> str:
    """Return `sqlite` or `postgres`."""
    return get_connection("default").capabilities.dialect


def each(parameter: str) -> str:
    """Return a subquery over the texts of a list that was passed through `texts()`."""
    if dialect() == "sqlite":
        return f"(SELECT value FROM json_each({parameter}))"
    return f"(SELECT jsonb_array_elements_text(CAST({parameter} AS jsonb)))"


def rows_of(parameter: str) -> str:
    """Return a table `k` with one column `id` that holds the texts of a list."""
    if dialect() == "sqlite":
        return f"(SELECT value AS id FROM json_each({parameter})) AS k"
    return f"jsonb_array_elements_text(CAST({parameter} AS jsonb)) AS k(id)"


def texts(values: Sequence[str]) -> str:
    """Return a list of texts as the one parameter that `each()` opens."""
    return orjson.dumps(list(values)).decode()


async def fetch(statement: str, *values: Any) -> list[dict[str, Any]]:
    """Run a statement (in the present transaction, if there is one) and return its rows."""
    connection = get_connection("default")
    if connection.capabilities.dialect == "sqlite":
        statement = _for_sqlite(statement)
    return await connection.execute_query_dict(statement, list(values))


async def execute(statement: str, *values: Any) -> int:
    """Run a statement that writes and return how many rows it touched."""
    connection = get_connection("default")
    if connection.capabilities.dialect == "sqlite":
        statement = _for_sqlite(statement)
    count, _ = await connection.execute_query(statement, list(values))
    return count
