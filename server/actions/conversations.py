"""Conversations: create, list, change for all, change for oneself."""

from typing import Any

import orjson

from server import events, journal
from server.actions import access, listing, people, views
from server.actions.messages import fingerprint, move_sender, tell
from server.clock import now_ms
from server.errors import (
    ForbiddenError,
    IdempotencyConflictError,
    NotFoundError,
    ValidationFailedError,
)
from server.events import Event, Outcome
from server.ids import new_id
from server.models import Conversation, Message, Participant, User, sql
from server.models.conversation import direct_key, room_conversation
from server.models.participant import is_archived
from server.models.user import fold
from server.permissions import Call, Permission, role_of_creator, role_on_joining
from server.schemas.requests import (
    Archive,
    CreateConversation,
    GetConversation,
    InitialMessage,
    ListConversations,
    SendMessage,
    UpdateConversation,
    UpdateMy,
)
from server.schemas.values import (
    ConversationType,
    MessageType,
    SystemEvent,
    UserRole,
)

_CHANGEABLE = ("title", "avatar_url", "client", "property", "metadata", "is_active")


@journal.transaction
async def create(call: Call, request: CreateConversation) -> Outcome:
    """Make a conversation, or return the one that stands for this pair or this `external_id`."""
    ids = _named(call, request)
    profiles = await people.known(call, ids, field="participant_ids")
    _require_types(request, [profiles[id_] for id_ in ids])
    conversation, made = await _make(call, request, ids)
    told: list[Event] = []
    if made:
        await _enrol(call, conversation, [profiles[id_] for id_ in ids])
        await _begin(call, conversation, told)
    if request.initial_message is not None:
        await _say(call, conversation, request.initial_message, told)
    await journal.save_counters(conversation)
    if made:
        told = [*await _added(call, conversation, ids), *told]
    shown = await _shown(call, conversation.id)
    return Outcome({"conversation": shown, "created": made}, tuple(told))


def _named(call: Call, request: CreateConversation) -> list[str]:
    """Return the people of the new conversation, each once, the creator first."""
    creator = [] if call.caller.is_service else [call.caller.user_id]
    ids = list(dict.fromkeys([*creator, *request.participant_ids]))
    if request.type is ConversationType.DIRECT and len(ids) != 2:
        problem = "must name exactly one other person in a direct conversation"
        raise ValidationFailedError.of("participant_ids", problem)
    largest = call.settings.limits.members
    if len(ids) > largest:
        raise ValidationFailedError.of("participant_ids", f"name more than {largest} members")
    return ids


def _require_types(request: CreateConversation, profiles: list[User]) -> None:
    """Hold the people against the type; a profile without a role satisfies either side."""
    roles = [profile.role for profile in profiles]
    agents = [role in (UserRole.AGENT, UserRole.ADMIN, None) for role in roles]
    clients = [role in (UserRole.CLIENT, None) for role in roles]
    if request.type is ConversationType.AGENT_AGENT and not all(agents):
        raise ValidationFailedError.of("participant_ids", "must all be agents")
    if request.type is ConversationType.CLIENT_AGENT:
        pairs = sum(agents) >= 1 and sum(clients) >= 1 and len(roles) > 1
        if not pairs:
            problem = "must hold at least one client and one agent"
            raise ValidationFailedError.of("participant_ids", problem)


async def _make(
    call: Call, request: CreateConversation, ids: list[str]
) -> tuple[Conversation, bool]:
    """Insert the conversation, or find the one that is there, and lock it."""
    key = direct_key(*ids) if request.type is ConversationType.DIRECT else None
    found = await _existing(call, request, key)
    if found is None:
        new = await _insert(call, request, key)
        # Somebody else may have made it in the meantime: then ours was not inserted.
        found = new if await Conversation.exists(id=new) else await _existing(call, request, key)
        if found is None:
            raise NotFoundError
        conversation = await journal.lock_conversation(found)
        if conversation is not None and found == new:
            return conversation, True
    conversation = await journal.lock_conversation(found)
    if conversation is None:
        raise NotFoundError
    return conversation, False


async def _existing(call: Call, request: CreateConversation, key: str | None) -> str | None:
    """Return the id of the conversation this request stands for, if the caller may know it."""
    if request.external_id is not None:
        found = await Conversation.get_or_none(external_id=request.external_id)
        if found is not None:
            member = await Participant.exists(
                conversation_id=found.id, user_id=call.caller.user_id, is_active=True
            )
            same = key is None or found.direct_key == key
            known = member or await _is_for_backend(call, request, found)
            if not (same and known):
                raise ValidationFailedError.of("external_id", "is already taken")
            return found.id
    if key is None:
        return None
    pair = await Conversation.get_or_none(direct_key=key)
    return None if pair is None else pair.id


async def _is_for_backend(call: Call, request: CreateConversation, found: Conversation) -> bool:
    """Return whether this conversation is what the embedding backend means by its `external_id`.

    Made by a person, it must be of this type and with that person in it: else somebody who guesses
    the id of a conversation that is still to be made would be told what is meant for others.
    """
    if not call.caller.is_service:
        return False
    if found.created_by in request.participant_ids and found.type == request.type:
        return True
    return await User.exists(id=found.created_by, role=UserRole.SERVICE.value)


async def _insert(call: Call, request: CreateConversation, key: str | None) -> str:
    now, id_ = now_ms(), new_id()
    await sql.execute(
        "INSERT INTO conversations (id, type, title, search_title, avatar_url, client, property, "
        "external_id, direct_key, metadata, created_by, created_at, updated_at, last_activity_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) "
        "ON CONFLICT DO NOTHING",
        id_,
        request.type.value,
        request.title,
        _searched(request.title),
        request.avatar_url,
        request.client,
        request.property,
        request.external_id,
        key,
        orjson.dumps(request.metadata).decode(),
        call.caller.user_id,
        now,
        now,
        now,
    )
    return id_


def _searched(title: str | None) -> str:
    """Return the form in which a title is searched."""
    return fold(title or "")[:400]


async def _enrol(call: Call, conversation: Conversation, profiles: list[User]) -> None:
    """Make the first memberships, under the numbers after the conversation's own."""
    conversation.event_seq = conversation.next_event()
    conversation.participants_count = len(profiles)
    numbers = await journal.next_user_numbers([profile.id for profile in profiles])
    kind = ConversationType(conversation.type)
    owns = call.caller.user_id
    if call.caller.is_service:
        # The backend is no member: the first person it names takes the creator's place.
        owns = profiles[0].id
    now = now_ms()
    for profile in profiles:
        role = UserRole(profile.role) if profile.role else None
        joins_as = role_of_creator if profile.id == owns else role_on_joining
        await Participant.create(
            id=new_id(),
            conversation_id=conversation.id,
            user_id=profile.id,
            role=joins_as(kind, role).value,
            event_seq=conversation.next_event(),
            user_seq=numbers[profile.id],
            joined_at=now,
        )


async def _begin(call: Call, conversation: Conversation, told: list[Event]) -> None:
    """Collect what the room hears first: its members, and that it was made."""
    actor, lines = call.caller.user_id, list[Event]()
    if conversation.type != ConversationType.DIRECT:
        params = {"actor_id": actor, "title": conversation.title}
        lines.append(await tell(conversation, actor, SystemEvent.CREATED, params))
        await _seen_by_all(conversation)
    members = await views.members(conversation.id)
    told += [events.participant_added(conversation.id, member, actor) for member in members]
    told += lines


async def _seen_by_all(conversation: Conversation) -> None:
    """Let the first members begin after the line about the creation."""
    await Participant.filter(conversation_id=conversation.id).update(
        read_seq=conversation.last_seq,
        delivered_seq=conversation.last_seq,
        read_countable=conversation.countable,
    )


async def _say(
    call: Call, conversation: Conversation, first: InitialMessage, told: list[Event]
) -> None:
    """Send the message that came with the creation, once, also when it is asked again."""
    sender = await Participant.get_or_none(
        conversation_id=conversation.id, user_id=call.caller.user_id, is_active=True
    )
    if sender is None:
        problem = "needs a sender who is a participant; the role service is none"
        raise ValidationFailedError.of("initial_message", problem)
    standing = access.Standing(call, conversation, sender)
    standing.require(Permission.WRITE)
    as_send = SendMessage.model_validate(
        {
            "conversation_id": conversation.id,
            "client_msg_id": first.client_msg_id or new_id(),
            "content": first.content,
            "metadata": first.metadata,
        },
        context=call.settings.limits.to_wire(),
    )
    print_ = fingerprint(as_send)
    stored = await Message.get_or_none(
        conversation_id=conversation.id,
        sender_id=sender.user_id,
        client_msg_id=as_send.client_msg_id,
    )
    if stored is not None:
        if stored.fingerprint != print_:
            raise IdempotencyConflictError
        return
    standing.require_open()
    sent = await journal.append(
        conversation,
        journal.Draft(
            sender_id=sender.user_id,
            type=MessageType.TEXT,
            content=as_send.content,
            metadata=as_send.metadata,
            client_msg_id=as_send.client_msg_id,
            fingerprint=print_,
        ),
    )
    await move_sender(sender, conversation)
    body = await views.room_message(sent.id)
    told.append(events.message_created(body, sender.user_id))


async def _added(call: Call, conversation: Conversation, ids: list[str]) -> list[Event]:
    """Tell each member that they are in, with the conversation as they see it."""
    unread_max = call.settings.limits.unread_max
    seen = await views.as_members(conversation.id, ids, unread_max=unread_max)
    rows = await Participant.filter(conversation_id=conversation.id, user_id__in=ids)
    return [
        events.conversation_added(row.user_id, row.user_seq, seen[row.user_id], row.event_seq)
        for row in sorted(rows, key=lambda row: row.event_seq)
    ]


async def _shown(call: Call, conversation_id: str) -> dict[str, Any]:
    viewer = None if call.caller.is_service else call.caller.user_id
    unread_max = call.settings.limits.unread_max
    return (await views.conversations(viewer, [conversation_id], unread_max=unread_max))[0]


@journal.snapshot
async def get(call: Call, request: GetConversation) -> Outcome:
    """Return one conversation."""
    await access.seen(call, request.conversation_id)
    return Outcome({"conversation": await _shown(call, request.conversation_id)})


async def list_(call: Call, request: ListConversations) -> Outcome:
    """Return a page of the caller's conversations, pinned on top, newest activity first."""
    return await listing.page(call, request)


@journal.transaction
async def update(call: Call, request: UpdateConversation) -> Outcome:
    """Change what all members see of a conversation."""
    standing = await access.locked(call, request.conversation_id)
    standing.require(Permission.UPDATE)
    conversation = standing.conversation
    before = room_conversation(conversation.to_row())
    given = request.given(*_CHANGEABLE)
    if conversation.type == ConversationType.DIRECT and given.keys() & {"title", "avatar_url"}:
        # The backend closes it and keeps its keys there; a name is what the other person has.
        raise ForbiddenError
    changed = {name: value for name, value in given.items() if before[name] != value}
    if not changed:
        return Outcome({"conversation": await _shown(call, conversation.id)})
    stored = dict(changed)
    if "metadata" in stored:
        stored["metadata"] = orjson.dumps(stored["metadata"]).decode()
    if "title" in stored:
        stored["search_title"] = _searched(request.title)
    conversation.update_from_dict(stored)
    conversation.event_seq = conversation.next_event()
    conversation.updated_at = now_ms()
    await conversation.save(update_fields=[*stored, "event_seq", "updated_at"])
    after = room_conversation(conversation.to_row())
    told = [events.conversation_updated(after, call.caller.user_id)]
    told += await _lines(call, conversation, changed)
    await journal.save_counters(conversation)
    return Outcome({"conversation": await _shown(call, conversation.id)}, tuple(told))


async def _lines(call: Call, conversation: Conversation, changed: dict[str, object]) -> list[Event]:
    """Write into the conversation what a reader should know of a change."""
    actor = call.caller.user_id
    lines = []
    if "title" in changed:
        params = {"actor_id": actor, "title": conversation.title}
        lines.append(await tell(conversation, actor, SystemEvent.RENAMED, params))
    if "is_active" in changed:
        event = SystemEvent.REOPENED if conversation.is_active else SystemEvent.CLOSED
        lines.append(await tell(conversation, actor, event, {"actor_id": actor}))
    return lines


@journal.transaction
async def update_my(call: Call, request: UpdateMy) -> Outcome:
    """Change what only the caller sees: archive, pin, mute, mark as unread."""
    standing = await access.locked(call, request.conversation_id)
    member, conversation = standing.member, standing.conversation
    if member is None:
        raise NotFoundError
    await journal.lock_people([member.user_id])
    given = request.given("is_pinned", "muted_until", "marked_unread")
    changed = {name: value for name, value in given.items() if getattr(member, name) != value}
    archived = is_archived(member.to_row(), conversation.countable, now_ms())
    wanted = request.is_archived if "is_archived" in request.model_fields_set else archived
    # A mark that a message has lifted is not set again by muting the conversation later.
    if wanted != archived or ("muted_until" in changed and not wanted):
        changed["archived_countable"] = conversation.countable if wanted else None
        changed["archived_seq"] = conversation.last_seq if wanted else None
    told: list[Event] = []
    if changed:
        numbers = await journal.next_user_numbers([member.user_id])
        changed["user_seq"] = numbers[member.user_id]
        member.update_from_dict(changed)
        await member.save(update_fields=list(changed))
    unread_max = call.settings.limits.unread_max
    my = await views.mine(member.user_id, conversation.id, unread_max=unread_max)
    if changed:
        told.append(events.my_updated(member.user_id, member.user_seq, conversation.id, my))
        told.append(await people.counters(call))
    return Outcome({"my": my}, tuple(told))


async def archive(call: Call, request: Archive) -> Outcome:
    """Put a conversation away, or back, for the caller."""
    wanted = UpdateMy(conversation_id=request.conversation_id, is_archived=request.archived)
    return await update_my(call, wanted)
