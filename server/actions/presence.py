"""Presence as far as it is stored: who may see whom, who is invisible, when people were last there.

People see those with whom they share a conversation, and whom `users.directory` shows them anyway.
Whoever cannot see somebody finds nothing stored of them, as if they had never come.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from server import journal
from server.actions import people
from server.clock import now_ms
from server.config import Settings
from server.models import sql
from server.permissions import Caller
from server.schemas.values import OwnStatus

_AT_ONCE = 500


class Look(NamedTuple):
    """Somebody looks at a person.

    Whoever sees everyone has no name here: what they see does not depend on who they are. `heavy`:
    they are in so many conversations that it is better to begin with those of the person.
    """

    viewer_id: str
    user_id: str
    heavy: bool = False


class Seen(NamedTuple):
    """What is stored of a person, for somebody who may see them."""

    is_invisible: bool
    last_active_at: int | None


def look(caller: Caller, settings: Settings, user_id: str, *, seats: int) -> Look:
    """Return the look of somebody who hears so many conversations at a person."""
    everyone = people.sees_everyone(caller, settings.users.directory)
    if everyone and caller.user_id != user_id:
        return Look("", user_id)
    return Look(caller.user_id, user_id, heavy=seats >= settings.limits.joined)


async def seen(looks: Sequence[Look]) -> dict[Look, Seen]:
    """Return what these looks find; those at people who may not be seen find nothing."""
    found: dict[Look, Seen] = {}
    for start in range(0, len(looks), _AT_ONCE):
        asked = looks[start : start + _AT_ONCE]
        listed = [
            {"place": place, "viewer": one.viewer_id, "person": one.user_id, "heavy": one.heavy}
            for place, one in enumerate(asked)
        ]
        for row in await sql.fetch(_seen(), orjson.dumps(listed).decode()):
            found[asked[row["place"]]] = Seen(bool(row["is_invisible"]), row["last_active_at"])
    return found


def _seen() -> str:
    viewer, person = sql.member("k", "viewer"), "u.id"
    heavy = f"{sql.member('k', 'heavy', of='boolean')}"
    return (
        f"SELECT {sql.member('k', 'place', of='int')} AS place, s.last_active_at, "
        f"COALESCE(s.is_invisible, FALSE) AS is_invisible FROM {sql.members('$1', 'k')} "
        f"JOIN users u ON u.id = {sql.member('k', 'person')} "
        "LEFT JOIN presences s ON s.user_id = u.id "
        f"WHERE {person} = {viewer} OR (COALESCE(u.role, '') <> 'service' AND ({viewer} = '' OR "
        f"CASE WHEN {heavy} THEN {_shares(person, viewer)} ELSE {_shares(viewer, person)} END))"
    )


def _shares(one: str, other: str) -> str:
    """Return whether two people are in one conversation, looked for among those of the first.

    A question for one row each, so that no database makes a join of whole tables out of it.
    """
    there = (
        "(SELECT 1 FROM participants b WHERE b.conversation_id = a.conversation_id "
        f"AND b.user_id = {other} AND b.is_active)"
    )
    return (
        f"(SELECT 1 FROM participants a WHERE a.user_id = {one} AND a.is_active "
        f"AND {there} = 1 LIMIT 1) = 1"
    )


@journal.transaction
async def note(last_active: Mapping[str, int]) -> None:
    """Store when people were last there; of invisible ones nobody is to know."""
    await sql.execute(
        "INSERT INTO presences (user_id, last_active_at, is_invisible) "
        f"SELECT u.id, k.number, FALSE FROM {sql.numbers_of('$1')} JOIN users u ON u.id = k.id "
        "WHERE 1 = 1 ORDER BY u.id ON CONFLICT (user_id) DO UPDATE SET last_active_at = "
        f"{sql.greatest('COALESCE(presences.last_active_at, 0)', 'EXCLUDED.last_active_at')} "
        "WHERE NOT presences.is_invisible",
        sql.numbers(last_active),
    )


async def choose(user_id: str, status: OwnStatus) -> OwnStatus:
    """Store whether a person is invisible, which only `active` ends; return how they are now."""
    if status is OwnStatus.INVISIBLE:
        await _hide(user_id)
        return status
    rows = await sql.fetch("SELECT is_invisible FROM presences WHERE user_id = $1", user_id)
    if not rows or not rows[0]["is_invisible"]:
        return status
    if status is OwnStatus.AWAY:
        return OwnStatus.INVISIBLE
    await _show(user_id)
    return status


@journal.transaction
async def _hide(user_id: str) -> None:
    """Let a person be for others as if they had left now."""
    await sql.execute(
        "INSERT INTO presences (user_id, last_active_at, is_invisible) VALUES ($1, $2, TRUE) "
        "ON CONFLICT (user_id) DO UPDATE SET is_invisible = TRUE, last_active_at = EXCLUDED."
        "last_active_at WHERE NOT presences.is_invisible",
        user_id,
        now_ms(),
    )


@journal.transaction
async def _show(user_id: str) -> None:
    await sql.execute("UPDATE presences SET is_invisible = FALSE WHERE user_id = $1", user_id)
