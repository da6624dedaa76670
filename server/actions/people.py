"""People: recognised by their token, written by the embedding backend, found by others."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from server import events, journal
from server.actions import views
from server.auth import Identity
from server.clock import now_ms
from server.errors import ForbiddenError, ValidationFailedError
from server.events import Event, Outcome, Room
from server.models import User, sql
from server.models.user import fold, user
from server.permissions import Call, Caller
from server.schemas.requests import GetMe, ListUsers, PutUser
from server.schemas.values import KEY_HOLDER, UserRole

_KNOWN = 10_000
_KNOWN_S = 5.0
"""How long a person is taken for who they were: what another node changed is seen after it."""

_NO_PART = "the embedding application itself takes no part"
_SEES_EVERYONE = (UserRole.AGENT, UserRole.ADMIN, UserRole.SERVICE)


def pattern(text: str) -> str:
    """Return what `LIKE … ESCAPE '!'` finds this text with, without case and accents."""
    escaped = fold(text).replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"


@dataclass(frozen=True, slots=True)
class _Met:
    identity: Identity
    profile: dict[str, Any]
    until: float


class Acquaintances:
    """People whose tokens were found to say what is stored, a moment ago."""

    def __init__(self) -> None:
        """Begin with none."""
        self._met: dict[str, _Met] = {}
        self._changes = 0

    @property
    def edition(self) -> int:
        """Return what changes whenever a profile does."""
        return self._changes

    def find(self, identity: Identity) -> dict[str, Any] | None:
        """Return the profile of somebody who came with these claims a moment ago."""
        met = self._met.get(identity.user_id)
        if met is None or met.until < time.monotonic():
            return None
        same = met.identity is identity or _claims(met.identity) == _claims(identity)
        return met.profile if same else None

    def keep(self, identity: Identity, profile: dict[str, Any], *, edition: int) -> None:
        """Note a profile, unless some profile was changed since this edition was looked up."""
        if edition != self._changes:
            return
        self._met.pop(identity.user_id, None)
        if len(self._met) >= _KNOWN:
            del self._met[next(iter(self._met))]
        self._met[identity.user_id] = _Met(identity, profile, time.monotonic() + _KNOWN_S)

    def forget(self) -> None:
        """Forget everybody: what is stored is another database's."""
        self._changes += 1
        self._met.clear()

    def notice(self, event: Event) -> None:
        """Forget somebody whose profile has changed."""
        if event.name == "user:updated" and event.room is Room.USER:
            self._changes += 1
            self._met.pop(event.target, None)


def _claims(identity: Identity) -> tuple[object, ...]:
    return (identity.name, identity.avatar_url, identity.role)


async def recognise(identity: Identity, *, told_in: int) -> Outcome:
    """Return the profile of a person with a valid token; make or update it from the claims.

    At most `told_in` of the person's conversations hear of a change.
    """
    rows = await sql.fetch("SELECT u.* FROM users u WHERE u.id = $1", identity.user_id)
    if rows and not _claimed(identity, rows[0]):
        return Outcome({"user": user(rows[0])})
    return await mirror(identity, told_in)


def agrees(identity: Identity, row: Mapping[str, Any]) -> bool:
    """Return whether the row of a profile says what a token says."""
    return not _claimed(identity, row)


def _claimed(identity: Identity, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the claims say otherwise than the profile; absent claims say nothing."""
    claims = {
        "name": identity.name,
        "avatar_url": identity.avatar_url,
        "role": None if identity.role is None else identity.role.value,
    }
    return {
        name: value for name, value in claims.items() if value is not None and stored[name] != value
    }


@journal.transaction
async def mirror(identity: Identity, told_in: int) -> Outcome:
    """Write what the claims say into the profile of their person."""
    await ensure([identity.user_id])
    stored = await User.filter(id=identity.user_id).select_for_update().get()
    return await _change(stored, _claimed(identity, stored.to_row()), told_in)


async def _change(stored: User, changed: dict[str, Any], told_in: int) -> Outcome:
    if changed:
        stored.update_from_dict({**changed, "updated_at": now_ms()})
        stored.search_name = fold(f"{stored.name} {stored.id}")[:400]
        await stored.save(update_fields=[*changed, "updated_at", "search_name"])
    shown = user(stored.to_row())
    told = await _heard_by(shown, told_in) if changed else []
    return Outcome({"user": shown}, tuple(told))


async def _heard_by(shown: dict[str, Any], told_in: int) -> list[Event]:
    rows = await sql.fetch(
        "SELECT c.id FROM participants p JOIN conversations c ON c.id = p.conversation_id "
        "WHERE p.user_id = $1 AND p.is_active AND c.participants_count <= $2 "
        "ORDER BY c.last_activity_at DESC LIMIT 200",
        shown["id"],
        told_in,
    )
    rooms = [events.user_updated(row["id"], shown) for row in rows]
    return [events.own_user_updated(shown), *rooms]


def caller(identity: Identity, profile: dict[str, Any], session_id: str = "") -> Caller:
    """Return who asks; a role that the token does not name is taken from the profile.

    Except `service`: what provisions everything must be named by each token.
    """
    stored = UserRole(profile["role"]) if profile["role"] else None
    if identity.role is None and stored is UserRole.SERVICE:
        stored = None
    return Caller(profile["id"], identity.role or stored, session_id)


async def ensure(user_ids: Collection[str]) -> None:
    """Make an empty profile for everybody who has none yet."""
    now = now_ms()
    await sql.execute(
        "INSERT INTO users (id, search_name, created_at, updated_at) "
        f"SELECT k.id, LOWER(k.id), $2, $2 FROM {sql.rows_of('$1')} WHERE 1 = 1 "
        "ORDER BY k.id ON CONFLICT DO NOTHING",
        sql.texts(sorted(user_ids)),
        now,
    )


async def known(call: Call, user_ids: Collection[str], *, field: str) -> dict[str, User]:
    """Return the profiles of these people, made empty where the settings allow that."""
    if any(id_.startswith(KEY_HOLDER) for id_ in user_ids):
        raise ValidationFailedError.of(field, _NO_PART)
    if call.settings.users.accept_unknown:
        await ensure(user_ids)
    found = {profile.id: profile for profile in await User.filter(id__in=list(user_ids))}
    missing = [id_ for id_ in user_ids if id_ not in found]
    if missing:
        raise ValidationFailedError.of(field, f"nobody is known as {missing[0]}")
    # What provisions everything must not be able to read everything by adding itself.
    if any(profile.role == UserRole.SERVICE for profile in found.values()):
        raise ValidationFailedError.of(field, _NO_PART)
    return found


@journal.transaction
async def put(call: Call, request: PutUser) -> Outcome:
    """Write a profile; only the embedding backend may."""
    if not call.caller.is_service:
        raise ForbiddenError
    if request.user_id.startswith(KEY_HOLDER):
        raise ValidationFailedError.of("user_id", "is a server key's")
    await ensure([request.user_id])
    stored = await User.filter(id=request.user_id).select_for_update().get()
    given = request.given("name", "avatar_url", "role", "metadata")
    if "name" in given:
        given["name"] = request.name or ""
    if "role" in given:
        given["role"] = None if request.role is None else request.role.value
    if "metadata" in given:
        given["metadata"] = orjson.dumps(request.metadata).decode()
    changed = {name: value for name, value in given.items() if getattr(stored, name) != value}
    return await _change(stored, changed, call.settings.limits.broadcast_members)


async def me(call: Call, request: GetMe) -> Outcome:  # noqa: ARG001 (the shape of all actions)
    """Return the caller's own profile."""
    stored = await User.get(id=call.caller.user_id)
    return Outcome({"user": user(stored.to_row())})


async def unread(call: Call, request: GetMe) -> Outcome:  # noqa: ARG001
    """Return the caller's counters."""
    limits = call.settings.limits
    total, waiting = await views.unread_totals(call.caller.user_id, unread_max=limits.unread_max)
    return Outcome({"total": total, "conversations": waiting})


async def counters(call: Call) -> Event:
    """Return the hint that brings the caller's other devices the new counters."""
    limits = call.settings.limits
    total, waiting = await views.unread_totals(call.caller.user_id, unread_max=limits.unread_max)
    return events.my_unread(call.caller.user_id, total, waiting)


@journal.snapshot
async def find(call: Call, request: ListUsers) -> Outcome:
    """Return people whom the caller may find, by name."""
    condition = _circle(call)
    values: list[Any] = [call.caller.user_id]
    if request.q is not None:
        values.append(pattern(request.q))
        condition += " AND u.search_name LIKE $2 ESCAPE '!'"
    rows = await sql.fetch(
        "SELECT u.* FROM users u WHERE u.id <> $1 AND COALESCE(u.role, '') <> 'service' "
        f"AND {condition} ORDER BY u.search_name, u.id LIMIT {request.limit}",
        *values,
    )
    return Outcome({"results": [user(row) for row in rows]})


def sees_everyone(caller: Caller, directory: str) -> bool:
    """Return whether `users.directory` lets somebody see people they share nothing with."""
    by_role = directory == "role" and caller.role in _SEES_EVERYONE
    return directory == "everyone" or by_role or caller.is_service


def _circle(call: Call) -> str:
    """Return the condition on `u` that `users.directory` puts on this caller."""
    directory = call.settings.users.directory
    if sees_everyone(call.caller, directory):
        return "1 = 1"
    if directory == "nobody":
        return "1 = 0"
    return (
        "EXISTS (SELECT 1 FROM participants a JOIN participants b "
        "ON b.conversation_id = a.conversation_id AND b.is_active "
        "WHERE a.user_id = $1 AND a.is_active AND b.user_id = u.id)"
    )
