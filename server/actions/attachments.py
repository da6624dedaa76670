"""Attachments: put in place by their owner, claimed by one message, given up by everybody.

A row goes from `pending` over `ready` to `deleted` and then is no more. It is written before the
first of its bytes is in place and outlives the last of them, so that whatever breaks off leaves a
row that the sweep finds, and never bytes that nobody knows.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server import journal
from server.clock import now_ms
from server.errors import ForbiddenError, UnavailableError, ValidationFailedError
from server.events import Outcome
from server.models import Attachment, Message, sql
from server.models.attachment import AttachmentState, attachment, keys
from server.permissions import Call
from server.schemas.values import AttachmentKind, MessageType

WITH_FILES = (MessageType.IMAGE, MessageType.FILE)
"""The types of message that have attachments: these and no others."""


# Putting in place


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that has been looked at and is not in place yet; thumbnails as they are stored."""

    id: str
    kind: AttachmentKind
    name: str
    content_type: str
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None
    blurhash: str | None = None
    thumbnails: Sequence[Mapping[str, Any]] = ()


@journal.snapshot
async def require_room(call: Call) -> Outcome:
    """Raise when the caller may upload nothing at all, before anybody receives bytes."""
    await _require_room(call, 0)
    return Outcome({})


@journal.transaction
async def begin_unsent(call: Call, draft: Draft) -> None:
    """Note a file whose bytes are put in place next, for a message that is still to come.

    Raises `ForbiddenError` when its owner holds too much that was never sent.
    """
    await journal.lock_people([call.caller.user_id])
    await _require_room(call, draft.size)
    await _begin(call, [draft])


@journal.transaction
async def begin(call: Call, drafts: Sequence[Draft]) -> None:
    """Note files whose bytes are put in place next, for a message that takes them at once."""
    await _begin(call, drafts)


async def _begin(call: Call, drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        await Attachment.create(
            id=draft.id,
            owner_id=call.caller.user_id,
            state=AttachmentState.PENDING.value,
            kind=draft.kind.value,
            name=draft.name,
            content_type=draft.content_type,
            size=draft.size,
            sha256=draft.sha256,
            width=draft.width,
            height=draft.height,
            blurhash=draft.blurhash,
            thumbnails=orjson.dumps(draft.thumbnails).decode(),
            created_at=now_ms(),
        )


async def _require_room(call: Call, size: int) -> None:
    if call.caller.is_service:
        message = "The role service sends no files."
        raise ForbiddenError(message)
    held = await sql.fetch(
        "SELECT COUNT(*) AS files, COALESCE(SUM(a.size), 0) AS bytes FROM attachments a "
        "WHERE a.owner_id = $1 AND a.message_id IS NULL AND a.state <> 'deleted'",
        call.caller.user_id,
    )
    bounds = call.settings.files
    if held[0]["files"] >= bounds.unsent_files or held[0]["bytes"] + size > bounds.unsent_bytes:
        message = (
            f"There are too many files that you uploaded and never sent: {held[0]['files']}. "
            f"Send them; what was not sent is removed after {bounds.unsent_hours} hours."
        )
        raise ForbiddenError(message)


@journal.transaction
async def finish(ids: Collection[str]) -> list[dict[str, Any]]:
    """Say that the bytes of these files are in place, and return the files as they are shown."""
    count = await sql.execute(
        "UPDATE attachments SET state = 'ready' "
        f"WHERE id IN {sql.each('$1')} AND state = 'pending'",
        sql.texts(list(ids)),
    )
    if count != len(ids):
        raise UnavailableError(reason="files were given up while they were put in place")
    rows = await sql.fetch(
        f"SELECT a.* FROM attachments a WHERE a.id IN {sql.each('$1')}", sql.texts(list(ids))
    )
    return [attachment(row) for row in rows]


# What messages show


async def by_message(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the attachments of these messages, by message, in one look or none."""
    ids = [row["id"] for row in rows if row["type"] in WITH_FILES and row["deleted_at"] is None]
    if not ids:
        return {}
    found = await sql.fetch(
        f"SELECT a.* FROM attachments a WHERE a.message_id IN {sql.each('$1')} "
        "AND a.state <> 'deleted' ORDER BY a.message_id, a.position",
        sql.texts(ids),
    )
    shown: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        shown.setdefault(row["message_id"], []).append(attachment(row))
    return shown


# Sending


async def locked(owner_id: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Lock files that this person may send, in the order of the ids.

    Raises `ValidationFailedError` in the same words for one that does not exist, is somebody
    else's, is not ready or was sent before.
    """
    if not ids:
        return []
    rows = await sql.fetch(
        f"SELECT a.* FROM attachments a WHERE a.id IN {sql.each('$1')} AND a.owner_id = $2 "
        "AND a.message_id IS NULL AND a.state = 'ready' ORDER BY a.id FOR UPDATE",
        sql.texts(ids),
        owner_id,
    )
    found = {row["id"]: row for row in rows}
    for place, id_ in enumerate(ids):
        if id_ not in found:
            problem = "is no file that you uploaded and have not sent yet"
            raise ValidationFailedError.of(f"attachment_ids.{place}", problem)
    return [found[id_] for id_ in ids]


def message_type(asked: MessageType | None, files: Sequence[Mapping[str, Any]]) -> MessageType:
    """Return what a message with these files is; raises when it was said to be something else.

    Images may be sent as `file`, for people who want them listed and not shown.
    """
    if not files:
        if asked in WITH_FILES:
            raise ValidationFailedError.of("type", "needs attachments")
        return asked or MessageType.TEXT
    images = all(row["kind"] == AttachmentKind.IMAGE for row in files)
    natural = MessageType.IMAGE if images else MessageType.FILE
    if asked not in (None, natural, MessageType.FILE):
        raise ValidationFailedError.of("type", f"must be {natural} with these attachments")
    return asked or natural


async def claim(files: Sequence[Mapping[str, Any]], message: Message) -> None:
    """Make locked files those of a message, in this order."""
    for place, row in enumerate(files):
        await sql.execute(
            "UPDATE attachments SET message_id = $2, conversation_id = $3, position = $4 "
            "WHERE id = $1",
            row["id"],
            message.id,
            message.conversation_id,
            place,
        )


async def give_up_those_of(message_id: str) -> bool:
    """Give up the files of a deleted message; return whether it had any."""
    statement = "UPDATE attachments SET state = 'deleted' WHERE message_id = $1"
    return await sql.execute(statement, message_id) > 0


# Giving up


@journal.transaction
async def give_up(ids: Collection[str]) -> None:
    """Give up those of these files that no message has."""
    await sql.execute(
        "UPDATE attachments SET state = 'deleted' "
        f"WHERE id IN {sql.each('$1')} AND message_id IS NULL",
        sql.texts(list(ids)),
    )


@journal.transaction
async def give_up_overdue(*, pending_before: int, unsent_before: int, most: int) -> int:
    """Give up files that broke off or were never sent, and return how many; times in ms."""
    return await sql.execute(
        "UPDATE attachments SET state = 'deleted' WHERE id IN (SELECT a.id FROM attachments a "
        "WHERE a.message_id IS NULL AND (a.state = 'ready' AND a.created_at < $2 "
        f"OR a.state = 'pending' AND a.created_at < $1) ORDER BY a.created_at LIMIT {int(most)}) "
        "AND message_id IS NULL",
        pending_before,
        unsent_before,
    )


async def given_up(*, most: int) -> dict[str, list[str]]:
    """Return files that were given up, each with the keys of the store that may hold its bytes."""
    rows = await sql.fetch(
        "SELECT a.id, a.thumbnails FROM attachments a WHERE a.state = 'deleted' "
        f"ORDER BY a.id LIMIT {int(most)}"
    )
    return {row["id"]: keys(row["id"], row["thumbnails"]) for row in rows}


@journal.transaction
async def forget(ids: Collection[str]) -> None:
    """Drop the rows of files whose bytes are gone."""
    await sql.execute(
        f"DELETE FROM attachments WHERE id IN {sql.each('$1')} AND state = 'deleted'",
        sql.texts(list(ids)),
    )


async def known(ids: Collection[str]) -> set[str]:
    """Return those of these ids that are files."""
    rows = await sql.fetch(
        f"SELECT a.id FROM attachments a WHERE a.id IN {sql.each('$1')}", sql.texts(list(ids))
    )
    return {row["id"] for row in rows}
