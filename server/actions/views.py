"""What answers show: conversations, messages and members as one person sees them.

Everything here reads; call it inside the transaction or snapshot that decided that the person may
see it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from server.actions import attachments, recency
from server.clock import now_ms, to_text
from server.errors import NotFoundError
from server.models import sql
from server.models.conversation import room_conversation
from server.models.message import message
from server.models.participant import my, participant, receipt
from server.models.user import columns, user

SHOWN_PARTICIPANTS = 50
"""How many members a conversation object carries; more are read page by page."""

MESSAGE = f"m.*, {columns('s', 'sender_')}"
MEMBER = f"p.*, {columns('u', 'user_')}"

MARKS = (
    "SELECT p.conversation_id, "
    "MAX(CASE WHEN p.user_id = $1 THEN p.read_seq ELSE 0 END) AS own, "
    "MIN(CASE WHEN p.user_id <> $1 THEN p.delivered_seq END) AS delivered, "
    "MIN(CASE WHEN p.user_id <> $1 THEN p.read_seq END) AS seen FROM participants p"
)
"""The read cursor of person `$1` and the others' lowest cursors; a condition and group follow."""

_DELETED_AFTER = (
    "(SELECT COUNT(*) FROM messages d WHERE d.conversation_id = p.conversation_id "
    "AND d.deleted_at IS NOT NULL AND d.type <> 'system' AND d.seq > p.read_seq)"
)
UNREAD = f"(c.countable - p.read_countable - {_DELETED_AFTER})"
"""Other people's messages after the read cursor: one's own never lie after it."""

ARCHIVED = (
    "(p.archived_countable IS NOT NULL AND "
    "(p.archived_countable >= c.countable OR COALESCE(p.muted_until, 0) > $2))"
)
"""Whether the archive mark holds at the time `$2`."""

_VISIBLE = (
    "NOT EXISTS (SELECT 1 FROM hidden_messages h WHERE h.user_id = $1 AND h.message_id = {}.id)"
)
"""A condition on a message alias: person `$1` did not delete it for themselves."""


def visible(alias: str) -> str:
    """Return the condition that person `$1` did not delete a message for themselves."""
    return _VISIBLE.format(alias)


def capped(unread: int, largest: int) -> int:
    """Return a counter that is exact up to a limit; one above it means "more"."""
    return min(max(unread, 0), largest + 1)


async def room_message(message_id: str) -> dict[str, Any]:
    """Return a message with the bytes of its room."""
    rows = await sql.fetch(
        f"SELECT {MESSAGE} FROM messages m JOIN users s ON s.id = m.sender_id WHERE m.id = $1",
        message_id,
    )
    return (await _for_room(rows))[0]


async def _for_room(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with the bytes of their room."""
    files = await attachments.by_message(rows)
    return [message(row, files.get(row["id"], ())) for row in rows]


async def members(
    conversation_id: str, user_ids: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return the named members of a conversation (default: all present ones), as joined."""
    among = "p.is_active" if user_ids is None else f"p.user_id IN {sql.each('$2')}"
    listed = [] if user_ids is None else [sql.texts(list(user_ids))]
    rows = await sql.fetch(
        f"SELECT {MEMBER} FROM participants p JOIN users u ON u.id = p.user_id "
        f"WHERE p.conversation_id = $1 AND {among} ORDER BY p.id",
        conversation_id,
        *listed,
    )
    return [participant(row) for row in rows]


async def conversations(
    user_id: str | None, conversation_ids: Sequence[str], *, unread_max: int
) -> list[dict[str, Any]]:
    """Return whole conversations as this person sees them, in the order of the ids.

    Without a person (the embedding backend) `my` and `last_message` stay empty.
    """
    listed = sql.texts(conversation_ids)
    rows = await sql.fetch(
        f"SELECT c.* FROM conversations c WHERE c.id IN {sql.each('$1')}",
        listed,
    )
    shown = await _shown_members(listed)
    mine = {} if user_id is None else await _mine(user_id, listed, unread_max)
    last = {} if user_id is None else await _last_messages(user_id, listed)
    found = {
        row["id"]: {
            **room_conversation(row),
            "participants": shown.get(row["id"], []),
            "last_message": last.get(row["id"]),
            "my": mine.get(row["id"]),
        }
        for row in rows
    }
    return [found[id_] for id_ in conversation_ids if id_ in found]


async def as_members(
    conversation_id: str, user_ids: Sequence[str], *, unread_max: int
) -> dict[str, dict[str, Any]]:
    """Return one conversation as each of these members sees it, at the price of a few reads."""
    shared = (await conversations(None, [conversation_id], unread_max=unread_max))[0]
    last = await _last_for_each(conversation_id, user_ids)
    rows = await sql.fetch(
        f"SELECT p.*, c.countable, {UNREAD} AS unread FROM participants p "
        "JOIN conversations c ON c.id = p.conversation_id "
        f"WHERE p.conversation_id = $1 AND p.user_id IN {sql.each('$2')}",
        conversation_id,
        sql.texts(user_ids),
    )
    now = now_ms()
    return {
        row["user_id"]: {
            **shared,
            "last_message": last[row["user_id"]],
            "my": my(
                row, countable=row["countable"], unread=capped(row["unread"], unread_max), now=now
            ),
        }
        for row in rows
    }


async def _last_for_each(
    conversation_id: str, user_ids: Sequence[str]
) -> dict[str, dict[str, Any] | None]:
    """Return the last message as each of these members sees it."""
    rows = await sql.fetch(
        f"SELECT {MESSAGE}, p.user_id AS viewer, p.read_seq AS own, "
        "(SELECT COUNT(*) FROM hidden_messages h WHERE h.user_id = p.user_id "
        "AND h.message_id = m.id) AS hidden "
        "FROM participants p JOIN conversations c ON c.id = p.conversation_id "
        "JOIN messages m ON m.conversation_id = c.id AND m.seq = c.last_seq "
        "JOIN users s ON s.id = m.sender_id "
        f"WHERE p.conversation_id = $1 AND p.user_id IN {sql.each('$2')}",
        conversation_id,
        sql.texts(user_ids),
    )
    last: dict[str, dict[str, Any] | None] = dict.fromkeys(user_ids)
    # It is the same message for all of them.
    files = await attachments.by_message(rows[:1])
    for row in rows:
        viewer = row["viewer"]
        if row["hidden"] or row["sender_id"] == viewer:
            found = await _last_messages(viewer, sql.texts([conversation_id]))
            last[viewer] = found.get(conversation_id)
        else:
            shown = message(row, files.get(row["id"], ()))
            last[viewer] = {**shown, "is_read": row["seq"] <= row["own"]}
    return last


async def _shown_members(listed: str) -> dict[str, list[dict[str, Any]]]:
    rows = await sql.fetch(
        f"SELECT {MEMBER} FROM (SELECT q.*, ROW_NUMBER() OVER "
        "(PARTITION BY q.conversation_id ORDER BY q.id) AS place "
        f"FROM participants q WHERE q.conversation_id IN {sql.each('$1')} AND q.is_active) p "
        "JOIN users u ON u.id = p.user_id WHERE p.place <= $2 ORDER BY p.place",
        listed,
        SHOWN_PARTICIPANTS,
    )
    shown: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        shown.setdefault(row["conversation_id"], []).append(participant(row))
    return shown


async def _mine(user_id: str, listed: str, unread_max: int) -> dict[str, dict[str, Any]]:
    rows = await sql.fetch(
        f"SELECT p.*, c.countable, {UNREAD} AS unread FROM participants p "
        "JOIN conversations c ON c.id = p.conversation_id "
        f"WHERE p.user_id = $1 AND p.is_active AND p.conversation_id IN {sql.each('$2')}",
        user_id,
        listed,
    )
    now = now_ms()
    return {
        row["conversation_id"]: my(
            row, countable=row["countable"], unread=capped(row["unread"], unread_max), now=now
        )
        for row in rows
    }


async def mine(user_id: str, conversation_id: str, *, unread_max: int) -> dict[str, Any]:
    """Return what only this member sees of a conversation.

    Raises `NotFoundError` for somebody who was removed since the caller looked.
    """
    found = await _mine(user_id, sql.texts([conversation_id]), unread_max)
    if conversation_id not in found:
        raise NotFoundError
    return found[conversation_id]


async def _last_messages(user_id: str, listed: str) -> dict[str, dict[str, Any]]:
    rows = await sql.fetch(
        f"SELECT {MESSAGE} FROM conversations c JOIN messages m ON m.id = "
        f"(SELECT x.id FROM messages x WHERE x.conversation_id = c.id AND {visible('x')} "
        "ORDER BY x.seq DESC LIMIT 1) JOIN users s ON s.id = m.sender_id "
        f"WHERE c.id IN {sql.each('$2')}",
        user_id,
        listed,
    )
    return {shown["conversation_id"]: shown for shown in await annotated(user_id, rows)}


async def annotated(user_id: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with what differs by viewer: `is_read` on others', `status` on own ones."""
    marks = await _marks(user_id, {row["conversation_id"] for row in rows})
    bodies = await _for_room(rows)
    return [
        _viewed(user_id, row["sender_id"], body, marks.get(row["conversation_id"], _NO_MARKS))
        for row, body in zip(rows, bodies, strict=True)
    ]


def shown(
    user_id: str, rows: Sequence[Mapping[str, Any]], marks: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the same of rows that came with their files, and the cursors by conversation."""
    return [
        _viewed(
            user_id,
            row["sender_id"],
            message(row, _listed(row["files"])),
            marks.get(row["conversation_id"], _NO_MARKS),
        )
        for row in rows
    ]


def _listed(files: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a list that one of the databases gives as its text."""
    listed: list[dict[str, Any]] = orjson.loads(files) if isinstance(files, str) else files
    return listed


_NO_MARKS: Mapping[str, Any] = {"own": 0, "delivered": None, "seen": None}


def _viewed(
    user_id: str, sender_id: str, body: dict[str, Any], marks: Mapping[str, Any]
) -> dict[str, Any]:
    if sender_id != user_id:
        body["is_read"] = body["seq"] <= marks["own"]
    else:
        body["status"] = _status(body["seq"], marks["delivered"], marks["seen"])
    return body


def _status(seq: int, delivered: int | None, read: int | None) -> str:
    """Return how far a message has come at every other present member."""
    if read is not None and seq <= read:
        return "read"
    if delivered is not None and seq <= delivered:
        return "delivered"
    return "sent"


async def _marks(user_id: str, conversation_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return, by conversation, the person's read cursor and the others' lowest cursors."""
    rows = await sql.fetch(
        f"{MARKS} WHERE p.conversation_id IN {sql.each('$2')} AND p.is_active "
        "GROUP BY p.conversation_id",
        user_id,
        sql.texts(sorted(conversation_ids)),
    )
    return {row["conversation_id"]: row for row in rows}


async def answered_message(user_id: str, message_id: str) -> dict[str, Any]:
    """Return one message as this person sees it."""
    rows = await sql.fetch(
        f"SELECT {MESSAGE} FROM messages m JOIN users s ON s.id = m.sender_id WHERE m.id = $1",
        message_id,
    )
    return (await annotated(user_id, rows))[0]


async def page_of_messages(
    user_id: str, condition: str, *values: object, newest_first: bool, limit: int
) -> list[dict[str, Any]]:
    """Return messages that meet a condition on `m`, by `seq`; `$1` is the person."""
    direction = "DESC" if newest_first else "ASC"
    rows = await sql.fetch(
        f"SELECT {MESSAGE} FROM messages m JOIN users s ON s.id = m.sender_id "
        f"WHERE {condition} AND {visible('m')} ORDER BY m.seq {direction} LIMIT {int(limit)}",
        user_id,
        *values,
    )
    return await annotated(user_id, rows)


async def found_messages(
    condition: str, values: Sequence[object], limit: int
) -> list[dict[str, Any]]:
    """Return rows of messages in conversations joined as `p`, newest first."""
    return await sql.fetch(
        f"SELECT {MESSAGE} FROM participants p "
        "JOIN messages m ON m.conversation_id = p.conversation_id "
        "JOIN users s ON s.id = m.sender_id "
        f"WHERE {condition} ORDER BY m.id DESC LIMIT {int(limit)}",
        *values,
    )


def version(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one version of a message."""
    return {
        "version": row["version"],
        "content": row["content"],
        "created_at": to_text(row["created_at"]),
    }


def within_bytes(
    shown: list[dict[str, Any]], largest: int, *, keep_newest: bool, least: int = 1
) -> list[dict[str, Any]]:
    """Return as many messages from one end as fit into so many bytes of JSON, or a few at least."""
    kept, room = list[dict[str, Any]](), largest
    for body in reversed(shown) if keep_newest else shown:
        room -= len(orjson.dumps(body)) + 1
        if room < 0 and len(kept) >= least:
            break
        kept.append(body)
    return kept[::-1] if keep_newest else kept


def members_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return members by conversation, from rows joined with their profiles."""
    listed: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        listed.setdefault(row["conversation_id"], []).append(participant(row))
    return listed


async def receipts(conversation_id: str, *, limit: int) -> list[dict[str, Any]]:
    """Return how far present members have received and read; none in larger conversations."""
    rows = await sql.fetch(
        "SELECT p.user_id, p.read_seq, p.delivered_seq FROM participants p "
        "WHERE p.conversation_id = $1 AND p.is_active "
        f"ORDER BY p.user_id LIMIT {int(limit) + 1}",
        conversation_id,
    )
    return [receipt(row) for row in rows] if len(rows) <= limit else []


async def profiles(conversation_ids: Sequence[str], *, limit: int) -> list[dict[str, Any]]:
    """Return the profiles of the present members of these conversations."""
    rows = await sql.fetch(
        f"SELECT DISTINCT {columns('u', '')} FROM participants p "
        "JOIN users u ON u.id = p.user_id "
        f"WHERE p.conversation_id IN {sql.each('$1')} AND p.is_active "
        f"ORDER BY u.id LIMIT {int(limit)}",
        sql.texts(conversation_ids),
    )
    return [user(row) for row in rows]


_UNREAD_NOW = f"CASE WHEN c.countable > p.read_countable THEN {UNREAD} ELSE 0 END"
_BEHIND = "(p.is_behind IS NOT FALSE OR p.marked_unread)"


_MESSAGES = "COALESCE(SUM(k.unread), 0)"
_CONVERSATIONS = "COALESCE(SUM(CASE WHEN k.unread > 0 OR k.marked THEN 1 ELSE 0 END), 0)"


def unread_now(largest: int) -> tuple[int | None, list[str]]:
    """Return the `unread_max` to count with at this moment, and the value of its last list.

    None, without a value, while too much has moved to be listed: then all is looked at.
    """
    noted = recency.noted()
    return (None, []) if len(noted) > recency.MERGED else (largest, [sql.texts(noted)])


def _unread_in_all(person: str) -> str:
    joined = "FROM participants p JOIN conversations c ON c.id = p.conversation_id"
    mine = _unread_rows(f"{joined} WHERE p.user_id = {person} AND p.is_active")
    return f"SELECT {_MESSAGES} AS total, {_CONVERSATIONS} AS waiting {mine}"


def unread_total(person: str, *listed: str, unread_max: int | None) -> str:
    """Return what counts a person's unread messages at the time `$2`, as `total`.

    It looks at what is said to be unread and at these lists, of conversations in which something
    may be unread without its being said yet. Of somebody who is behind in twice as many
    conversations as are counted exactly, whatever is not said yet, it only says that there are
    more. Without a maximum it looks at all that the person is in.
    """
    if unread_max is None:
        return _unread_in_all(person)
    return f"SELECT {_unread(_MESSAGES, person, *listed, unread_max=unread_max)} AS total"


def unread_totals_of(person: str, *listed: str, unread_max: int | None) -> str:
    """Return what counts messages and conversations in the same way, as `total` and `waiting`."""
    if unread_max is None:
        return _unread_in_all(person)
    total, waiting = (
        _unread(what, person, *listed, unread_max=unread_max)
        for what in (_MESSAGES, _CONVERSATIONS)
    )
    return f"SELECT {total} AS total, {waiting} AS waiting"


def _among(person: str) -> str:
    return f"FROM participants p WHERE p.user_id = {person} AND p.is_active"


def _unread(what: str, person: str, *listed: str, unread_max: int) -> str:
    ids = f"SELECT p.id {_among(person)}"
    named = [f"UNION {_behind_in(person, place)}" for place in listed]
    most = 2 * unread_max + recency.MERGED
    surely = (
        f"EXISTS (SELECT 1 {_among(person)} AND {_BEHIND} AND p.is_behind "
        f"AND p.archived_countable IS NULL LIMIT 1 OFFSET {most})"
    )
    among = f"({' '.join([f'{ids} AND {_BEHIND}', *named])}) i"
    membership = sql.looked_up("participants", "p", "p.id = i.id")
    conversation = sql.looked_up("conversations", "c", "c.id = p.conversation_id")
    rows = _unread_rows(f"FROM {among} {membership} {conversation} WHERE true")
    counted = f"SELECT {what} {rows}"
    return f"CASE WHEN {surely} THEN {unread_max + 1} ELSE ({counted}) END"


def _behind_in(person: str, listed: str) -> str:
    """Return the memberships of a person in the conversations of a list that hold more."""
    mine = f"p.conversation_id = l.id AND p.user_id = {person}"
    membership = sql.looked_up("participants", "p", f"{mine} AND p.is_active")
    conversation = sql.looked_up("conversations", "c", "c.id = p.conversation_id")
    return (
        f"SELECT p.id FROM {sql.rows_of(listed, 'l')} {membership} {conversation} "
        "WHERE c.countable > p.read_countable"
    )


def _unread_rows(memberships: str) -> str:
    """Return what is unread of these memberships `p` of `c`, without archived ones: a table `k`."""
    return (
        f"FROM (SELECT {_UNREAD_NOW} AS unread, p.marked_unread AS marked {memberships} "
        f"AND (c.countable > p.read_countable OR p.marked_unread) AND NOT {ARCHIVED}) k"
    )


async def unread_totals(user_id: str, *, unread_max: int) -> tuple[int, int]:
    """Return a person's unread messages and conversations, without archived ones."""
    exact, listed = unread_now(unread_max)
    statement = unread_totals_of("$1", "$3", unread_max=exact)
    rows = await sql.fetch(statement, user_id, now_ms(), *listed)
    total, waiting = int(rows[0]["total"]), int(rows[0]["waiting"])
    return capped(total, unread_max), capped(waiting, unread_max)


async def page_of_members(
    conversation_id: str, *, after: str, limit: int
) -> list[tuple[str, dict[str, Any]]]:
    """Return present members beyond a place in the order of joining, each with its place."""
    rows = await sql.fetch(
        f"SELECT {MEMBER} FROM participants p JOIN users u ON u.id = p.user_id "
        "WHERE p.conversation_id = $1 AND p.is_active AND p.id > $2 "
        f"ORDER BY p.id LIMIT {int(limit)}",
        conversation_id,
        after,
    )
    return [(row["id"], participant(row)) for row in rows]
