"""What a person who comes in is told by the database: who they are, and where everything stands.

It is read for many at once, since whoever comes in seldom comes alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server.actions import views
from server.clock import now_ms
from server.config import LimitsSettings
from server.models import sql
from server.models.gathering import Gathering

EPOCH = "(SELECT value FROM installation WHERE key = 'epoch')"

_PROFILE = ("id", "name", "avatar_url", "role", "metadata")


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who comes, as stored, and where their seats may be, the most wanted first."""

    profile: dict[str, Any] | None
    user_seq: int
    seats: list[str]


@dataclass(frozen=True, slots=True)
class Heads:
    """Where conversations of a person stand, as of one moment."""

    epoch: str
    user_seq: int
    heads: Mapping[str, int]


class Arrivals:
    """Reads for people who come in."""

    def __init__(self, limits: LimitsSettings) -> None:
        """Read as much as these limits say."""
        self._limits = limits
        self._people = Gathering(self._read_people)
        self._standings = Gathering(self._read_standings)

    async def person(self, user_id: str, named: Sequence[str]) -> Arrival:
        """Return the person of a token and their conversations: named ones, then the most recent.

        Nothing is known of other people's conversations, named or not.
        """
        return await self._people.ask({"id": user_id, "named": list(named)})

    async def standing(
        self,
        user_id: str,
        *,
        seats: Sequence[str],
        after: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> tuple[Heads, int]:
        """Return, as of one moment after this was asked, a person's heads and unread total.

        Heads are those of the seats that are the person's, and of conversations in which anything
        about their membership has changed after this number of theirs. `meanwhile` is done as
        `Gathering.ask` says.
        """
        question = {"id": user_id, "seats": list(seats), "after": after}
        return await self._standings.ask(question, meanwhile)

    async def _read_people(self, asked: list[dict[str, Any]]) -> list[Arrival]:
        values = orjson.dumps(asked).decode(), self._limits.joined
        rows = await sql.read(_people(), *values)
        return [_arrival(row, one["named"]) for row, one in zip(rows, asked, strict=True)]

    async def _read_standings(self, asked: list[dict[str, Any]]) -> list[tuple[Heads, int]]:
        most = self._limits.unread_max
        exact, listed = views.unread_now(most)
        rows = await sql.read(_standings(exact), orjson.dumps(asked).decode(), now_ms(), *listed)
        return [
            (Heads(epoch, user_seq or 0, numbers(heads)), views.capped(int(total), most))
            for user_seq, epoch, total, heads in rows
        ]


def _arrival(row: Sequence[Any], named: Sequence[str]) -> Arrival:
    *profile, user_seq, present, recent = row
    mine = set(_listed(present))
    first = [id_ for id_ in named if id_ in mine]
    return Arrival(
        profile=None if user_seq is None else dict(zip(_PROFILE, profile, strict=True)),
        user_seq=user_seq or 0,
        seats=list(dict.fromkeys([*first, *_listed(recent)])),
    )


def _listed(ids: str | None) -> list[str]:
    return ids.split(",") if ids else []


def numbers(pairs: str | None) -> dict[str, int]:
    """Return what is written as in a JSON object."""
    found: dict[str, int] = orjson.loads(f"{{{pairs or ''}}}")
    return found


@sql.written_once
def _people() -> str:
    """Return a row for each person in `$1`, in that order, with `$2` conversations at most."""
    columns = ", ".join(f"u.{name}" for name in _PROFILE)
    # What has no copy of its conversation's time yet is looked up there.
    recent = (
        "(SELECT * FROM (SELECT p.conversation_id AS id, p.last_activity_at AS at "
        "FROM participants p WHERE p.user_id = u.id AND p.is_active "
        "AND p.last_activity_at IS NOT NULL "
        "ORDER BY p.last_activity_at DESC, p.conversation_id DESC LIMIT $2) r "
        "UNION ALL SELECT c.id, c.last_activity_at FROM participants p "
        "JOIN conversations c ON c.id = p.conversation_id "
        "WHERE p.user_id = u.id AND p.is_active AND p.last_activity_at IS NULL "
        "ORDER BY at DESC, id DESC LIMIT $2) n"
    )
    present = (
        "participants p WHERE p.user_id = u.id AND p.is_active "
        f"AND p.conversation_id IN {sql.each(sql.member('k', 'named'))}"
    )
    return (
        f"SELECT {columns}, u.user_seq, "
        f"{sql.joined('p.conversation_id', present, order='p.conversation_id')} AS present, "
        f"{sql.joined('n.id', recent, order='n.at DESC, n.id DESC')} AS recent "
        f"FROM {sql.members('$1', 'k')} LEFT JOIN users u ON u.id = {sql.member('k', 'id')} "
        f"ORDER BY {sql.place('k')}"
    )


@sql.written_once
def _standings(unread_max: int | None) -> str:
    """Return a row for each person in `$1`, in that order, at the time `$2`.

    What is unread is counted as `views.unread_now` says, with the list in `$3`.
    """
    # In the seats too: what their heads hold already is told nobody again.
    seats = sql.member("k", "seats")
    unread = views.unread_total("u.id", seats, "$3", unread_max=unread_max)
    heads = heads_of(seats, sql.member("k", "after", of="bigint"))
    return (
        f"SELECT u.user_seq, {EPOCH} AS epoch, "
        f"(SELECT t.total FROM ({unread}) t) AS unread, {heads} AS heads "
        f"FROM {sql.members('$1', 'k')} LEFT JOIN users u ON u.id = {sql.member('k', 'id')} "
        f"ORDER BY {sql.place('k')}"
    )


def heads_of(listed: str, after: str) -> str:
    """Return the heads of the person `u`: of a list, and of what is new to them.

    They come in any order, some twice. The list is of conversations that were theirs at this number
    of theirs: what they are no longer in has a higher one since, and so has what is new.
    """
    changed = f"participants p WHERE p.user_id = u.id AND p.user_seq > {after}"
    left = f"SELECT p.conversation_id FROM {changed} AND NOT p.is_active"
    listed_one = sql.looked_up("conversations", "c", "c.id = l.id")
    own = sql.looked_up("conversations", "c", "c.id = m.conversation_id")
    heads = (
        f"(SELECT c.id, c.head FROM {sql.rows_of(listed, 'l')} {listed_one} "
        f"WHERE l.id NOT IN ({left}) UNION ALL SELECT c.id, c.head "
        f"FROM (SELECT p.conversation_id FROM {changed} AND p.is_active) m {own}) h"
    )
    return sql.joined(_PAIR, heads, order="1")


_PAIR = "'\"' || h.id || '\":' || h.head"
