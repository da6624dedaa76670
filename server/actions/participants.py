"""Members: add, remove, leave, and what each may do."""

from server import events, journal
from server.actions import access, people, views
from server.actions.messages import tell
from server.clock import now_ms
from server.errors import ForbiddenError, NotFoundError, ValidationFailedError
from server.events import Event, Outcome
from server.ids import new_id
from server.models import Conversation, Participant, User
from server.permissions import Call, Permission, role_on_joining
from server.schemas.requests import (
    AddParticipants,
    LeaveConversation,
    ListParticipants,
    RemoveParticipant,
    UpdateParticipant,
)
from server.schemas.values import ConversationType, MembershipRole, SystemEvent, UserRole


@journal.transaction
async def add(call: Call, request: AddParticipants) -> Outcome:
    """Add people; those who are in already stay as they are."""
    standing = await access.locked(call, request.conversation_id)
    standing.require(Permission.ADD)
    standing.require_open()
    conversation = standing.conversation
    ids = list(dict.fromkeys(request.user_ids))
    profiles = await people.known(call, ids, field="user_ids")
    present = {
        member.user_id
        for member in await Participant.filter(
            conversation_id=conversation.id, user_id__in=ids, is_active=True
        )
    }
    joining = [profiles[id_] for id_ in ids if id_ not in present]
    if not joining:
        return Outcome({"participants": []})
    _require_room(call, conversation, joining)
    await _join(conversation, joining)
    told = await _tell_joined(call, conversation, [profile.id for profile in joining])
    joined = await views.members(conversation.id, [profile.id for profile in joining])
    return Outcome({"participants": joined}, told)


def _require_room(call: Call, conversation: Conversation, joining: list[User]) -> None:
    largest = call.settings.limits.members
    if conversation.participants_count + len(joining) > largest:
        raise ValidationFailedError.of("user_ids", f"make more than {largest} members")
    if conversation.type == ConversationType.AGENT_AGENT:
        clients = [profile.id for profile in joining if profile.role == UserRole.CLIENT]
        if clients:
            raise ValidationFailedError.of("user_ids", "must all be agents")


async def _join(conversation: Conversation, joining: list[User]) -> None:
    """Make or renew memberships; everybody begins at the last message."""
    numbers = await journal.next_user_numbers([profile.id for profile in joining])
    earlier = {
        row.user_id: row
        for row in await Participant.filter(
            conversation_id=conversation.id, user_id__in=list(numbers)
        )
    }
    kind, now = ConversationType(conversation.type), now_ms()
    for profile in joining:
        role = UserRole(profile.role) if profile.role else None
        member = earlier.get(profile.id) or Participant(
            id=new_id(), conversation_id=conversation.id, user_id=profile.id
        )
        renewed = profile.id in earlier
        member.update_from_dict(
            {
                "role": role_on_joining(kind, role).value,
                "is_active": True,
                "event_seq": conversation.next_event(),
                "user_seq": numbers[profile.id],
                "joined_at": now,
                "left_at": None,
                "read_seq": conversation.last_seq,
                "delivered_seq": conversation.last_seq,
                "read_countable": conversation.countable,
                "archived_countable": None,
                "archived_seq": None,
                "marked_unread": False,
                "last_activity_at": None,
            }
        )
        await member.save(force_update=renewed, force_create=not renewed)
    conversation.participants_count += len(joining)


async def _tell_joined(call: Call, conversation: Conversation, ids: list[str]) -> tuple[Event, ...]:
    actor = call.caller.user_id
    joined = await views.members(conversation.id, ids)
    params = {
        "actor_id": actor,
        "user_ids": ids,
        "names": [member["user"]["name"] for member in joined],
    }
    line = await tell(conversation, actor, SystemEvent.JOINED, params)
    await journal.save_counters(conversation)
    unread_max = call.settings.limits.unread_max
    seen = await views.as_members(conversation.id, ids, unread_max=unread_max)
    in_order = sorted(joined, key=lambda member: member["event_seq"])
    personal = [
        events.conversation_added(
            member["user"]["id"],
            seen[member["user"]["id"]]["my"]["user_seq"],
            seen[member["user"]["id"]],
            member["event_seq"],
        )
        for member in in_order
    ]
    room = [events.participant_added(conversation.id, member, actor) for member in in_order]
    return (*personal, *room, line)


@journal.transaction
async def remove(call: Call, request: RemoveParticipant) -> Outcome:
    """Remove a member; naming oneself leaves."""
    standing = await access.locked(call, request.conversation_id)
    leaving = request.user_id == call.caller.user_id
    standing.require(Permission.LEAVE if leaving else Permission.REMOVE)
    conversation = standing.conversation
    member = await _member(conversation, request.user_id)
    if not leaving:
        _require_rank(standing, member)
    heir = await _heir(conversation, member) if member.role == MembershipRole.OWNER else None
    number = (await journal.next_user_numbers([member.user_id]))[member.user_id]
    await _part(conversation, member, number)
    told = await _tell_parted(call, conversation, member, leaving=leaving, heir=heir)
    gone = await views.members(conversation.id, [member.user_id])
    return Outcome({"participants": gone}, told)


async def leave(call: Call, request: LeaveConversation) -> Outcome:
    """Take the caller out of a conversation."""
    own = RemoveParticipant(conversation_id=request.conversation_id, user_id=call.caller.user_id)
    return await remove(call, own)


async def _member(conversation: Conversation, user_id: str) -> Participant:
    member = await Participant.get_or_none(
        conversation_id=conversation.id, user_id=user_id, is_active=True
    )
    if member is None:
        raise NotFoundError
    return member


def _require_rank(standing: access.Standing, member: Participant) -> None:
    """Let only an owner (or the embedding backend) act on an owner."""
    above = standing.rank in (None, MembershipRole.OWNER)
    if member.role == MembershipRole.OWNER and not above:
        raise ForbiddenError


async def _heir(conversation: Conversation, leaving: Participant) -> Participant | None:
    """Return who becomes owner when the last one goes: the oldest admin, else member."""
    others = Participant.filter(conversation_id=conversation.id, is_active=True).exclude(
        user_id=leaving.user_id
    )
    present = await others.order_by("id")
    if any(member.role == MembershipRole.OWNER for member in present):
        return None
    for role in (MembershipRole.ADMIN, MembershipRole.MEMBER, MembershipRole.READ_ONLY):
        for member in present:
            if member.role == role:
                return member
    return None


async def _part(conversation: Conversation, member: Participant, number: int) -> None:
    member.is_active = False
    member.left_at = now_ms()
    member.event_seq = conversation.next_event()
    member.user_seq = number
    await member.save(update_fields=["is_active", "left_at", "event_seq", "user_seq"])
    conversation.participants_count -= 1


async def _tell_parted(
    call: Call,
    conversation: Conversation,
    member: Participant,
    *,
    leaving: bool,
    heir: Participant | None,
) -> tuple[Event, ...]:
    """Collect the removal first: what comes after it no longer reaches the person who went."""
    actor, id_ = call.caller.user_id, conversation.id
    reason = "left" if leaving else "removed"
    shown = (await views.members(id_, [member.user_id]))[0]
    told = [
        events.participant_removed(id_, shown, actor, reason),
        events.conversation_removed(member.user_id, member.user_seq, id_, member.event_seq, reason),
    ]
    if heir is not None:
        told.append(await _set_role(conversation, heir, MembershipRole.OWNER, actor))
    line = SystemEvent.LEFT if leaving else SystemEvent.REMOVED
    params = {"actor_id": actor, "user_ids": [member.user_id], "names": [shown["user"]["name"]]}
    told.append(await tell(conversation, actor, line, params))
    await journal.save_counters(conversation)
    return tuple(told)


async def _set_role(
    conversation: Conversation, member: Participant, role: MembershipRole, actor: str
) -> Event:
    member.role = role.value
    member.event_seq = conversation.next_event()
    await member.save(update_fields=["role", "event_seq"])
    shown = (await views.members(conversation.id, [member.user_id]))[0]
    return events.participant_updated(conversation.id, shown, actor)


@journal.transaction
async def update(call: Call, request: UpdateParticipant) -> Outcome:
    """Give a member another role; only an owner makes or unmakes owners."""
    standing = await access.locked(call, request.conversation_id)
    standing.require(Permission.SET_ROLE)
    conversation = standing.conversation
    member = await _member(conversation, request.user_id)
    _require_rank(standing, member)
    by_owner = standing.rank in (None, MembershipRole.OWNER)
    if request.role is MembershipRole.OWNER and not by_owner:
        raise ForbiddenError
    told: tuple[Event, ...] = ()
    if member.role != request.role:
        await _require_owner_left(conversation, member)
        told = (await _set_role(conversation, member, request.role, call.caller.user_id),)
        await journal.save_counters(conversation)
    changed = await views.members(conversation.id, [member.user_id])
    return Outcome({"participants": changed}, told)


async def _require_owner_left(conversation: Conversation, member: Participant) -> None:
    """Raise when the last owner would stop being one without naming another first."""
    if member.role != MembershipRole.OWNER:
        return
    another = Participant.filter(
        conversation_id=conversation.id, role=MembershipRole.OWNER.value, is_active=True
    ).exclude(user_id=member.user_id)
    if not await another.exists():
        message = "The conversation needs an owner: name another one first."
        raise ForbiddenError(message)


@journal.snapshot
async def list_(call: Call, request: ListParticipants) -> Outcome:
    """Return a page of present members, in the order in which they first joined."""
    standing = await access.seen(call, request.conversation_id)
    rows = await views.page_of_members(
        standing.conversation.id, after=request.cursor or "", limit=request.limit + 1
    )
    page = rows[: request.limit]
    more = len(rows) > request.limit
    return Outcome(
        {
            "results": [member for _, member in page],
            "next_cursor": page[-1][0] if more else None,
        }
    )
