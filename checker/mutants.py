"""Ways to break the product on purpose, each of which the judge has to see.

They are applied from outside: to a node before it starts, to the database after it was migrated, to
the rule of the clients. The product knows nothing of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from checker.rule import RULES

# Inside a node


def _replace(owner: Any, name: str, by: object) -> None:
    if not hasattr(owner, name):
        message = f"there is no {name} to spoil in {owner}"
        raise AttributeError(message)
    setattr(owner, name, by)


def _found(*places: str) -> Any:
    """Return the class at the first of these places (`module:Class`) that this checkout has.

    `CHECKER_SOURCE` may name an older one.
    """
    for place in places:
        module, _, name = place.partition(":")
        if find_spec(module) is not None:
            return getattr(import_module(module), name)
    message = f"there is none of {places}"
    raise LookupError(message)


def _no_repair() -> None:
    """Read nothing from the database, whether a number is missing or a head is higher."""

    def nothing(*_: Any) -> None:
        return

    async def compare(_: Any) -> None:
        return

    mender = _found("server.realtime.mender:Mender", "server.realtime.feed:Feed")
    if hasattr(mender, "need"):
        _replace(mender, "need", nothing)
    else:
        _replace(mender, "compare", compare)
        _replace(mender, "_lose_patience", nothing)


def _stale_membership() -> None:
    seats = _found("server.realtime.seats:Seats", "server.realtime.feed:Feed")
    name = "dismiss" if hasattr(seats, "dismiss") else "_dismiss"
    at_once = getattr(seats, name)

    def later(*whom: Any) -> None:
        asyncio.get_running_loop().call_later(2, at_once, *whom)

    _replace(seats, name, later)


def _published_twice() -> None:
    from server.realtime.feed import Feed  # noqa: PLC0415

    once = Feed._hand_out  # noqa: SLF001

    def twice(feed: Feed, *what: Any) -> None:
        once(feed, *what)
        once(feed, *what)

    _replace(Feed, "_hand_out", twice)


def _synchronous_off() -> None:
    from server.journal.postgres import Session  # noqa: PLC0415

    safely = Session.open

    async def carelessly(session: Session) -> None:
        was_open = session.is_open
        await safely(session)
        connection = session._connection  # noqa: SLF001
        if not was_open and connection is not None:
            await connection.execute("SET synchronous_commit = off")

    _replace(Session, "open", carelessly)


_LATE_S = 0.05


def _acknowledged_before_commit() -> None:
    from server.journal.postgres import Session  # noqa: PLC0415

    append = Session.append
    pending: dict[Session, asyncio.Task[None]] = {}

    async def commit(connection: Any) -> None:
        await asyncio.sleep(_LATE_S)
        await connection.execute("COMMIT")

    async def early(session: Session, *batch: Any) -> Any:
        if session in pending:
            await asyncio.gather(pending.pop(session), return_exceptions=True)
        connection = session._connection  # noqa: SLF001
        if connection is None or connection.is_closed():
            return await append(session, *batch)
        await connection.execute("BEGIN")
        try:
            verdicts = await append(session, *batch)
        except BaseException:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
        pending[session] = asyncio.create_task(commit(connection))
        return verdicts

    _replace(Session, "append", early)


_NODES: dict[str, Callable[[], None]] = {
    "acknowledged-before-commit": _acknowledged_before_commit,
    "no-repair": _no_repair,
    "published-twice": _published_twice,
    "stale-membership": _stale_membership,
    "synchronous-off": _synchronous_off,
}

# In the database


async def _no_idempotency(connection: Any) -> None:
    await connection.execute("DROP INDEX messages_once")
    await _rewrite(connection, "m.client_msg_id = e.client_id", "false")


async def _serial_numbers(connection: Any) -> None:
    """Take numbers from a counter that needs no lock, as `id > last` does."""
    await connection.execute("CREATE SEQUENCE checker.numbers START 1000")
    await _rewrite(
        connection,
        "c.head + row_number() OVER numbered AS event_seq",
        "nextval('checker.numbers') AS event_seq",
    )
    await _rewrite(
        connection,
        "head = c.head + k.many",
        "head = greatest(c.head, currval('checker.numbers'))",
    )


async def _rewrite(connection: Any, from_text: str, to_text: str) -> None:
    """Change the function that stores sends; it must contain what is changed."""
    text = await connection.fetchval("SELECT pg_get_functiondef('palabre_append_1'::regproc)")
    if from_text not in text:
        message = f"the function that stores sends does not contain {from_text}"
        raise ValueError(message)
    await connection.execute(text.replace(from_text, to_text))


_DATABASES: dict[str, Callable[[Any], Awaitable[None]]] = {
    "no-idempotency": _no_idempotency,
    "serial-numbers": _serial_numbers,
}

NAMES = sorted([*_NODES, *_DATABASES, *RULES])


def spoil_node(name: str) -> None:
    """Spoil the process that this runs in, if the mutant is one of nodes."""
    if name in _NODES:
        _NODES[name]()


async def spoil_database(name: str, connection: Any) -> None:
    """Spoil the database, if the mutant is one of databases."""
    if name in _DATABASES:
        await _DATABASES[name](connection)
