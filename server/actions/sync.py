"""What changed after a client's cursors, in its present form: state, never a replay.

An entry holds messages, members and the conversation as one list by `event_seq`, cut at one
number: everything changed up to there is in it, nothing after. So a page can be lost, repeated or
followed by live events without a hole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from server import journal
from server.actions import views
from server.models import Installation, sql
from server.models.conversation import room_conversation
from server.permissions import Call
from server.schemas.requests import Sync

_PERSONAL_PAGE = 100
_PROFILES = 1_000


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
class Heads:
    """Where every conversation of a person stands, as of one moment."""

    epoch: str
    user_seq: int
    heads: Mapping[str, int]
    recent: list[str] = field(default_factory=list)


@journal.snapshot
async def answer(call: Call, request: Sync) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the answer to `sync`, and where its conversations stood when it was read.

    `unseated` is filled by whoever moves the seats.
    """
    mine = await _mine(call, list(request.cursors))
    return await _changes(call, request, mine), {id_: row["head"] for id_, row in mine.items()}


@journal.snapshot
async def opening(
    call: Call, request: Sync | None, *, joined: int
) -> tuple[Heads, dict[str, Any] | None, int]:
    """Return, as of one moment, what a new connection needs: heads, sync answer, unread total."""
    standing = await heads(call, joined=joined)
    answered = None
    if request is not None:
        answered = await _changes(call, request, await _mine(call, list(request.cursors)))
    limits = call.settings.limits
    total, _ = await views.unread_totals(call.caller.user_id, unread_max=limits.unread_max)
    return standing, answered, total


async def heads(call: Call, *, joined: int) -> Heads:
    """Return the heads of the caller's conversations, the most recently active first."""
    rows = await sql.fetch(
        "SELECT c.id, c.head FROM participants p "
        "JOIN conversations c ON c.id = p.conversation_id "
        "WHERE p.user_id = $1 AND p.is_active ORDER BY c.last_activity_at DESC, c.id DESC",
        call.caller.user_id,
    )
    people = await sql.fetch("SELECT user_seq FROM users WHERE id = $1", call.caller.user_id)
    return Heads(
        epoch=await _epoch(),
        user_seq=people[0]["user_seq"],
        heads={row["id"]: row["head"] for row in rows},
        recent=[row["id"] for row in rows[:joined]],
    )


async def _epoch() -> str:
    return (await Installation.get(key="epoch")).value


async def _changes(call: Call, request: Sync, mine: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return everything that changed after the caller's cursors in conversations of theirs."""
    limits = call.settings.limits
    epoch = await _epoch()
    replaced = request.epoch is not None and request.epoch != epoch
    room = _Room(limits.sync_total, limits.sync_bytes)
    entries = []
    for id_, cursor in request.cursors.items():
        if id_ in mine:
            entries.append(await _entry(call, request, mine[id_], cursor, replaced, room))
    strangers = [id_ for id_ in request.cursors if id_ not in mine]
    personal = await _personal(call, request, replaced=replaced)
    gone = [{"conversation_id": id_, "is_active": False, "my": None} for id_ in strangers]
    personal["memberships"] = [*personal["memberships"], *gone]
    total, _ = await views.unread_totals(call.caller.user_id, unread_max=limits.unread_max)
    return {
        "epoch": epoch,
        "conversations": entries,
        **personal,
        "users": await views.profiles(list(mine), limit=_PROFILES),
        "unseated": [],
        "unread_total": total,
    }


async def _mine(call: Call, conversation_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of those conversations that the caller is in."""
    rows = await sql.fetch(
        "SELECT c.* FROM conversations c JOIN participants p ON p.conversation_id = c.id "
        f"WHERE p.user_id = $1 AND p.is_active AND c.id IN {sql.each('$2')}",
        call.caller.user_id,
        sql.texts(conversation_ids),
    )
    return {row["id"]: row for row in rows}


async def _entry(  # noqa: PLR0913, PLR0917 (one cursor with all that bounds its answer)
    call: Call,
    request: Sync,
    row: dict[str, Any],
    cursor: int | None,
    replaced: bool,  # noqa: FBT001
    room: _Room,
) -> dict[str, Any]:
    """Return one conversation's changes after a cursor."""
    limits = call.settings.limits
    head = row["head"]
    receipts = await views.receipts(row["id"], limit=limits.broadcast_members)
    entry: dict[str, Any] = {
        "id": row["id"],
        "event_seq": head,
        "messages": [],
        "participants": [],
        "receipts": receipts,
        "has_more": False,
    }
    if cursor is None and not replaced:
        return {**entry, "conversation": room_conversation(row)}
    behind = cursor is None or head - cursor > limits.sync_changes
    if replaced or behind or cursor is None or cursor > head:
        return await _reset(call, entry, row, room)
    if cursor == head:
        return entry
    return await _after(call, request, entry, row, cursor, room)


async def _reset(
    call: Call, entry: dict[str, Any], row: dict[str, Any], room: _Room
) -> dict[str, Any]:
    """Return the newest page, for a client that must drop what it has."""
    limits = call.settings.limits
    newest = await views.page_of_messages(
        call.caller.user_id,
        "m.conversation_id = $2",
        row["id"],
        newest_first=True,
        limit=limits.page,
    )
    kept = []
    for body in newest:
        if not room.take(body, message=True):
            break
        kept.append(body)
    members = await views.changed_members(row["id"], after=0, limit=limits.members)
    return {
        **entry,
        "messages": kept[::-1],
        "participants": members,
        "conversation": room_conversation(row),
        "reset": True,
    }


async def _after(  # noqa: PLR0913, PLR0917
    call: Call,
    request: Sync,
    entry: dict[str, Any],
    row: dict[str, Any],
    cursor: int,
    room: _Room,
) -> dict[str, Any]:
    """Return what changed after the cursor, in one order, as far as there is room."""
    limits = call.settings.limits
    most = min(limits.sync_messages, request.limit or limits.sync_messages)
    messages = await views.changed_messages(
        call.caller.user_id, row["id"], after=cursor, limit=most + 1
    )
    members = await views.changed_members(row["id"], after=cursor, limit=limits.sync_changes)
    changed: list[tuple[str, dict[str, Any]]] = [
        *(("messages", body) for body in messages),
        *(("participants", body) for body in members),
    ]
    if row["event_seq"] > cursor:
        changed.append(("conversation", room_conversation(row)))
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


async def _personal(call: Call, request: Sync, *, replaced: bool) -> dict[str, Any]:
    """Return the caller's own changes after their number, oldest first, a page at a time."""
    empty: dict[str, Any] = {
        "memberships": [],
        "hidden_ids": [],
        "user_seq": None,
        "user_has_more": False,
    }
    if request.user_seq is None:
        return empty
    user_id = call.caller.user_id
    people = await sql.fetch("SELECT user_seq FROM users WHERE id = $1", user_id)
    head = people[0]["user_seq"]
    after = 0 if replaced or request.user_seq > head else request.user_seq
    rows = await sql.fetch(
        "SELECT p.user_seq, p.conversation_id, p.is_active, NULL AS hidden FROM participants p "
        "WHERE p.user_id = $1 AND p.user_seq > $2 UNION ALL "
        "SELECT h.user_seq, h.conversation_id, NULL, h.message_id FROM hidden_messages h "
        f"WHERE h.user_id = $1 AND h.user_seq > $2 ORDER BY 1 LIMIT {_PERSONAL_PAGE + 1}",
        user_id,
        after,
    )
    page = rows[:_PERSONAL_PAGE]
    more = len(rows) > _PERSONAL_PAGE
    return {
        "memberships": await memberships(call, page),
        "hidden_ids": [row["hidden"] for row in page if row["hidden"] is not None],
        "user_seq": page[-1]["user_seq"] if more else head,
        "user_has_more": more,
    }


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
