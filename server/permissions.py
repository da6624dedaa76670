"""Who asks, and what their role in a conversation lets them do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from server.config import Settings
from server.schemas.values import (
    KEY_HOLDER,
    ConversationType,
    MembershipRole,
    OwnStatus,
    UserRole,
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever has a valid token or server key; `session_id` is empty on REST."""

    user_id: str
    role: UserRole | None
    session_id: str = ""

    @property
    def is_service(self) -> bool:
        """Return whether the embedding backend asks."""
        return self.role is UserRole.SERVICE

    @property
    def is_key(self) -> bool:
        """Return whether it asks by a server key and not by a token."""
        return self.user_id.startswith(KEY_HOLDER)


class Connection(Protocol):
    """What a request may ask of the connection that it came by."""

    async def seat(self, conversation_ids: Sequence[str]) -> None:
        """Keep what is said in these conversations.

        Nothing of it is heard until `settle()` says where the caller is a member.
        """

    def settle(self, heads: Mapping[str, int]) -> list[str]:
        """Hear the conversations that were read, each from after its head on, and no others.

        Returns those that are no longer heard instead.
        """

    @property
    def is_adrift(self) -> bool:
        """Return whether a new epoch took its seats, and it did not ask for others yet."""

    async def renew(self, token: str) -> int:
        """Let the connection live until this token expires and return when, in milliseconds."""

    async def follow(self, user_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Hear how these people are from now on; return how they are now.

        Raises `ValidationFailedError` when they are too many.
        """

    def unfollow(self, user_ids: Sequence[str]) -> None:
        """Hear no more of these people."""

    def appear(self, status: OwnStatus) -> None:
        """Learn what the person has said of themselves, which is stored already."""


class Call(NamedTuple):
    """One request: who asks, under which settings, and by which connection (REST: none)."""

    caller: Caller
    settings: Settings
    connection: Connection | None = None


class Asker(StrEnum):
    """Who may ask for something in a group, in the words of the descriptions.

    What refuses everybody else is the action itself; a person of role `admin` asks as an owner.
    """

    ANYBODY = "anybody"
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    READ_ONLY = "read_only"
    AUTHOR = "author"
    SERVICE = "service"


ANYBODY = (Asker.ANYBODY,)
WRITERS = (Asker.OWNER, Asker.ADMIN, Asker.MEMBER)
READERS = (*WRITERS, Asker.READ_ONLY)
KEEPERS = (Asker.OWNER, Asker.ADMIN, Asker.SERVICE)


class Permission(Enum):
    """What can be done in a conversation beyond reading it."""

    WRITE = auto()
    UPDATE = auto()
    ADD = auto()
    REMOVE = auto()
    LEAVE = auto()
    SET_ROLE = auto()
    DELETE_ANY = auto()
    NO_WINDOW = auto()


_MEMBER = frozenset({Permission.WRITE, Permission.LEAVE})
_ADMIN = frozenset(Permission)
_GRANTS: dict[MembershipRole, frozenset[Permission]] = {
    MembershipRole.OWNER: _ADMIN,
    MembershipRole.ADMIN: _ADMIN,
    MembershipRole.MEMBER: _MEMBER,
    MembershipRole.READ_ONLY: frozenset({Permission.LEAVE}),
}
_SERVICE = frozenset({Permission.UPDATE, Permission.ADD, Permission.REMOVE, Permission.SET_ROLE})
_NEVER_IN_DIRECT = frozenset(
    {
        Permission.UPDATE,
        Permission.ADD,
        Permission.REMOVE,
        Permission.LEAVE,
        Permission.SET_ROLE,
        Permission.DELETE_ANY,
    }
)


def may(
    caller: Caller,
    membership: MembershipRole | None,
    conversation: ConversationType,
    permission: Permission,
) -> bool:
    """Return whether a member (or the embedding backend, who is none) may do this here."""
    if membership is None:
        allowed = caller.is_service and permission in _SERVICE
        closing = permission is Permission.UPDATE and conversation is ConversationType.DIRECT
        return allowed and (closing or conversation is not ConversationType.DIRECT)
    if conversation is ConversationType.DIRECT and permission in _NEVER_IN_DIRECT:
        return False
    return permission in _GRANTS[effective(caller, membership)]


@lru_cache
def standings(role: UserRole | None, permission: Permission) -> str:
    """Return where a member of this role may do this, for the database to look it up.

    Words like ` group:member ` between blanks: the type of a conversation and a membership in it.
    """
    caller = Caller("", role)
    pairs = [
        f"{kind}:{membership}"
        for kind in ConversationType
        for membership in MembershipRole
        if may(caller, membership, kind, permission)
    ]
    return f" {' '.join(pairs)} "


def effective(caller: Caller, membership: MembershipRole) -> MembershipRole:
    """Return the role that counts: a person of role `admin` acts as owner where they are in."""
    return MembershipRole.OWNER if caller.role is UserRole.ADMIN else membership


def role_on_joining(conversation: ConversationType, role: UserRole | None) -> MembershipRole:
    """Return the role in which a person who does not own the conversation joins it."""
    if conversation is ConversationType.CLIENT_AGENT and role in (UserRole.AGENT, UserRole.ADMIN):
        return MembershipRole.ADMIN
    return MembershipRole.MEMBER


def role_of_creator(conversation: ConversationType, role: UserRole | None) -> MembershipRole:
    """Return the role of the person who makes the conversation."""
    if conversation in (ConversationType.GROUP, ConversationType.AGENT_AGENT):
        return MembershipRole.OWNER
    return role_on_joining(conversation, role)
