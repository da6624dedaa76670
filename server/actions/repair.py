"""What a feed missed, read from the database as the events that would have been heard.

Changes that overwrote each other come once, in their last form. Whatever the number of
conversations, they are compared in one statement and read in one step.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server import events, journal
from server.actions import sync, views
from server.events import Event
from server.ids import new_id
from server.models import shapes, sql
from server.models.conversation import room_conversation
from server.models.message import message
from server.permissions import Call

_EPOCH = "SELECT i.value AS epoch FROM installation i WHERE i.key = 'epoch'"


@dataclass(frozen=True, slots=True)
class Differing:
    """Heads that are not where somebody thought, by id: None is a row that is not there."""

    epoch: str
    conversations: dict[str, int | None]
    people: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Missed:
    """What happened up to a head, in order; no events when they are too many."""

    head: int
    events: list[Event] | None


# Comparing


async def differing(conversations: Mapping[str, int], people: Mapping[str, int]) -> Differing:
    """Return the heads that are other numbers than these; nothing is sent back of the others."""
    values = [sql.numbers(conversations), sql.numbers(people)]
    return _differing(await sql.together(values, *_compared()))


async def differing_afresh(
    conversations: Mapping[str, int], people: Mapping[str, int]
) -> Differing:
    """Return the same as a connection sees it that is made for this question.

    An old one may lead to a server, or into a file, that is the database no longer.
    """
    values = [sql.numbers(conversations), sql.numbers(people)]
    return _differing(await sql.together_afresh(values, *_compared()))


def _compared() -> tuple[str, ...]:
    other = "IS NOT" if sql.dialect() == "sqlite" else "IS DISTINCT FROM"
    return (
        _EPOCH,
        (
            f"SELECT k.id, c.head FROM {sql.numbers_of('$1')} "
            f"LEFT JOIN conversations c ON c.id = k.id WHERE c.head {other} k.number"
        ),
        (
            f"SELECT k.id, u.user_seq AS head FROM {sql.numbers_of('$2')} "
            f"LEFT JOIN users u ON u.id = k.id WHERE u.user_seq {other} k.number"
        ),
    )


def _differing(found: list[list[dict[str, Any]]]) -> Differing:
    epoch, conversations, people = found
    return Differing(
        epoch=epoch[0]["epoch"] if epoch else "",
        conversations={row["id"]: row["head"] for row in conversations},
        people={row["id"]: row["head"] for row in people},
    )


async def begin_epoch(after: str) -> str:
    """Give the database a new epoch after this one; return the one that holds.

    Of several nodes that notice at once, one gives it, and the others learn it here.
    """
    await sql.execute(
        "UPDATE installation SET value = $1 WHERE key = 'epoch' AND value = $2", new_id(), after
    )
    await sql.execute(
        "INSERT INTO installation (key, value) VALUES ('epoch', $1) ON CONFLICT DO NOTHING",
        new_id(),
    )
    (row,) = await sql.fetch(_EPOCH)
    return str(row["epoch"])


async def heads(conversation_ids: list[str]) -> dict[str, int]:
    """Return the heads of these conversations."""
    rows = await sql.read(_heads(), sql.texts(conversation_ids))
    return {row[0]: row[1] for row in rows}


@sql.written_once
def _heads() -> str:
    return f"SELECT c.id, c.head FROM conversations c WHERE c.id IN {sql.each('$1')}"


async def user_heads(user_ids: Collection[str]) -> dict[str, int]:
    """Return the numbers of these people."""
    rows = await sql.fetch(
        f"SELECT u.id, u.user_seq FROM users u WHERE u.id IN {sql.each('$1')}",
        sql.texts(list(user_ids)),
    )
    return {row["id"]: row["user_seq"] for row in rows}


async def standing(
    conversation_ids: Collection[str], user_ids: Collection[str]
) -> dict[str, tuple[int, set[str]]]:
    """Return the heads of conversations and, as of then, who of these people is in each."""
    rows = await sql.fetch(
        "SELECT c.id, c.head, p.user_id FROM conversations c "
        "LEFT JOIN participants p ON p.conversation_id = c.id AND p.is_active "
        f"AND p.user_id IN {sql.each('$2')} WHERE c.id IN {sql.each('$1')}",
        sql.texts(list(conversation_ids)),
        sql.texts(sorted(user_ids)),
    )
    found: dict[str, tuple[int, set[str]]] = {}
    for row in rows:
        _, present = found.setdefault(row["id"], (row["head"], set()))
        if row["user_id"] is not None:
            present.add(row["user_id"])
    return found


# Reading


async def conversations(after: Mapping[str, int], most: int) -> dict[str, Missed]:
    """Return by conversation what happened after a number, as of one moment.

    Of a conversation in which more than `most` happened, only the head is read.
    """
    values = [sql.numbers(after), most]
    rows, messages, members = await sql.together(values, *_changed())
    bodies = _by_conversation([message(row, _files(row["files"])) for row in messages])
    memberships = views.members_of(members)
    found = {}
    for row in rows:
        id_, since = row["id"], row["number"]
        if row["head"] - since > most:
            found[id_] = Missed(row["head"], None)
            continue
        told = [_message(body) for body in bodies.get(id_, ())]
        told += [_member(id_, body) for body in memberships.get(id_, ())]
        if row["event_seq"] > since:
            changed = room_conversation(row)
            told.append(events.conversation_updated(changed, changed["created_by"]))
        # In memory these are several moments: what came after the first tells of itself.
        told = [event for event in told if (event.number or 0) <= row["head"]]
        found[id_] = Missed(row["head"], sorted(told, key=lambda event: event.number or 0))
    return found


def _by_conversation(bodies: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for body in bodies:
        grouped.setdefault(body["conversation_id"], []).append(body)
    return grouped


def _files(files: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a list that one of the databases gives as its text."""
    listed: list[dict[str, Any]] = orjson.loads(files) if isinstance(files, str) else files
    return listed


def _changed() -> tuple[str, ...]:
    """Return what is read about conversations (`$1`), unless more happened in one than `$2`."""
    behind = sql.numbers_of("$1")
    most = "CAST($2 AS bigint)"
    few = f"JOIN conversations c ON c.id = k.id AND c.head - k.number BETWEEN 1 AND {most}"
    later, moved = (
        sql.for_each(
            table,
            alias,
            f"{alias}.conversation_id = k.id AND {alias}.event_seq > k.number",
            first=most,
            order=f"{alias}.event_seq",
        )
        for table, alias in (("messages", "m"), ("participants", "p"))
    )
    return (
        f"SELECT c.*, k.number FROM {behind} JOIN conversations c ON c.id = k.id",
        (
            f"SELECT {views.MESSAGE}, {shapes.files('m')} AS files FROM {behind} {few} {later} "
            "JOIN users s ON s.id = m.sender_id"
        ),
        f"SELECT {views.MEMBER} FROM {behind} {few} {moved} JOIN users u ON u.id = p.user_id",
    )


def _message(body: dict[str, Any]) -> Event:
    actor = body["sender"]["id"]
    if body["is_deleted"]:
        return events.message_deleted(body, actor)
    if body["version"] > 1:
        return events.message_updated(body, actor)
    return events.message_created(body, actor)


def _member(conversation_id: str, body: dict[str, Any]) -> Event:
    """Return the last change of a membership; who did it is not stored."""
    actor = body["user"]["id"]
    if body["is_active"]:
        return events.participant_added(conversation_id, body, actor)
    return events.participant_removed(conversation_id, body, actor, "removed")


@journal.snapshot
async def personal(call: Call, after: int, most: int) -> Missed:
    """Return a person's own changes after a number."""
    user_id = call.caller.user_id
    head = (await user_heads([user_id])).get(user_id, 0)
    rows = await sql.fetch(
        "SELECT p.user_seq, p.event_seq, p.conversation_id, p.is_active, NULL AS hidden "
        "FROM participants p WHERE p.user_id = $1 AND p.user_seq > $2 UNION ALL "
        "SELECT h.user_seq, 0, h.conversation_id, NULL, h.message_id FROM hidden_messages h "
        f"WHERE h.user_id = $1 AND h.user_seq > $2 ORDER BY 1 LIMIT {int(most) + 1}",
        user_id,
        after,
    )
    if len(rows) > most:
        return Missed(head, None)
    shown = iter(await sync.memberships(call, rows))
    return Missed(
        head, [_own(user_id, row, None if row["hidden"] else next(shown)) for row in rows]
    )


def _own(user_id: str, row: dict[str, Any], membership: dict[str, Any] | None) -> Event:
    number, conversation_id = row["user_seq"], row["conversation_id"]
    if membership is None:
        return events.my_message_hidden(user_id, number, conversation_id, [row["hidden"]])
    if membership["is_active"]:
        whole = membership["conversation"]
        return events.conversation_added(user_id, number, whole, row["event_seq"])
    return events.conversation_removed(
        user_id, number, conversation_id, row["event_seq"], "removed"
    )
