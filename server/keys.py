"""`palabre key`: the keys of programs, made, listed and revoked beside the running server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from server import clock, database
from server.actions import keys
from server.config import Settings
from server.errors import ClientError, SettingsError

T = TypeVar("T")

_NEVER = "never"


def create(settings: Settings, name: str) -> str:
    """Make a key and return it; nobody can read it again."""
    key = keys.new_key()
    _beside(settings, lambda: keys.create(name, key, settings.keys.most))
    return key


def listed(settings: Settings) -> list[str]:
    """Return a table of all keys, its head first."""
    found = _beside(settings, keys.everyone)
    rows = [("NAME", "MADE", "LAST USED")]
    rows += [(one.name, _minute(one.created_at), _minute(one.last_used_at)) for one in found]
    width = max(len(name) for name, _, _ in rows)
    return [f"{name:<{width}}  {made:<20}  {used}" for name, made, used in rows]


def revoke(settings: Settings, name: str) -> None:
    """Let nobody in by this key any more."""
    _beside(settings, lambda: keys.revoke(name))


def _beside(settings: Settings, work: Callable[[], Awaitable[T]]) -> T:
    """Do some work in the database that a server may have open; raises `SettingsError`."""

    async def run() -> T:
        async with database.visited(settings):
            return await work()

    try:
        return asyncio.run(run())
    except ClientError as error:
        raise SettingsError(f"database.url: {error.message}") from error


def _minute(at_ms: int | None) -> str:
    """Return a time as precisely as the use of keys is noted."""
    if at_ms is None:
        return _NEVER
    return f"{clock.to_text(at_ms)[:16].replace('T', ' ')} UTC"
