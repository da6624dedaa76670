"""Where everything stands that a `sync` asks about, as of one moment, in one statement.

Like what people ask who come in (`arrivals.py`), it is read for many at once. Of conversations in
which nothing has changed only the place and the receipts are read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server.actions import views
from server.actions.arrivals import EPOCH, Heads, heads_of, numbers
from server.clock import now_ms
from server.config import LimitsSettings
from server.models import shapes, sql
from server.models.conversation import Conversation
from server.models.gathering import Gathering
from server.schemas.requests import Sync

PERSONAL_PAGE = 100

_PROFILES = 1_000
_NOTHING_LATER = 2**62
# Neither is in a JSON as it is.
_BETWEEN, _PARTS = "\n", "\t"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation stands; the row is read unless the cursor stands there, too."""

    id: str
    head: int
    receipts: orjson.Fragment
    row: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Look:
    """What was read: the heads that were asked for, and whatever the cursors are about."""

    heads: Heads
    unread: int
    mine: Mapping[str, Place]
    users: orjson.Fragment
    personal: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Question:
    """What somebody asks: where they have seats, and what they have cursors of."""

    user_id: str
    request: Sync
    seats: Sequence[str]
    after: int

    def values(self) -> dict[str, Any]:
        """Return it as the statement reads it."""
        named, user_seq = self.request.cursors, self.request.user_seq
        # Heads of what is named are found with its place.
        others = [id_ for id_ in self.seats if id_ not in named]
        return {
            "id": self.user_id,
            "others": others,
            "after": self.after,
            "listed": [*named, *others],
            "cursors": named,
            "user_seq": -1 if user_seq is None else user_seq,
            "epoch": self.request.epoch,
        }


class Looks:
    """Reads for those who come in with cursors."""

    def __init__(self, limits: LimitsSettings) -> None:
        """Read as much as these limits say."""
        self._limits = limits
        self._asking = Gathering(self._read)

    async def at(
        self,
        user_id: str,
        request: Sync,
        *,
        seats: Sequence[str],
        after: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> Look:
        """Return, as of one moment after this was asked, where everything stands.

        The heads are those that `Arrivals.standing` returns. `meanwhile` is done as
        `Gathering.ask` says.
        """
        return await self._asking.ask(_Question(user_id, request, seats, after), meanwhile)

    async def _read(self, asked: list[_Question]) -> list[Look]:
        return await _read(asked, self._limits)


async def look_alone(user_id: str, request: Sync, limits: LimitsSettings) -> Look:
    """Return the same for somebody who has seats already, and asks for no heads."""
    (found,) = await _read([_Question(user_id, request, (), _NOTHING_LATER)], limits)
    return found


async def _read(asked: list[_Question], limits: LimitsSettings) -> list[Look]:
    most = limits.unread_max
    exact, listed = views.unread_now(most)
    questions = orjson.dumps([one.values() for one in asked]).decode()
    values = [questions, now_ms(), limits.broadcast_members, *listed]
    rows = await sql.read(_statement(exact), *values)
    return [_look(row, one.seats, most) for row, one in zip(rows, asked, strict=True)]


def _look(row: Sequence[Any], seats: Sequence[str], unread_max: int) -> Look:
    user_seq, epoch, unread, others, lines, users, personal = row
    places = [_place(line) for line in lines.split(_BETWEEN)] if lines else []
    mine = {place.id: place for place in places}
    heads = {id_: mine[id_].head for id_ in seats if id_ in mine}
    return Look(
        Heads(epoch, user_seq or 0, {**heads, **numbers(others)}),
        views.capped(int(unread), unread_max),
        mine=mine,
        users=orjson.Fragment(f"[{users or ''}]"),
        personal=orjson.loads(f"[{personal or ''}]"),
    )


def _place(line: str) -> Place:
    id_, head, receipts, row = line.split(_PARTS)
    return Place(
        id_, int(head), orjson.Fragment(f"[{receipts}]"), orjson.loads(row) if row else None
    )


@sql.written_once
def _statement(unread_max: int | None) -> str:
    """Return a row for each person in `$1`, in that order, at the time `$2`.

    Conversations of more than `$3` members show no receipts. What is unread is counted as
    `views.unread_now` says, with the list in `$4`.
    """
    others, listed, epoch = (sql.member("q", name) for name in ("others", "listed", "epoch"))
    unread = views.unread_total("u.id", listed, "$4", unread_max=unread_max)
    # What is named comes first: it is less than what anybody is in.
    present = (
        f"{sql.numbers_of(sql.member('q', 'cursors'))} JOIN participants p "
        "ON p.conversation_id = k.id AND p.user_id = u.id AND p.is_active"
    )
    mine = f"{present} JOIN conversations c ON c.id = k.id"
    people = (
        "users o WHERE o.id IN (SELECT r.user_id FROM participants r "
        f"WHERE r.conversation_id IN (SELECT k.id FROM {present}) AND r.is_active)"
    )
    profiles = sql.joined(sql.as_text(shapes.user("o")), people, order="o.id", first=_PROFILES)
    is_replaced = f"({epoch} IS NOT NULL AND {epoch} <> {EPOCH})"
    return (
        f"SELECT u.user_seq, {EPOCH} AS epoch, (SELECT t.total FROM ({unread}) t) AS unread, "
        f"{heads_of(others, sql.member('q', 'after', of='bigint'))} AS heads, "
        f"{sql.joined(_line(is_replaced), mine, order='k.place', between=_BETWEEN)} AS mine, "
        f"{profiles} AS users, "
        f"{_personal(is_replaced)} AS personal "
        f"FROM {sql.members('$1', 'q')} LEFT JOIN users u ON u.id = {sql.member('q', 'id')} "
        f"ORDER BY {sql.place('q')}"
    )


def _line(is_replaced: str) -> str:
    """Return the parts of a `Place`."""
    receipts = sql.joined(
        sql.as_text(shapes.receipt("r")),
        "participants r WHERE r.conversation_id = c.id AND r.is_active",
        order="r.user_id",
    )
    row = sql.as_text(sql.json_object(**{name: f"c.{name}" for name in Conversation.columns()}))
    is_there = f"c.head = k.number AND NOT {is_replaced}"
    return (
        f"c.id || '{_PARTS}' || c.head || '{_PARTS}' || "
        f"COALESCE(CASE WHEN c.participants_count <= $3 THEN {receipts} END, '') || '{_PARTS}' || "
        f"CASE WHEN {is_there} THEN '' ELSE {row} END"
    )


def _personal(is_replaced: str) -> str:
    """Return the person's own list after their number; a page, and one more."""
    given = sql.member("q", "user_seq", of="bigint")
    # A number that does not exist here, or is of another database: everything is news.
    after = f"(CASE WHEN {given} > u.user_seq OR {is_replaced} THEN 0 ELSE {given} END)"
    news = (
        "(SELECT * FROM (SELECT p.user_seq, p.conversation_id, p.is_active, NULL AS hidden "
        f"FROM participants p WHERE p.user_id = u.id AND p.user_seq > {after} UNION ALL "
        "SELECT h.user_seq, h.conversation_id, NULL, h.message_id FROM hidden_messages h "
        f"WHERE h.user_id = u.id AND h.user_seq > {after}) k "
        f"ORDER BY k.user_seq LIMIT {PERSONAL_PAGE + 1}) n"
    )
    one = sql.json_object(
        user_seq="n.user_seq",
        conversation_id="n.conversation_id",
        is_active="n.is_active",
        hidden="n.hidden",
    )
    listed = sql.joined(sql.as_text(one), news, order="n.user_seq")
    return f"CASE WHEN {given} >= 0 THEN {listed} END"
