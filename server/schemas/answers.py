"""The `data` of every acknowledgement, which is also what REST answers are made of."""

from typing import Any

from server.schemas.objects import (
    Conversation,
    Message,
    My,
    ObjectModel,
    Participant,
    Presence,
    Receipt,
    RoomConversation,
    User,
    Version,
)
from server.schemas.values import OwnStatus


class Presences(ObjectModel):
    """How people are, in the order in which they were named."""

    presence: list[Presence]


class StatusAnswer(ObjectModel):
    """How the caller is for others from now on, or that they are seen by nobody."""

    status: OwnStatus


class Nothing(ObjectModel):
    """Done; there is nothing to say."""


class TokenAccepted(ObjectModel):
    """Until when the new token holds."""

    token_expires_at: str


class SyncEntry(ObjectModel):
    """One conversation's changes, complete up to `event_seq`."""

    id: str
    event_seq: int
    messages: list[Message]
    participants: list[Participant]
    conversation: RoomConversation | None = None
    receipts: list[Receipt]
    has_more: bool
    reset: bool | None = None


class Membership(ObjectModel):
    """One change of the caller's personal list."""

    conversation: Conversation | None = None
    conversation_id: str | None = None
    is_active: bool
    my: My | None


class SyncAnswer(ObjectModel):
    """Everything that changed after the caller's cursors."""

    epoch: str
    conversations: list[SyncEntry]
    memberships: list[Membership]
    hidden_ids: list[str]
    users: list[User]
    user_seq: int | None
    user_has_more: bool
    unseated: list[str]
    unread_total: int


class ConversationCreated(ObjectModel):
    """The conversation, and whether it is new."""

    conversation: Conversation
    created: bool


class ConversationAnswer(ObjectModel):
    """One conversation."""

    conversation: Conversation


class ConversationPage(ObjectModel):
    """A page of the caller's conversations."""

    results: list[Conversation]
    next_cursor: str | None
    next: str | None = None


class MyAnswer(ObjectModel):
    """What only the caller sees of the conversation."""

    my: My


class ParticipantsAnswer(ObjectModel):
    """The members whom the request changed."""

    participants: list[Participant]


class ParticipantPage(ObjectModel):
    """A page of members."""

    results: list[Participant]
    next_cursor: str | None
    next: str | None = None


class MessageSent(ObjectModel):
    """The message, and whether it had been stored before."""

    message: Message
    duplicate: bool


class MessageAnswer(ObjectModel):
    """The message as it is now."""

    message: Message


class History(ObjectModel):
    """A page of history, oldest first."""

    messages: list[Message]
    has_more_before: bool
    has_more_after: bool
    last_seq: int
    event_seq: int
    receipts: list[Receipt]
    users: list[User]


class HistoryPage(ObjectModel):
    """A page of history by REST, oldest first."""

    results: list[Message]
    has_more_before: bool
    has_more_after: bool
    last_seq: int
    event_seq: int
    receipts: list[Receipt]
    users: list[User]


class SearchPage(ObjectModel):
    """A page of found messages; `truncated`: older messages were not looked at."""

    results: list[Message]
    next_cursor: str | None
    next: str | None = None
    truncated: bool


class ReadBy(ObjectModel):
    """Who has read a message."""

    results: list[User]


class Versions(ObjectModel):
    """Earlier versions of a message, oldest first."""

    results: list[Version]


class DeliveredAnswer(ObjectModel):
    """How many of the items were the caller's to report."""

    accepted: int


class ReadAnswer(ObjectModel):
    """The caller's cursor and counters after reading."""

    read_seq: int
    unread_count: int
    unread_total: int


class MessageReadAnswer(ObjectModel):
    """The caller's cursor in the conversation of that message."""

    conversation_id: str
    read_seq: int
    unread_count: int


class Unread(ObjectModel):
    """Unread messages, and the conversations that have some."""

    total: int
    conversations: int


class SignedFile(ObjectModel):
    """Addresses of one file that need no token; thumbnails by their longer side."""

    url: str
    thumbnails: dict[str, str]


class SignedFiles(ObjectModel):
    """Addresses by file, and until when they are good."""

    urls: dict[str, SignedFile]
    expires_at: str


class UserAnswer(ObjectModel):
    """A profile."""

    user: User


class UserPage(ObjectModel):
    """People who were found."""

    results: list[User]


class ErrorBody(ObjectModel):
    """Why a request was refused."""

    code: str
    message: str
    retryable: bool
    retry_after_ms: int | None = None
    details: list[dict[str, Any]] | None = None


class ErrorAnswer(ObjectModel):
    """The shape of every error."""

    error: ErrorBody
