"""Every event a client may hear: what it carries, who hears it, and what becomes of it when lost.

The server never validates what it tells at run time: the suite does, with each frame it hears.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, WithJsonSchema

from server.config import LimitsSettings, keys
from server.schemas.answers import ErrorBody, SyncAnswer
from server.schemas.objects import (
    Conversation,
    My,
    ObjectModel,
    Participant,
    Preview,
    RoomConversation,
    RoomMessage,
    Timestamp,
    User,
)
from server.schemas.values import PresenceStatus, TypingKind


class Hearer(StrEnum):
    """Who hears an event."""

    CONVERSATION = "conversation"
    PERSON = "person"
    CONNECTION = "connection"
    FOLLOWER = "follower"


class Kind(StrEnum):
    """What becomes of an event that is lost, or never heard because nobody was there."""

    DURABLE = "durable"
    PERSONAL = "personal"
    HINT = "hint"
    SESSION = "session"


HEARERS = {
    Hearer.CONVERSATION: "everybody in the conversation",
    Hearer.PERSON: "the person's devices",
    Hearer.CONNECTION: "this connection",
    Hearer.FOLLOWER: "connections that subscribed to the person",
}
KINDS = {
    Kind.DURABLE: "Numbered by `event_seq`: `sync` brings what was missed.",
    Kind.PERSONAL: "Numbered by `user_seq`: `sync` brings what was missed.",
    Kind.HINT: "Without a number: what it says is in answers too.",
    Kind.SESSION: "About this connection.",
}


class EventModel(ObjectModel):
    """The base of all payloads: the line under a field says what it means."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class RoomChange(EventModel):
    """A numbered change of a conversation; `sync` brings what was missed."""

    conversation_id: str
    event_seq: int
    """The number of this change in its conversation."""
    prev_event_seq: int
    """The number before it on the wire; above your cursor: something is missing, ask `sync`."""
    actor_id: str
    """Who did it."""


class PersonalChange(EventModel):
    """A numbered change of what one person has; `sync` brings what was missed."""

    user_seq: int
    """The number of this change in the person's own list."""
    prev_user_seq: int
    """The number before it on the wire; above your cursor: something is missing, ask `sync`."""


class MessageCreated(RoomChange):
    """There is a new message."""

    message: RoomMessage


class MessageUpdated(RoomChange):
    """A message was edited."""

    message: RoomMessage


class MessageDeleted(RoomChange):
    """Only a tombstone is left of a message."""

    message: RoomMessage


class ParticipantAdded(RoomChange):
    """Somebody joined."""

    participant: Participant


class ParticipantRemoved(RoomChange):
    """Somebody left or was removed; the last that this person hears of the conversation."""

    participant: Participant
    reason: Literal["left", "removed"]


class ParticipantUpdated(RoomChange):
    """Somebody has another role."""

    participant: Participant


class ConversationUpdated(RoomChange):
    """Title, picture, data or state of the conversation changed."""

    conversation: RoomConversation


class ConversationAdded(PersonalChange):
    """You are in this conversation."""

    conversation: Conversation
    event_seq: int
    """As of which number of the conversation; the higher of this and the removal's holds."""


class ConversationRemoved(PersonalChange):
    """You are no longer in this conversation."""

    conversation_id: str
    event_seq: int
    """As of which number of the conversation; the higher of this and the addition's holds."""
    reason: Literal["left", "removed"]


class MyUpdated(PersonalChange):
    """You archived, pinned, muted or marked a conversation."""

    conversation_id: str
    my: My


class MessagesHidden(PersonalChange):
    """You deleted these messages for yourself."""

    conversation_id: str
    message_ids: list[str]


class UnreadChanged(EventModel):
    """Your counters: unread messages, conversations that have some."""

    total: int
    conversations: int


class ConversationStirred(EventModel):
    """Something was said in a conversation of yours that this connection does not hear."""

    conversation_id: str
    last_seq: int
    event_seq: int
    """The conversation's head."""
    preview: Preview | None
    """Null when the last message was deleted, or hidden by you."""


class ReceiptMoved(EventModel):
    """How far a person has come."""

    conversation_id: str
    user_id: str
    up_to_seq: int
    """Everything up to this `seq`; never back."""
    at: Timestamp


class DeliveredReceipt(ReceiptMoved):
    """A person's devices have everything up to here."""


class ReadReceipt(ReceiptMoved):
    """A person has read everything up to here."""


class TypingStarted(EventModel):
    """Somebody prepares a message."""

    conversation_id: str
    user_id: str
    kind: TypingKind
    expires_in_ms: int
    """When this is over unless it is said again."""


class TypingStopped(EventModel):
    """Somebody does not prepare a message any more: sent, stopped, expired or gone."""

    conversation_id: str
    user_id: str
    kind: TypingKind


class PresenceChanged(EventModel):
    """Somebody to whom this connection subscribed came, went, or is away."""

    user_id: str
    status: PresenceStatus
    last_active_at: Timestamp | None
    """Null while they are active, and when nothing is known."""


class UserUpdated(EventModel):
    """Somebody in one of your conversations, or you, has a new profile."""

    user: User


_NUMBERS_OF_LIMITS: dict[str, Any] = {
    "type": "object",
    "properties": {
        key.name: {"type": "integer", "description": key.meaning, "examples": [key.default]}
        for key in keys(LimitsSettings)
    },
    "required": [key.name for key in keys(LimitsSettings)],
    "additionalProperties": False,
}


class SessionReady(EventModel):
    """You are in: the first event of every connection, and nothing after it is missed."""

    session_id: str
    user: User
    epoch: str
    """One life of the database; another one: drop what you stored."""
    server_time: Timestamp
    token_expires_at: Timestamp
    protocol: int
    features: list[str]
    limits: Annotated[dict[str, int], WithJsonSchema(_NUMBERS_OF_LIMITS)]
    """Every number of `[limits]` as this server is set."""
    joined: dict[str, int]
    """The conversations that this connection hears, with their heads."""
    user_seq: int
    """The head of the person's own list."""
    unread_total: int
    sync: SyncAnswer | None = None
    """What changed after the cursors in `auth`; only with cursors."""


class SessionResync(EventModel):
    """Too much was missed to repeat it: ask `sync` at a random moment within this time."""

    conversation_ids: list[str] | None = None
    """For these conversations; absent: for the person's own list and all conversations."""
    epoch: str | None = None
    """If it is not yours, the database was replaced: drop what you stored, then ask."""
    within_ms: int


class SessionClosed(EventModel):
    """The server ends this connection, and why."""

    code: str
    reconnect: bool
    """Whether to come back at once, with a fresh token if that was the reason."""


class ServerDraining(EventModel):
    """This server stops: come back then, to whoever serves; each client is told another moment."""

    reconnect_in_ms: int


class AuthExpiring(EventModel):
    """The token ends in so many seconds: send `auth:refresh`."""

    in_s: int


class RequestFailed(EventModel):
    """A request that asked for no acknowledgement was refused."""

    event: str
    """The name of the request."""
    error: ErrorBody


@dataclass(frozen=True, slots=True)
class Declared:
    """One event: its name, its payload, and who hears it."""

    name: str
    payload: type[EventModel]
    heard_by: tuple[Hearer, ...]

    @property
    def hearers(self) -> str:
        """Return who hears it, in words."""
        return " and ".join(HEARERS[hearer] for hearer in self.heard_by)

    @property
    def kind(self) -> Kind:
        """Return what becomes of it when it is lost."""
        if issubclass(self.payload, RoomChange):
            return Kind.DURABLE
        if issubclass(self.payload, PersonalChange):
            return Kind.PERSONAL
        return Kind.SESSION if self.heard_by == (Hearer.CONNECTION,) else Kind.HINT


_ROOM, _OWN, _ONE = (Hearer.CONVERSATION,), (Hearer.PERSON,), (Hearer.CONNECTION,)

EVENTS: tuple[Declared, ...] = (
    Declared("session:ready", SessionReady, _ONE),
    Declared("session:resync", SessionResync, (Hearer.CONVERSATION, Hearer.PERSON)),
    Declared("session:closed", SessionClosed, _ONE),
    Declared("auth:expiring", AuthExpiring, _ONE),
    Declared("server:draining", ServerDraining, _ONE),
    Declared("request:failed", RequestFailed, _ONE),
    Declared("message:created", MessageCreated, _ROOM),
    Declared("message:updated", MessageUpdated, _ROOM),
    Declared("message:deleted", MessageDeleted, _ROOM),
    Declared("participant:added", ParticipantAdded, _ROOM),
    Declared("participant:removed", ParticipantRemoved, _ROOM),
    Declared("participant:updated", ParticipantUpdated, _ROOM),
    Declared("conversation:updated", ConversationUpdated, _ROOM),
    Declared("conversation:added", ConversationAdded, _OWN),
    Declared("conversation:removed", ConversationRemoved, _OWN),
    Declared("my:updated", MyUpdated, _OWN),
    Declared("my:message_hidden", MessagesHidden, _OWN),
    Declared("my:unread", UnreadChanged, _OWN),
    Declared("conversation:activity", ConversationStirred, _OWN),
    Declared("receipt:delivered", DeliveredReceipt, _ROOM),
    Declared("receipt:read", ReadReceipt, _ROOM),
    Declared("typing:started", TypingStarted, _ROOM),
    Declared("typing:stopped", TypingStopped, _ROOM),
    Declared("presence:changed", PresenceChanged, (Hearer.FOLLOWER,)),
    Declared("user:updated", UserUpdated, (Hearer.CONVERSATION, Hearer.PERSON)),
)
