"""What changed after a client's cursors, in its present form: state, never a replay.

An entry holds messages, members and the conversation as one list by `event_seq`, cut at one
number: everything changed up to there is in it, nothing after. So a page can be lost, repeated or
followed by live events without a hole.

Whatever the number of cursors, an answer is read in one step (`looks.py`), in a second one if
something changed, and in a third if the caller's own list did. What changes between the steps has
numbers above those that the first one found, so it is left to the events that tell of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server import journal
from server.actions import views
from server.actions.arrivals import Heads
from server.actions.looks import PERSONAL_PAGE, Look, Looks, Place, look_alone
from server.models import shapes, sql
from server.models.conversation import room_conversation
from server.permissions import Call
from server.schemas.requests import Sync


@dataclass(slots=True)
class _Room:
    """What is left of the bounds of one answer."""

    messages: int
    size: int

    def take(self, body: object, *, message: bool) -> bool:
        """Return whether one more object still fits, and take its room."""
        size = len(orjson.dumps(body))
        if size > self.size or (message and self.messages == 0):
            return False
        self.size -= size
        self.messages -= message
        return True


@dataclass(frozen=True, slots=True)
class _Changes:
    """What changed in conversations, in the order of their numbers; newest pages newest first."""

    present: set[str]
    messages: dict[str, list[dict[str, Any]]]
    members: dict[str, list[dict[str, Any]]]
    pages: dict[str, list[dict[str, Any]]]
    known: set[str]


async def answer(call: Call, request: Sync) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the answer to `sync`, and where its conversations stood when it was read.

    `unseated` is filled by whoever moves the seats.
    """
    seen = await look_alone(call.caller.user_id, request, call.settings.limits)
    reply = await _reply(call, request, seen)
    return reply, {id_: place.head for id_, place in seen.mine.items()}


async def opening(  # noqa: PLR0913 (what a connection begins with, said once)
    call: Call,
    request: Sync,
    looks: Looks,
    *,
    seats: Sequence[str],
    after: int,
    meanwhile: Callable[[], None] | None = None,
) -> tuple[Heads, dict[str, Any]]:
    """Return, as of one moment, the heads that a new connection begins with, and its answer.

    Heads are those that `Arrivals.standing` returns to whoever asks for nothing. `meanwhile` is
    done as `Gathering.ask` says.
    """
    user_id = call.caller.user_id
    seen = await looks.at(user_id, request, seats=seats, after=after, meanwhile=meanwhile)
    return seen.heads, await _reply(call, request, seen)


async def _reply(call: Call, request: Sync, look: Look) -> dict[str, Any]:
    """Return everything that changed after the caller's cursors in conversations of theirs."""
    limits = call.settings.limits
    replaced = request.epoch is not None and request.epoch != look.heads.epoch
    behind, anew = _wanted(call, request, look, replaced=replaced)
    changes = await _changes(call, request, behind, anew)
    room = _Room(limits.sync_total, limits.sync_bytes)
    entries = []
    for id_, cursor in request.cursors.items():
        if id_ not in look.mine or (id_ in (*behind, *anew) and id_ not in changes.present):
            continue
        entry = _entry(look, id_)
        if id_ in anew:
            entry = _reset(entry, look.mine[id_], changes, room)
        elif id_ in behind:
            entry = _after(call, request, entry, look.mine[id_], changes, room)
        elif cursor is None:
            entry["conversation"] = _conversation(look.mine[id_])
        entries.append(entry)
    strangers = [id_ for id_ in request.cursors if id_ not in look.mine]
    personal = await _personal(call, request, look)
    gone = [{"conversation_id": id_, "is_active": False, "my": None} for id_ in strangers]
    personal["memberships"] = [*personal["memberships"], *gone]
    return {
        "epoch": look.heads.epoch,
        "conversations": entries,
        **personal,
        "users": look.users,
        "unseated": [],
        "unread_total": look.unread,
    }


def _wanted(
    call: Call, request: Sync, look: Look, *, replaced: bool
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the conversations that are behind with their cursors, and those to begin anew."""
    behind, anew = dict[str, int](), dict[str, int]()
    for id_, cursor in request.cursors.items():
        place = look.mine.get(id_)
        if place is None or (cursor is None and not replaced):
            continue
        gap = place.head - (cursor or 0)
        if replaced or cursor is None or gap < 0 or gap > call.settings.limits.sync_changes:
            anew[id_] = 0
        elif gap:
            behind[id_] = cursor
    return behind, anew


def _conversation(place: Place) -> dict[str, Any]:
    # What is behind or begins anew does not stand at its cursor.
    return {} if place.row is None else room_conversation(place.row)


def _entry(look: Look, id_: str) -> dict[str, Any]:
    return {
        "id": id_,
        "event_seq": look.mine[id_].head,
        "messages": [],
        "participants": [],
        "receipts": look.mine[id_].receipts,
        "has_more": False,
    }


async def _changes(
    call: Call, request: Sync, behind: dict[str, int], anew: dict[str, int]
) -> _Changes:
    """Read, as of one moment, what changed in these conversations after these numbers."""
    if not behind and not anew:
        return _Changes(set(), {}, {}, {}, set())
    limits = call.settings.limits
    user_id = call.caller.user_id
    most = min(limits.sync_messages, request.limit or limits.sync_messages) + 1
    total = limits.sync_total + 1
    values = [user_id, sql.numbers(behind), sql.numbers(anew)]
    statements = _changed(
        most, total, moves=limits.sync_changes, page=limits.page, members=limits.members
    )
    present, marks, messages, members, pages, whole = await sql.together(values, *statements)
    seen = {row["conversation_id"]: row for row in marks}
    is_cut = len(messages) == total
    reached = messages[-1]["place"] if is_cut else None
    order = list(behind)
    known = set(order) if reached is None else {row["conversation_id"] for row in messages}
    return _Changes(
        present={row["id"] for row in present},
        messages=_by_conversation(views.shown(user_id, messages, seen)),
        members=views.members_of([*members, *whole]),
        pages=_by_conversation(views.shown(user_id, pages, seen)),
        known=known if reached is None else known | _before(order, messages[-1]["conversation_id"]),
    )


def _before(order: list[str], last: str) -> set[str]:
    return set(order[: order.index(last) + 1])


def _by_conversation(bodies: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for body in bodies:
        grouped.setdefault(body["conversation_id"], []).append(body)
    return grouped


@sql.written_once
def _changed(most: int, total: int, *, moves: int, page: int, members: int) -> tuple[str, ...]:
    """Return what is read about conversations behind (`$2`) and to begin anew (`$3`).

    `most` bounds the messages of one conversation, `total` those of all; `moves` its members'
    changes; `page` is the size of a newest page and `members` that of a whole list of members.
    PostgreSQL plans anew, each time, what has a limit that it does not know.
    """
    behind, anew = sql.numbers_of("$2"), sql.numbers_of("$3")
    still = "JOIN participants p ON p.conversation_id = k.id AND p.user_id = $1 AND p.is_active"
    both = f"(SELECT k.id FROM {behind} {still} UNION ALL SELECT k.id FROM {anew} {still})"
    message = f"{views.MESSAGE}, {shapes.files('m')} AS files"
    sender = "JOIN users s ON s.id = m.sender_id"
    later = sql.for_each(
        "messages",
        "m",
        f"m.conversation_id = k.id AND m.event_seq > k.number AND {views.visible('m')}",
        first=str(most),
        order="m.event_seq",
    )
    newest = sql.for_each(
        "messages",
        "m",
        f"m.conversation_id = k.id AND {views.visible('m')}",
        first=str(page),
        order="m.seq DESC",
    )
    moved, all_ = (
        sql.for_each(
            "participants",
            "p",
            "p.conversation_id = k.id AND p.event_seq > k.number",
            first=first,
            order="p.event_seq",
        )
        for first in (str(moves), str(members))
    )
    profile = "JOIN users u ON u.id = p.user_id"
    return (
        f"SELECT b.id FROM {both} b",
        (
            f"{views.MARKS} WHERE p.conversation_id IN (SELECT b.id FROM {both} b) "
            "AND p.is_active GROUP BY p.conversation_id"
        ),
        (
            f"SELECT k.place, {message} FROM {behind} {later} {sender} "
            f"ORDER BY k.place, m.event_seq LIMIT {total}"
        ),
        (
            f"SELECT k.place, {views.MEMBER} FROM {behind} {moved} {profile} "
            "ORDER BY k.place, p.event_seq"
        ),
        (
            f"SELECT k.place, {message} FROM {anew} {newest} {sender} "
            f"ORDER BY k.place, m.seq DESC LIMIT {total}"
        ),
        (
            f"SELECT k.place, {views.MEMBER} FROM {anew} {all_} {profile} "
            "ORDER BY k.place, p.event_seq"
        ),
    )


def _reset(entry: dict[str, Any], place: Place, changes: _Changes, room: _Room) -> dict[str, Any]:
    """Return the newest page, for a client that must drop what it has."""
    kept = []
    for body in changes.pages.get(place.id, ()):
        if not room.take(body, message=True):
            break
        kept.append(body)
    return {
        **entry,
        "messages": kept[::-1],
        "participants": changes.members.get(place.id, []),
        "conversation": _conversation(place),
        "reset": True,
    }


def _after(  # noqa: PLR0913, PLR0917 (one cursor with all that bounds its answer)
    call: Call,
    request: Sync,
    entry: dict[str, Any],
    place: Place,
    changes: _Changes,
    room: _Room,
) -> dict[str, Any]:
    """Return what changed after the cursor, in one order, as far as there is room."""
    limits = call.settings.limits
    id_, cursor = place.id, request.cursors[place.id] or 0
    if id_ not in changes.known:
        return {**entry, "event_seq": cursor, "has_more": True}
    most = min(limits.sync_messages, request.limit or limits.sync_messages)
    changed: list[tuple[str, dict[str, Any]]] = [
        *(("messages", body) for body in changes.messages.get(id_, ())),
        *(("participants", body) for body in changes.members.get(id_, ())),
    ]
    # What was changed since the head was read comes with an event of its own.
    changed = [item for item in changed if item[1]["event_seq"] <= place.head]
    conversation = _conversation(place)
    if conversation["event_seq"] > cursor:
        changed.append(("conversation", conversation))
    changed.sort(key=lambda item: item[1]["event_seq"])
    complete, taken = cursor, 0
    for kind, body in changed:
        full = kind == "messages" and taken == most
        if full or not room.take(body, message=kind == "messages"):
            return {**entry, "event_seq": complete, "has_more": True}
        if kind == "conversation":
            entry["conversation"] = body
        else:
            entry[kind].append(body)
            taken += kind == "messages"
        complete = body["event_seq"]
    return entry


async def _personal(call: Call, request: Sync, look: Look) -> dict[str, Any]:
    """Return the caller's own changes after their number, oldest first, a page at a time."""
    asked = request.user_seq is not None
    page = look.personal[:PERSONAL_PAGE]
    more = len(look.personal) > PERSONAL_PAGE
    head = look.heads.user_seq if asked else None
    return {
        "memberships": await _memberships(call, page) if page else [],
        "hidden_ids": [row["hidden"] for row in page if row["hidden"] is not None],
        "user_seq": page[-1]["user_seq"] if more else head,
        "user_has_more": more,
    }


@journal.snapshot
async def _memberships(call: Call, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return await memberships(call, rows)


async def memberships(call: Call, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return changes of membership as objects; what was lost is only named."""
    moved = [row for row in rows if row["hidden"] is None]
    present = [row["conversation_id"] for row in moved if row["is_active"]]
    unread_max = call.settings.limits.unread_max
    seen = await views.conversations(call.caller.user_id, present, unread_max=unread_max)
    by_id = {body["id"]: body for body in seen}
    shown: list[dict[str, Any]] = []
    for row in moved:
        id_ = row["conversation_id"]
        if id_ in by_id:
            body = by_id[id_]
            shown.append({"conversation": body, "is_active": True, "my": body["my"]})
        else:
            shown.append({"conversation_id": id_, "is_active": False, "my": None})
    return shown
