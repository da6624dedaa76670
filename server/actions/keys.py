"""Server keys: made, listed, revoked, and looked up as requests bring them.

A key is 256 random bits, so that a fast hash is the right one to keep: nobody can try them all,
however fast they try, while a slow hash, which is for passwords that people think of, would let
anybody keep the processor busy with keys that they made up. For the same reason no salt is needed.
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress

from server import journal
from server.actions import people
from server.clock import now_ms
from server.errors import SettingsError, UnauthorizedError
from server.events import Outcome
from server.logs import get_logger
from server.models import Participant, ServerKey, User, sql
from server.models.user import fold
from server.permissions import Caller
from server.schemas.values import KEY_HOLDER, KEY_PREFIX, UserRole

NOTED_AFTER_S = 60.0
"""How long the use of a key is only known here: one write for all keys used meanwhile."""

_BYTES = 32
_KEY = re.compile(KEY_PREFIX + r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")

log = get_logger("server.keys")


def new_key() -> str:
    """Return a key that nobody has."""
    return KEY_PREFIX + secrets.token_urlsafe(_BYTES)


def digest(key: str) -> str:
    """Return what is kept of a key, and what one that comes is looked up by.

    That is also why timing a look-up is of no use: how far the digest of a guess agrees with one
    that is stored says nothing about the key behind it.
    """
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


@journal.transaction
async def create(name: str, key: str, most: int) -> None:
    """Keep a key under a name; `SettingsError` says why it cannot be."""
    if not _NAME.fullmatch(name):
        # What was given is not repeated: it may be a key.
        message = "NAME: is 1 to 40 letters, digits, dots, dashes and underscores, no sign first"
        raise SettingsError(message)
    # One after the other, so that all of them are counted.
    await sql.fetch("SELECT value FROM installation WHERE key = 'file_key' FOR UPDATE")
    if await ServerKey.exists(name=name):
        raise SettingsError(f"NAME: there is a key called {name}; revoke it first")
    if await ServerKey.all().count() >= most:
        raise SettingsError(f"keys.most: there are {most} keys already; revoke one first")
    await _introduce(name)
    await ServerKey.create(name=name, digest=digest(key), created_at=now_ms())


async def _introduce(name: str) -> None:
    """Give a key the profile as which it acts: what it writes is from somebody."""
    id_ = KEY_HOLDER + name
    await people.ensure([id_])
    profile = await User.filter(id=id_).select_for_update().get()
    is_a_person = profile.role not in {None, UserRole.SERVICE.value}
    # From before there were keys. The key must not read what this person reads.
    if is_a_person or await Participant.exists(user_id=id_):
        raise SettingsError(f"NAME: somebody is known as {id_}; choose another name")
    profile.update_from_dict({"name": name, "role": UserRole.SERVICE.value, "updated_at": now_ms()})
    profile.search_name = fold(f"{name} {id_}")
    await profile.save(update_fields=["name", "role", "search_name", "updated_at"])


async def everyone() -> Sequence[ServerKey]:
    """Return all keys by name."""
    return await ServerKey.all().order_by("name")


@journal.transaction
async def revoke(name: str) -> None:
    """Forget a key: the next request that brings it is refused, on every node."""
    if not await ServerKey.filter(name=name).delete():
        message = "NAME: no key is called so; see palabre key list"
        raise SettingsError(message)


@journal.transaction
async def _note(digests: Sequence[str], at_ms: int) -> None:
    await sql.execute(
        f"UPDATE server_keys SET last_used_at = $2 WHERE digest IN {sql.each('$1')} "
        "AND (last_used_at IS NULL OR last_used_at < $2)",
        sql.texts(digests),
        at_ms,
    )


class Keyring:
    """Tells which key a request brought, and notes from time to time which ones were used.

    Every request looks into the database, so that a revoked key is refused from the next one on. At
    most one statement does so at a time: whoever sends keys that they made up, however many, keeps
    one connection busy and no more.
    """

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._turn = asyncio.Lock()
        # For everybody who came while a statement runs: what they ask for, and their answers.
        self._next: tuple[set[str], asyncio.Task[dict[str, str]]] | None = None
        self._used: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._noting: asyncio.Task[None] | None = None

    async def holder(self, key: str) -> Outcome:
        """Return as whom a key acts (`user_id`); raises `UnauthorizedError` without the key."""
        if not _KEY.fullmatch(key):
            raise _refusal("what came as a server key has not the form of one")
        asked = digest(key)
        name = (await self._names(asked)).get(asked)
        if name is None:
            raise _refusal("no server key is this one; it may have been revoked")
        self._note_soon(asked)
        return Outcome({"user_id": KEY_HOLDER + name})

    async def _names(self, asked: str) -> dict[str, str]:
        if self._next is None:
            digests = set[str]()
            self._next = digests, asyncio.create_task(self._read(digests))
        digests, names = self._next
        digests.add(asked)
        return await asyncio.shield(names)

    async def _read(self, digests: set[str]) -> dict[str, str]:
        async with self._turn:
            self._next = None
            rows = await sql.fetch(
                f"SELECT k.digest, k.name FROM server_keys k WHERE k.digest IN {sql.each('$1')}",
                sql.texts(sorted(digests)),
            )
        return {row["digest"]: row["name"] for row in rows}

    def _note_soon(self, used: str) -> None:
        self._used[used] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(NOTED_AFTER_S, self._begin_to_note)

    def _begin_to_note(self) -> None:
        self._timer = None
        self._noting = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        used, self._used = list(self._used), {}
        try:
            await _note(used, now_ms())
        except Exception as error:  # noqa: BLE001 (the next use of a key is noted again)
            log.warning("the use of server keys could not be noted", error=str(error))

    async def close(self) -> None:
        """Note what was not noted yet, and stop."""
        if self._noting is not None:
            await asyncio.wait([self._noting])
        if self._timer is not None:
            self._timer.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._write(), 1.0)


def caller(user_id: str) -> Caller:
    """Return who asks by a key: the embedding backend."""
    return Caller(user_id, UserRole.SERVICE)


def _refusal(reason: str) -> UnauthorizedError:
    return UnauthorizedError("A valid server key is needed.", reason=reason)
