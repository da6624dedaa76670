"""Messages: send, edit, delete, list, search."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from server import events, journal
from server.actions import access, attachments, views
from server.actions.history import page as history_page
from server.clock import now_ms
from server.errors import (
    EditWindowClosedError,
    ForbiddenError,
    IdempotencyConflictError,
    NotFoundError,
    VersionConflictError,
)
from server.events import Event, Outcome
from server.ids import new_id
from server.models import Conversation, HiddenMessage, Message, MessageVersion, Participant, sql
from server.models.message import message as shown
from server.models.user import user as profile
from server.permissions import Call, Permission, standings
from server.schemas.requests import (
    DeleteMessage,
    EditMessage,
    GetMessage,
    ListMessages,
    SearchMessages,
    SendMessage,
)
from server.schemas.values import DeleteScope, MessageType, SystemEvent

_SEARCHED = 10_000
"""How many of the newest messages a search looks at until there is a search index."""

_BATCH = 1_000

_HAS_FILES = "m.type IN ('image', 'file') AND m.deleted_at IS NULL"


_NONE: Mapping[str, str] = MappingProxyType({})


def fingerprint(request: SendMessage, received: Mapping[str, str] = _NONE) -> str:
    """Return what tells a repetition of a send from another message with the same id.

    `received` has the SHA-256 of each file whose bytes came with this request: a repetition brings
    the same bytes, but they become files with other ids.
    """
    files = [received.get(id_, id_) for id_ in request.attachment_ids]
    kind = request.type or (None if files else MessageType.TEXT)
    asked = (kind, request.content, request.metadata, *([files] if files else ()))
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def draft(call: Call, request: SendMessage) -> journal.Entry | None:
    """Return a plain text as what the journal writes with many others.

    None for all that needs a transaction of its own, which is `send`: files, the embedding backend,
    and what nobody may send. `send` also answers what the journal left aside.
    """
    if request.attachment_ids or request.type not in {None, MessageType.TEXT}:
        return None
    if call.caller.is_service:
        return None
    return journal.Entry(
        conversation_id=request.conversation_id,
        sender_id=call.caller.user_id,
        client_msg_id=request.client_msg_id,
        fingerprint=fingerprint(request),
        content=request.content,
        metadata=orjson.dumps(request.metadata).decode(),
        writers=standings(call.caller.role, Permission.WRITE),
        outcome=_sent,
    )


def _sent(entry: journal.Entry, placed: journal.Placed) -> Outcome:
    """Return the answer to a text that was just stored, and its event."""
    body = shown(
        {
            "id": entry.id,
            "conversation_id": entry.conversation_id,
            "seq": placed.seq,
            "event_seq": placed.event_seq,
            "client_msg_id": entry.client_msg_id,
            "sender_id": entry.sender_id,
            "sender_name": placed.sender_name,
            "sender_avatar_url": placed.sender_avatar_url,
            "sender_role": placed.sender_role,
            "type": MessageType.TEXT.value,
            "content": entry.content,
            "metadata": entry.metadata,
            "system": None,
            "version": 1,
            "edited_at": None,
            "deleted_at": None,
            "created_at": placed.created_at,
        },
        (),
    )
    return _new(body, entry.sender_id)


def _new(body: dict[str, Any], sender_id: str) -> Outcome:
    reply = {"message": {**body, "status": "sent"}, "duplicate": False}
    return Outcome(reply, (events.message_created(body, sender_id),))


async def send(call: Call, request: SendMessage) -> Outcome:
    """Store a message once, whatever the number of times it is asked for."""
    return await send_received(call, request, _NONE)


@journal.transaction
async def send_received(call: Call, request: SendMessage, received: Mapping[str, str]) -> Outcome:
    """Do the same for a request that brought some of its files itself; see `fingerprint`."""
    conversation = await journal.lock_conversation(request.conversation_id)
    if conversation is None:
        raise NotFoundError
    stored = await _stored(call, request.conversation_id, request.client_msg_id)
    if stored is not None:
        return await _answer_again(call, stored, fingerprint(request, received))
    standing = await access.standing(call, conversation)
    _require_sender(standing, request.type)
    files = await attachments.locked(call.caller.user_id, request.attachment_ids)
    draft = journal.Draft(
        sender_id=call.caller.user_id,
        type=attachments.message_type(request.type, files),
        content=request.content,
        metadata=request.metadata,
        system=_notice(request),
        client_msg_id=request.client_msg_id,
        fingerprint=fingerprint(request, received),
    )
    sent = await journal.append(standing.conversation, draft)
    await attachments.claim(files, sent)
    if standing.member is not None:
        await move_sender(standing.member, standing.conversation)
    await journal.save_counters(standing.conversation)
    return _new(await views.room_message(sent.id), call.caller.user_id)


@journal.snapshot
async def require_welcome(call: Call, conversation_id: str, client_msg_id: str | None) -> Outcome:
    """Raise what a send of files would be refused with, before anybody receives their bytes.

    Whether it is a repetition is decided by what is in them, so that one is let in.
    """
    if client_msg_id is None or await _stored(call, conversation_id, client_msg_id) is None:
        _require_sender(await access.seen(call, conversation_id), None)
    return Outcome({})


@journal.snapshot
async def sent_before(call: Call, request: SendMessage, received: Mapping[str, str]) -> Outcome:
    """Answer a repeated send, or nothing when it is new; raises when the id has another message."""
    stored = await _stored(call, request.conversation_id, request.client_msg_id)
    if stored is None:
        return Outcome({})
    return await _answer_again(call, stored, fingerprint(request, received))


async def _stored(call: Call, conversation_id: str, client_msg_id: str) -> Message | None:
    return await Message.get_or_none(
        conversation_id=conversation_id,
        sender_id=call.caller.user_id,
        client_msg_id=client_msg_id,
    )


def _require_sender(standing: access.Standing, kind: MessageType | None) -> None:
    """Raise unless this caller may write this kind of message here and now."""
    if kind is MessageType.SYSTEM or standing.member is None:
        if not (standing.call.caller.is_service and kind is MessageType.SYSTEM):
            message = "System messages, and only those, come from the role service."
            raise ForbiddenError(message)
    else:
        standing.require(Permission.WRITE)
    standing.require_open()


def _notice(request: SendMessage) -> dict[str, Any] | None:
    if request.type is MessageType.SYSTEM:
        return {"event": SystemEvent.NOTICE.value, "params": {}}
    return None


async def _answer_again(call: Call, stored: Message, asked: str) -> Outcome:
    """Answer a repeated send; its id and place only, if the caller may no longer read it.

    Such an answer has the number 0, so that it never stands in the way of what is told later.
    """
    if stored.fingerprint != asked:
        raise IdempotencyConflictError
    present = await Participant.exists(
        conversation_id=stored.conversation_id, user_id=call.caller.user_id, is_active=True
    )
    body = await views.answered_message(call.caller.user_id, stored.id)
    if not (present or call.caller.is_service):
        body |= {"content": "", "metadata": {}, "version": 1, "is_edited": False, "edited_at": None}
        body |= {"is_deleted": False, "deleted_at": None, "status": "sent", "attachments": []}
        body["event_seq"] = 0
    return Outcome({"message": body, "duplicate": True})


async def move_sender(member: Participant, conversation: Conversation) -> None:
    """Move the sender's cursors to the message just sent: who writes has read.

    This is also what makes unread a subtraction: one's own messages never lie after one's cursor.
    """
    if member.archived_countable == conversation.countable - 1:
        member.archived_countable = conversation.countable
        member.archived_seq = conversation.last_seq
    member.read_seq = member.delivered_seq = conversation.last_seq
    member.read_countable = conversation.countable
    await member.save(
        update_fields=[
            "read_seq",
            "delivered_seq",
            "read_countable",
            "archived_countable",
            "archived_seq",
        ]
    )


async def tell(
    conversation: Conversation, actor_id: str, event: SystemEvent, params: dict[str, Any]
) -> Event:
    """Append a system message in a locked conversation and return the event that announces it."""
    draft = journal.Draft(
        sender_id=actor_id,
        type=MessageType.SYSTEM,
        system={"event": event.value, "params": params},
    )
    told = await journal.append(conversation, draft)
    return events.message_created(await views.room_message(told.id), actor_id)


@journal.transaction
async def edit(call: Call, request: EditMessage) -> Outcome:
    """Give one's own message a new text and keep the old one."""
    standing, message = await access.locked_message(call, request.message_id)
    if message.sender_id != call.caller.user_id or message.type == MessageType.SYSTEM:
        raise ForbiddenError
    if message.deleted_at is not None:
        raise NotFoundError
    if message.content == request.content and request.base_version in (None, message.version - 1):
        # Asked again: the text is there already.
        return await _answer(call, message)
    if request.base_version not in (None, message.version):
        raise VersionConflictError
    standing.require(Permission.WRITE)
    standing.require_open()
    _require_window(standing, message, call.settings.limits.edit_seconds)
    if message.content == request.content:
        return await _answer(call, message)
    await _keep_version(message)
    message.content = request.content
    message.version += 1
    message.edited_at = now_ms()
    message.event_seq = standing.conversation.next_event()
    await message.save(update_fields=["content", "version", "edited_at", "event_seq"])
    await journal.save_counters(standing.conversation)
    return await _answer(call, message, events.message_updated)


def _require_window(standing: access.Standing, message: Message, seconds: int) -> None:
    """Raise when a member comes too late; owners and admins are not held to the window."""
    late = now_ms() - message.created_at >= seconds * 1_000
    if late and not standing.may(Permission.NO_WINDOW):
        raise EditWindowClosedError


async def _keep_version(message: Message) -> None:
    await MessageVersion.create(
        id=new_id(),
        message_id=message.id,
        version=message.version,
        content=message.content,
        created_at=message.edited_at or message.created_at,
    )


async def _answer(call: Call, message: Message, told: Any = None) -> Outcome:
    reply = {"message": await views.answered_message(call.caller.user_id, message.id)}
    if told is None:
        return Outcome(reply)
    return Outcome(reply, (told(await views.room_message(message.id), call.caller.user_id),))


async def delete(call: Call, request: DeleteMessage) -> Outcome:
    """Take a message away: from everyone, or from the caller's own eyes."""
    if request.scope is DeleteScope.ME:
        return await _hide(call, request)
    return await _delete(call, request)


@journal.transaction
async def _delete(call: Call, request: DeleteMessage) -> Outcome:
    standing, message = await access.locked_message(call, request.message_id)
    if message.deleted_at is not None:
        return await _answer(call, message)
    if not standing.may(Permission.DELETE_ANY):
        if message.sender_id != call.caller.user_id or message.type == MessageType.SYSTEM:
            raise ForbiddenError
        standing.require(Permission.WRITE)
        _require_window(standing, message, call.settings.limits.delete_seconds)
    message.deleted_at = now_ms()
    message.update_from_dict({"content": "", "metadata": "{}", "system": None})
    message.event_seq = standing.conversation.next_event()
    await message.save(update_fields=["content", "metadata", "system", "deleted_at", "event_seq"])
    await MessageVersion.filter(message_id=message.id).delete()
    left = await attachments.give_up_those_of(message.id)
    await journal.save_counters(standing.conversation)
    outcome = await _answer(call, message, events.message_deleted)
    return outcome._replace(gives_up_files=left)


@journal.transaction
async def _hide(call: Call, request: DeleteMessage) -> Outcome:
    message = await access.readable_message(call, request.message_id)
    user_id = call.caller.user_id
    await journal.lock_people([user_id])
    outcome = await _answer(call, message)
    if await HiddenMessage.exists(user_id=user_id, message_id=message.id):
        return outcome
    number = (await journal.next_user_numbers([user_id]))[user_id]
    await HiddenMessage.create(
        id=new_id(),
        user_id=user_id,
        message_id=message.id,
        conversation_id=message.conversation_id,
        user_seq=number,
    )
    told = events.my_message_hidden(user_id, number, message.conversation_id, [message.id])
    return Outcome(outcome.reply, (told,))


@journal.snapshot
async def get(call: Call, request: GetMessage) -> Outcome:
    """Return one message."""
    message = await access.readable_message(call, request.message_id)
    return await _answer(call, message)


@journal.snapshot
async def read_by(call: Call, request: GetMessage) -> Outcome:
    """Return the present members, other than its sender, who have read a message."""
    message = await access.readable_message(call, request.message_id)
    rows = await sql.fetch(
        "SELECT u.* FROM participants p JOIN users u ON u.id = p.user_id "
        "WHERE p.conversation_id = $1 AND p.is_active AND p.read_seq >= $2 AND p.user_id <> $3 "
        "ORDER BY u.id",
        message.conversation_id,
        message.seq,
        message.sender_id,
    )
    return Outcome({"results": [profile(row) for row in rows]})


@journal.snapshot
async def history(call: Call, request: GetMessage) -> Outcome:
    """Return what a message said before, oldest first, the present version last."""
    message = await access.readable_message(call, request.message_id)
    rows = await sql.fetch(
        "SELECT version, content, created_at FROM message_versions "
        "WHERE message_id = $1 ORDER BY version",
        message.id,
    )
    rows.append(
        {
            "version": message.version,
            "content": message.content,
            "created_at": message.edited_at or message.created_at,
        }
    )
    return Outcome({"results": [views.version(row) for row in rows]})


async def page(call: Call, request: ListMessages) -> Outcome:
    """Return a page of history, oldest first."""
    hot = None if request.around_seq is not None else await history_page(call, request)
    return hot or await _page(call, request)


@journal.snapshot
async def _page(call: Call, request: ListMessages) -> Outcome:
    """Do the same for a page around a message, or one that must be cut."""
    conversation, _ = await access.joined(call, request.conversation_id)
    limits = call.settings.limits
    shown = await _around(call, request, limit=request.limit or limits.page)
    first = shown[0]["seq"] if shown else None
    last = shown[-1]["seq"] if shown else None
    before, after = await _beyond(call, request, first, last)
    reply = {
        "messages": shown,
        "has_more_before": before,
        "has_more_after": after,
        "last_seq": conversation.last_seq,
        "event_seq": conversation.head,
        "receipts": await views.receipts(conversation.id, limit=limits.broadcast_members),
        "users": await views.profiles([conversation.id], limit=limits.broadcast_members),
    }
    return Outcome(reply)


async def _around(call: Call, request: ListMessages, *, limit: int) -> list[dict[str, Any]]:
    """Return what a page shows: so many messages, and no more than fit into its bytes."""
    user_id, conversation_id = call.caller.user_id, request.conversation_id
    room = call.settings.limits.sync_bytes
    older = newer = list[dict[str, Any]]()
    from_seq = request.around_seq
    if request.after_seq is not None:
        from_seq = request.after_seq + 1
    if request.after_seq is None:
        wanted = limit if from_seq is None else limit // 2
        before = request.before_seq if from_seq is None else from_seq
        older = await _older(user_id, conversation_id, before, wanted)
    if from_seq is not None:
        newer = await _newer(user_id, conversation_id, from_seq, limit - len(older))
        # What was asked for lies at the seam: both sides are cut at their far ends.
        newer = views.within_bytes(newer, room // 2 if older else room, keep_newest=False)
        room -= len(orjson.dumps(newer))
    least = 0 if newer else 1
    return views.within_bytes(older, room, keep_newest=True, least=least) + newer


async def _newer(
    user_id: str, conversation_id: str, first: int, limit: int
) -> list[dict[str, Any]]:
    return await views.page_of_messages(
        user_id,
        "m.conversation_id = $2 AND m.seq >= $3",
        conversation_id,
        first,
        newest_first=False,
        limit=limit,
    )


async def _older(
    user_id: str, conversation_id: str, before: int | None, limit: int
) -> list[dict[str, Any]]:
    condition, values = "m.conversation_id = $2", [conversation_id]
    if before is not None:
        condition = f"{condition} AND m.seq < $3"
    bounds = () if before is None else (before,)
    found = await views.page_of_messages(
        user_id, condition, *values, *bounds, newest_first=True, limit=limit
    )
    return found[::-1]


async def _beyond(
    call: Call, request: ListMessages, first: int | None, last: int | None
) -> tuple[bool, bool]:
    """Return whether the caller could read on before and after what is shown."""
    if first is None or last is None:
        given = (request.before_seq, request.around_seq)
        at = next((seq for seq in given if seq is not None), 0)
        first = at if request.after_seq is None else request.after_seq + 1
        last = first - 1
    rows = await sql.fetch(
        "SELECT EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = $2 "
        f"AND m.seq < $3 AND {views.visible('m')}) AS before, "
        "EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = $2 "
        f"AND m.seq > $4 AND {views.visible('m')}) AS after",
        call.caller.user_id,
        request.conversation_id,
        first,
        last,
    )
    return bool(rows[0]["before"]), bool(rows[0]["after"])


@journal.snapshot
async def search(call: Call, request: SearchMessages) -> Outcome:
    """Return messages of all conversations the caller is in, newest first.

    `q` is compared without regard to case with the newest 10,000 messages that meet the other
    conditions; when there are more, `truncated` says so.
    """
    limit = request.limit or call.settings.limits.page
    found, truncated = await _scan(call, request, limit + 1)
    shown = await views.annotated(call.caller.user_id, found[:limit])
    more = len(found) > limit
    return Outcome(
        {
            "results": shown,
            "next_cursor": shown[-1]["id"] if more else None,
            "truncated": truncated,
        }
    )


async def _scan(
    call: Call, request: SearchMessages, wanted: int
) -> tuple[list[dict[str, Any]], bool]:
    """Return the newest messages that match, and whether older ones were not looked at."""
    needle = (request.q or "").casefold()
    before, looked, found = request.cursor, 0, list[dict[str, Any]]()
    size = _BATCH if needle else wanted
    while len(found) < wanted:
        if looked >= _SEARCHED:
            return found, bool(await _candidates(call, request, before, 1))
        rows = await _candidates(call, request, before, size)
        found += [row for row in rows if needle in row["content"].casefold()]
        looked += len(rows)
        if len(rows) < size or not needle:
            break
        before = rows[-1]["id"]
    return found[:wanted], False


async def _candidates(
    call: Call, request: SearchMessages, before: str | None, limit: int
) -> list[dict[str, Any]]:
    values: list[Any] = [call.caller.user_id]
    conditions = ["p.user_id = $1", "p.is_active", views.visible("m")]
    wanted = {
        "m.conversation_id = ": request.conversation_id,
        "m.sender_id = ": request.sender_id,
        "m.type = ": request.type.value if request.type else None,
        "m.created_at >= ": request.since,
        "m.created_at < ": request.until,
        "m.id < ": before,
    }
    for condition, value in wanted.items():
        if value is not None:
            values.append(value)
            conditions.append(f"{condition}${len(values)}")
    if request.has_attachment is not None:
        conditions.append(_HAS_FILES if request.has_attachment else f"NOT ({_HAS_FILES})")
    if request.q:
        conditions.append("m.deleted_at IS NULL")
    return await views.found_messages(" AND ".join(conditions), values, limit)
