"""Every object a client may receive; answers are built as plain data and held against these.

The server never validates its own answers at run time: the suite does, on each one.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from server.schemas.values import (
    AttachmentKind,
    ConversationType,
    MembershipRole,
    MessageType,
    PresenceStatus,
    SystemEvent,
    UserRole,
)

Timestamp = str
"""A time such as `2026-01-02T03:04:05.678Z`."""


class ObjectModel(BaseModel):
    """The base of all objects: closed, so that an undeclared field is a failing test."""

    model_config = ConfigDict(extra="forbid")


class Person(ObjectModel):
    """A person, as shown beside a message."""

    id: str
    name: str
    avatar_url: str | None
    role: UserRole | None


class User(Person):
    """A person's profile."""

    metadata: dict[str, Any]


class System(ObjectModel):
    """What a system message tells, for the client to put into words."""

    event: SystemEvent
    params: dict[str, Any]


class Thumbnail(ObjectModel):
    """An image made smaller; its address needs a token."""

    width: int
    height: int
    url: str


class Attachment(ObjectModel):
    """A file or an image of a message; its address is stable and needs a token."""

    id: str
    kind: AttachmentKind
    name: str
    content_type: str
    size: int
    width: int | None
    height: int | None
    blurhash: str | None
    state: Literal["pending", "ready", "blocked"]
    url: str
    thumbnails: list[Thumbnail]
    sha256: str


class ReplyTo(ObjectModel):
    """The message that this one answers."""

    id: str


class Reaction(ObjectModel):
    """One emoji under a message."""

    emoji: str


class RoomMessage(ObjectModel):
    """A message with the bytes that everybody in the room gets."""

    id: str
    conversation_id: str
    seq: int
    event_seq: int
    client_msg_id: str | None
    sender: Person
    type: MessageType
    content: str
    attachments: list[Attachment]
    reply_to: ReplyTo | None
    mentions: list[str]
    reactions: list[Reaction]
    metadata: dict[str, Any]
    system: System | None
    is_pinned: bool
    is_edited: bool
    edited_at: Timestamp | None
    version: int
    is_deleted: bool
    deleted_at: Timestamp | None
    created_at: Timestamp


class Message(RoomMessage):
    """A message in an answer: with what differs by viewer."""

    is_read: bool | None = None
    status: Literal["sent", "delivered", "read"] | None = None


class My(ObjectModel):
    """What only the caller sees of a conversation."""

    role: MembershipRole
    joined_at: Timestamp
    read_seq: int
    delivered_seq: int
    unread_count: int
    is_archived: bool
    archived_seq: int | None
    is_pinned: bool
    muted_until: Timestamp | None
    marked_unread: bool
    draft: str | None
    user_seq: int


class Participant(ObjectModel):
    """A person's membership; it stays as a row when the person has left."""

    user: User
    role: MembershipRole
    event_seq: int
    is_active: bool
    joined_at: Timestamp
    left_at: Timestamp | None
    read_seq: int
    delivered_seq: int


class RoomConversation(ObjectModel):
    """A conversation with the bytes that everybody in the room gets."""

    id: str
    type: ConversationType
    title: str | None
    avatar_url: str | None
    client: str | None
    property: str | None
    external_id: str | None
    metadata: dict[str, Any]
    is_active: bool
    participants_count: int
    last_seq: int
    event_seq: int
    head: int
    purged_seq: int
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp


class Conversation(RoomConversation):
    """A conversation as the caller sees it; `my` is null for role `service`."""

    participants: list[Participant]
    last_message: Message | None
    my: My | None


class Receipt(ObjectModel):
    """How far one person has received and read a conversation."""

    user_id: str
    read_seq: int
    delivered_seq: int


class Preview(ObjectModel):
    """The last message of a conversation in a line; the excerpt of files alone is empty."""

    seq: int
    sender: Person
    type: MessageType
    excerpt: str
    created_at: Timestamp


class Presence(ObjectModel):
    """How one person is; `last_active_at` is null while active, and when nothing is known."""

    user_id: str
    status: PresenceStatus
    last_active_at: Timestamp | None


class Version(ObjectModel):
    """What a message said before it was edited."""

    version: int
    content: str
    created_at: Timestamp
