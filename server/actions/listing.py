"""A page of somebody's conversations in one statement, and only the rows of that page.

The order is read from an index of memberships (see `recency`). What that index cannot know is
looked at beside it: conversations pinned on top, those without a copy, and those that moved a
moment ago. The database writes the JSON of the page.
"""

from collections.abc import Sequence

import orjson

from server.actions import people, recency, views
from server.clock import now_ms
from server.errors import ValidationFailedError
from server.events import Outcome
from server.models import shapes, sql
from server.permissions import Call
from server.schemas.requests import ListConversations

_NAMED_LIKE = (
    "(c.search_title LIKE {0} ESCAPE '!' OR EXISTS (SELECT 1 FROM participants o "
    "JOIN users n ON n.id = o.user_id WHERE o.conversation_id = c.id AND o.is_active "
    "AND o.user_id <> $1 AND n.search_name LIKE {0} ESCAPE '!'))"
)
_JOIN = "JOIN conversations c ON c.id = p.conversation_id"
_PINNED = "CASE WHEN p.is_pinned THEN 1 ELSE 0 END"


async def page(call: Call, request: ListConversations) -> Outcome:
    """Return a page of the caller's conversations, pinned on top, newest activity first."""
    moved = await recency.pending()
    wanted = _Filter(call, request, moved)
    statement = _statement(
        wanted.shared,
        wanted.beside,
        None if wanted.archived else wanted.indexed,
        limit=request.limit + 1,
        unread_max=call.settings.limits.unread_max,
    )
    rows = await sql.read(statement, *wanted.values)
    shown = rows[: request.limit]
    body = ",".join([row[3] for row in shown])
    more = len(rows) > request.limit
    cursor = f"{shown[-1][0]}.{shown[-1][1]}.{shown[-1][2]}" if more else None
    return Outcome({"results": orjson.Fragment(f"[{body}]"), "next_cursor": cursor})


class _Filter:
    """What a list shows, as conditions on `p` and `c` with the values they compare.

    `$1` is the person, `$2` the time, `$3` what has moved.
    """

    def __init__(self, call: Call, request: ListConversations, moved: Sequence[str]) -> None:
        self.values: list[object] = [call.caller.user_id, now_ms(), sql.texts(moved)]
        self.archived = request.archived
        mark = views.ARCHIVED if request.archived else f"NOT {views.ARCHIVED}"
        self._conditions = ["p.user_id = $1", "p.is_active", mark]
        for name in ("type", "client", "property"):
            value = getattr(request, name)
            if value is not None:
                self._require(f"c.{name} = {{0}}", str(value))
        if request.unread is not None:
            prefix = "" if request.unread else "NOT "
            self._require(f"{prefix}({views.UNREAD} > 0 OR p.marked_unread)")
        if request.q is not None:
            self._require(_NAMED_LIKE, people.pattern(request.q))
        # After a cursor: in the index, and among those that are looked at beside it.
        self._further, self._below = "", ""
        if request.cursor is not None:
            self._begin_after(*_position(request.cursor))

    def _require(self, condition: str, *given: object) -> None:
        self._conditions.append(condition.format(*self._numbered(given)))

    def _numbered(self, given: Sequence[object]) -> list[str]:
        first = len(self.values) + 1
        self.values += given
        return [f"${first + i}" for i in range(len(given))]

    def _begin_after(self, pinned: int, activity: int, id_: str) -> None:
        at, last = self._numbered([activity, id_])
        # Both databases compare rows of values from left to right.
        self._below = (
            f" AND ({_PINNED}, c.last_activity_at, c.id) < ({pinned}, CAST({at} AS BIGINT), {last})"
        )
        if not pinned:
            self._further = (
                f" AND (p.last_activity_at, p.conversation_id) < (CAST({at} AS BIGINT), {last})"
            )

    @property
    def shared(self) -> str:
        """Return what every row must meet."""
        return " AND ".join(self._conditions)

    @property
    def indexed(self) -> str:
        """Return what a row that is found in the index must meet beyond that."""
        return (
            f"NOT p.is_pinned AND p.last_activity_at IS NOT NULL "
            f"AND p.conversation_id NOT IN {sql.each('$3')}{self._further}"
        )

    @property
    def beside(self) -> str:
        """Return what a row that is looked at beside the index must meet."""
        return f"p.id IN ({' UNION '.join(self._elsewhere())}){self._below}"

    def _elsewhere(self) -> list[str]:
        mine = "SELECT q.id FROM participants q WHERE q.user_id = $1"
        moved = f"{mine} AND q.conversation_id IN {sql.each('$3')}"
        if self.archived:
            # Few are put away, so all of them are looked at.
            return [f"{mine} AND q.archived_countable IS NOT NULL", moved]
        unknown = f"{mine} AND q.is_active AND q.last_activity_at IS NULL"
        return [f"{mine} AND q.is_pinned", unknown, moved]


@sql.written_once
def _statement(
    shared: str, beside: str, indexed: str | None, *, limit: int, unread_max: int
) -> str:
    """Return pinned, activity, id and JSON of each conversation, in order.

    PostgreSQL plans anew, each time, what has a limit that it does not know.
    """
    found = (
        f"SELECT p.id AS place, {_PINNED} AS pinned, c.last_activity_at AS at, c.id AS id "
        f"FROM participants p {_JOIN} WHERE {shared} AND {beside}"
    )
    if indexed is not None:
        found += (
            " UNION ALL SELECT * FROM (SELECT p.id AS place, 0 AS pinned, "
            "p.last_activity_at AS at, p.conversation_id AS id "
            f"FROM participants p {_JOIN} WHERE {shared} AND {indexed} "
            f"ORDER BY p.last_activity_at DESC, p.conversation_id DESC LIMIT {limit}) i"
        )
    order = "ORDER BY k.pinned DESC, k.at DESC, k.id DESC"
    return (
        f"WITH page AS MATERIALIZED (SELECT * FROM ({found}) k {order} LIMIT {limit}) "
        f"SELECT k.pinned, k.at, k.id, {sql.as_text(_conversation(unread_max))} "
        "FROM page k JOIN participants p ON p.id = k.place "
        f"JOIN conversations c ON c.id = k.id {order}"
    )


def _conversation(unread_max: int) -> str:
    """Return the conversation `c` as its member `p` sees it."""
    members = sql.json_list(
        shapes.participant("q", "u"),
        "(SELECT * FROM participants a WHERE a.conversation_id = c.id AND a.is_active "
        f"ORDER BY a.id LIMIT {views.SHOWN_PARTICIPANTS}) q JOIN users u ON u.id = q.user_id",
        order="q.id",
    )
    lowest = (
        "(SELECT MIN(o.{0}) FROM participants o WHERE o.conversation_id = c.id AND o.is_active "
        "AND o.user_id <> $1)"
    )
    message = shapes.seen_message(
        "m",
        "s",
        own="p.read_seq",
        delivered=lowest.format("delivered_seq"),
        read=lowest.format("read_seq"),
    )
    last = (
        f"(SELECT {message} FROM messages m JOIN users s ON s.id = m.sender_id WHERE m.id = "
        f"(SELECT x.id FROM messages x WHERE x.conversation_id = c.id AND {views.visible('x')} "
        "ORDER BY x.seq DESC LIMIT 1))"
    )
    unread = sql.least(sql.greatest(views.UNREAD, "0"), str(unread_max + 1))
    mine = shapes.my(
        "p",
        unread=f"CASE WHEN c.countable > p.read_countable THEN {unread} ELSE 0 END",
        archived=views.ARCHIVED,
    )
    return shapes.conversation("c", participants=members, last_message=sql.as_json(last), mine=mine)


def _position(cursor: str) -> tuple[int, int, str]:
    pinned, _, rest = cursor.partition(".")
    activity, _, id_ = rest.partition(".")
    if not (pinned in ("0", "1") and activity.isdecimal() and len(activity) < 16 and id_):
        raise ValidationFailedError.of("cursor", "is not one that this server gave out")
    return int(pinned), int(activity), id_
