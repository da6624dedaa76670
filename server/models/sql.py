"""Reads in plain SQL, portable to both databases.

Statements are written with `$1, $2, …`; on SQLite these become `?1, ?2, …`. A list is passed as one
JSON text and opened with `each("$1")`, so that a statement is the same whatever the list's length.

Outside transactions reads have connections of their own. What must be seen as of one moment is one
statement, or several through `together()`: no transaction is begun for it.
"""

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import orjson
from tortoise.connection import get_connection

from server.models import reader, sessions

P = ParamSpec("P")
T = TypeVar("T")

_PARAMETER = re.compile(r"\$(\d+)")

_WRITTEN = 1_000
"""So many forms of a statement are kept: some have one for each limit and filter of a request."""


@lru_cache(maxsize=512)
def for_sqlite(statement: str) -> str:
    """Return a statement as SQLite reads it."""
    return _PARAMETER.sub(r"?\1", statement).replace(" FOR UPDATE", "")


@lru_cache(maxsize=512)
def _taken(statement: str) -> int:
    """Return how many of the values a statement takes: SQLite refuses those that it does not."""
    return max((int(number) for number in _PARAMETER.findall(statement)), default=0)


@lru_cache(maxsize=64)
def _in_one(statements: tuple[str, ...]) -> str:
    """Return one statement with a column of JSON for the rows of each of these."""
    columns = (f"(SELECT json_agg(row_to_json(k)) FROM ({text}) k)" for text in statements)
    return f"SELECT {', '.join(columns)}"


def dialect() -> str:
    """Return `sqlite` or `postgres`."""
    return get_connection("default").capabilities.dialect


def written_once(write: Callable[P, T]) -> Callable[P, T]:
    """Keep what a function writes in SQL, for each dialect and for each of its arguments."""
    kept: dict[Any, T] = {}

    @wraps(write)
    def written(*args: P.args, **named: P.kwargs) -> T:
        key = (dialect(), args, *named.items())
        text = kept.get(key)
        if text is None:
            if len(kept) == _WRITTEN:
                kept.clear()
            text = kept[key] = write(*args, **named)
        return text

    return written


def each(parameter: str) -> str:
    """Return a subquery over the texts of a list that was passed through `texts()`."""
    if dialect() == "sqlite":
        return f"(SELECT value FROM json_each({parameter}))"
    return f"(SELECT jsonb_array_elements_text(CAST({parameter} AS jsonb)))"


def rows_of(parameter: str, alias: str = "k") -> str:
    """Return a table with one column `id` that holds the texts of a list."""
    if dialect() == "sqlite":
        return f"(SELECT value AS id FROM json_each({parameter})) AS {alias}"
    return f"jsonb_array_elements_text(CAST({parameter} AS jsonb)) AS {alias}(id)"


def numbers_of(parameter: str) -> str:
    """Return a table `k` with the columns `place`, `id` and `number` of a map of numbers."""
    if dialect() == "sqlite":
        return f"(SELECT id AS place, key AS id, value AS number FROM json_each({parameter})) AS k"
    return (
        "(SELECT place, key AS id, CAST(value AS bigint) AS number "
        f"FROM json_each_text(CAST({parameter} AS json)) WITH ORDINALITY AS n(key, value, place)) k"
    )


def for_each(table: str, alias: str, condition: str, *, first: str, order: str) -> str:
    """Return a join that brings the first rows of a table for each row on its left.

    `first` is how many; condition and order are about the columns of the alias.
    """
    if dialect() == "sqlite":
        return (
            f"JOIN {table} {alias} ON {alias}.rowid IN (SELECT {alias}.rowid FROM {table} {alias} "
            f"WHERE {condition} ORDER BY {order} LIMIT {first})"
        )
    return (
        f"CROSS JOIN LATERAL (SELECT {alias}.* FROM {table} {alias} "
        f"WHERE {condition} ORDER BY {order} LIMIT {first}) {alias}"
    )


def looked_up(table: str, alias: str, condition: str) -> str:
    """Return a join that looks one row up by its key for each row on its left.

    Of somebody who is in far more conversations than most, or of most beside them, PostgreSQL
    expects so much that it would rather read the whole table. SQLite would rather begin with all
    that a person is in; a CROSS JOIN it leaves in its order.
    """
    if dialect() == "sqlite":
        return f"CROSS JOIN {table} {alias} ON {condition}"
    return (
        f"CROSS JOIN LATERAL (SELECT {alias}.* FROM {table} {alias} "
        f"WHERE {condition} LIMIT 1) {alias}"
    )


def locked(table: str, alias: str, condition: str) -> str:
    """Return the same as `looked_up` without rows that somebody else has locked, and locks them.

    SQLite lets one transaction write at a time, which must have begun.
    """
    if dialect() == "sqlite":
        return looked_up(table, alias, condition)
    return (
        f"CROSS JOIN LATERAL (SELECT {alias}.* FROM {table} {alias} "
        f"WHERE {condition} LIMIT 1 FOR UPDATE SKIP LOCKED) {alias}"
    )


# JSON made by the database; an expression of ours in, an expression out. `json_object` and
# `json_list` nest, and stand for JSON, not for its text, until `as_text`.


def json_object(**fields: str) -> str:
    """Return an object with these fields, each an expression, in this order and without spaces."""
    if dialect() == "sqlite":
        listed = ", ".join(f"'{name}', {expression}" for name, expression in fields.items())
        return f"json_object({listed})"
    listed = ", ".join(f'{expression} AS "{name}"' for name, expression in fields.items())
    return f"(SELECT row_to_json(o) FROM (SELECT {listed}) o)"


def json_list(expression: str, source: str, *, order: str) -> str:
    """Return the list of what an expression is for each row after FROM."""
    if dialect() == "sqlite":
        rows = f"(SELECT {expression} AS one FROM {source} ORDER BY {order})"
        return f"(SELECT json_group_array(json(one)) FROM {rows})"
    return as_json(f"'[' || COALESCE({joined(expression, source, order=order)}, '') || ']'")


def joined(
    expression: str, source: str, *, order: str, between: str = ",", first: int | None = None
) -> str:
    """Return texts with commas, or else, between, for each row after FROM; null without rows.

    `first` is how many rows at most.
    """
    bound = "" if first is None else f" LIMIT {first}"
    if dialect() == "sqlite":
        rows = f"(SELECT {expression} AS one FROM {source} ORDER BY {order}{bound})"
        return f"(SELECT group_concat(one, '{between}') FROM {rows})"
    text = f"CAST({expression} AS text)"
    if bound:
        source = f"(SELECT {text} AS one, {order} AS place FROM {source} ORDER BY {order}{bound}) f"
        text, order = "f.one", "f.place"
    return f"(SELECT string_agg({text}, '{between}' ORDER BY {order}) FROM {source})"


def as_json(expression: str) -> str:
    """Return the JSON whose text an expression is."""
    return f"json({expression})" if dialect() == "sqlite" else f"CAST({expression} AS json)"


def as_text(expression: str) -> str:
    """Return the text of JSON."""
    return expression if dialect() == "sqlite" else f"CAST({expression} AS text)"


def left_open(expression: str) -> str:
    """Return the text of an object without its last brace; its last field must be a text."""
    return f"rtrim({as_text(expression)}, '}}')"


def flag(condition: str) -> str:
    """Return a condition as `true` or `false`."""
    if dialect() == "sqlite":
        return f"json(CASE WHEN {condition} THEN 'true' ELSE 'false' END)"
    return f"({condition})"


def time(expression: str) -> str:
    """Return milliseconds as `clock.to_text` writes them, exactly; null stays null."""
    if dialect() == "sqlite":
        text = f"strftime('%Y-%m-%dT%H:%M:%fZ', {expression} / 1000.0, 'unixepoch')"
        return f"CASE WHEN {expression} IS NOT NULL THEN {text} END"
    # Seconds and milliseconds apart: as one fraction, a far time would be cut by a millisecond.
    exact = f"to_timestamp({expression} / 1000) + {expression} % 1000 * interval '1 millisecond'"
    return f"""to_char(({exact}) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def members(expression: str, alias: str) -> str:
    """Return what stands after FROM for the members of a list whose text an expression is."""
    if dialect() == "sqlite":
        return f"json_each({expression}) AS {alias}"
    return f"json_array_elements(CAST({expression} AS json)) WITH ORDINALITY AS {alias}(value, key)"


def place(alias: str) -> str:
    """Return the place of a member of such a list."""
    return f"{alias}.key"


def member(alias: str, name: str, *, of: str = "text") -> str:
    """Return a field of a member of such a list, as this type."""
    if dialect() == "sqlite":
        return f"json_extract({alias}.value, '$.{name}')"
    return f"CAST({alias}.value ->> '{name}' AS {of})"


def least(*expressions: str) -> str:
    """Return the lowest of these."""
    return f"{'MIN' if dialect() == 'sqlite' else 'LEAST'}({', '.join(expressions)})"


def greatest(*expressions: str) -> str:
    """Return the highest of these."""
    return f"{'MAX' if dialect() == 'sqlite' else 'GREATEST'}({', '.join(expressions)})"


def texts(values: Sequence[str]) -> str:
    """Return a list of texts as the one parameter that `each()` opens."""
    return orjson.dumps(list(values)).decode()


def numbers(values: Mapping[str, int]) -> str:
    """Return a map of numbers as the one parameter that `numbers_of()` opens."""
    return orjson.dumps(dict(values)).decode()


async def fetch(statement: str, *values: Any) -> list[dict[str, Any]]:
    """Run a statement (in the present transaction, if there is one) and return its rows."""
    connection = get_connection("default")
    on_postgres = sessions.of(connection)
    if on_postgres is not None:
        return [dict(row) for row in await on_postgres.fetch(statement, values)]
    on_sqlite = reader.of(connection)
    if on_sqlite is not None:
        return await on_sqlite.run(lambda reading: _dicts(reading, statement, values))
    if connection.capabilities.dialect == "sqlite":
        statement = for_sqlite(statement)
    return await connection.execute_query_dict(statement, list(values))


async def read(statement: str, *values: Any) -> list[Any]:
    """Run a statement like `fetch`, for the price of the rows alone: they are read by position."""
    connection = get_connection("default")
    on_postgres = sessions.of(connection)
    if on_postgres is not None:
        found: list[Any] = await on_postgres.fetch(statement, values)
        return found
    on_sqlite = reader.of(connection)
    if on_sqlite is not None:
        query = for_sqlite(statement)
        return await on_sqlite.run(lambda reading: reading.execute(query, values).fetchall())
    return [tuple(row.values()) for row in await fetch(statement, *values)]


async def together(values: Sequence[Any], *statements: str) -> list[list[dict[str, Any]]]:
    """Run statements that share their values, as of one moment, and return the rows of each.

    Call it outside transactions. PostgreSQL runs them as one: a boolean comes as one, a number as
    one, anything else as text.
    """
    connection = get_connection("default")
    on_sqlite = reader.of(connection)
    if on_sqlite is not None:
        return await on_sqlite.run(lambda reading: _at_once(reading, values, statements))
    on_postgres = sessions.of(connection)
    if on_postgres is not None:
        (row,) = await on_postgres.fetch(_in_one(statements), tuple(values))
        return [[] if column is None else orjson.loads(column) for column in row]
    # In memory one connection does everything; it does nothing else meanwhile inside a transaction.
    return [await fetch(text, *values[: _taken(text)]) for text in statements]


async def together_afresh(values: Sequence[Any], *statements: str) -> list[list[dict[str, Any]]]:
    """Do the same on a connection that is opened for it and closed again."""
    connection = get_connection("default")
    on_sqlite = reader.of(connection)
    if on_sqlite is not None:
        return await on_sqlite.run_afresh(lambda reading: _at_once(reading, values, statements))
    on_postgres = sessions.of(connection)
    if on_postgres is not None:
        (row,) = await on_postgres.fetch_afresh(_in_one(statements), tuple(values))
        return [[] if column is None else orjson.loads(column) for column in row]
    # There is no second way into memory.
    return await together(values, *statements)


def _dicts(
    connection: sqlite3.Connection, statement: str, values: Sequence[Any]
) -> list[dict[str, Any]]:
    cursor = connection.execute(for_sqlite(statement), tuple(values))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _at_once(
    connection: sqlite3.Connection, values: Sequence[Any], statements: Sequence[str]
) -> list[list[dict[str, Any]]]:
    connection.execute("BEGIN")
    try:
        return [_dicts(connection, text, values[: _taken(text)]) for text in statements]
    finally:
        connection.execute("COMMIT")


async def execute(statement: str, *values: Any) -> int:
    """Run a statement that writes and return how many rows it touched."""
    connection = get_connection("default")
    if connection.capabilities.dialect == "sqlite":
        statement = for_sqlite(statement)
    count, _ = await connection.execute_query(statement, list(values))
    return count
