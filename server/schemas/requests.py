"""Every request a client may send, on either door."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.schemas.values import (
    AttachmentIds,
    ClientMsgId,
    Content,
    ContentOrFiles,
    ConversationMetadata,
    ConversationType,
    Cursor,
    DeleteScope,
    ExternalKey,
    Followed,
    Id,
    MembershipRole,
    MessageMetadata,
    MessageType,
    Name,
    OwnStatus,
    Page,
    Positive,
    Query,
    Seq,
    TimeMs,
    Title,
    Token,
    TypingKind,
    Url,
    UserRole,
)


class RequestModel(BaseModel):
    """The base of all requests: strict types, unknown fields refused, never changed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def given(self, *names: str) -> dict[str, object]:
        """Return those of the named fields that the client sent."""
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


RequestT = TypeVar("RequestT", bound=RequestModel)

# Words of a closed list arrive as plain strings, which strict mode would refuse.
_Word = Field(strict=False)


class AuthRefresh(RequestModel):
    """A fresh token for the person who is connected."""

    token: Token


class Sync(RequestModel):
    """Everything that changed after the caller's cursors, in its present form."""

    cursors: Annotated[dict[Id, Seq | None], Field(max_length=500)] = Field(
        default_factory=dict,
        description="The event_seq up to which the caller has everything; null: no cursor yet.",
    )
    user_seq: Seq | None = Field(
        default=None, description="The same for the caller's personal list; 0 on a new device."
    )
    epoch: Annotated[str, Field(max_length=64)] | None = None
    limit: Positive | None = Field(
        default=None, description="Messages per conversation; only lowers the server's own bound."
    )


class InitialMessage(RequestModel):
    """The first message of a conversation, sent with its creation."""

    content: Content
    client_msg_id: ClientMsgId | None = None
    metadata: MessageMetadata = Field(default_factory=dict)


class CreateConversation(RequestModel):
    """A new conversation, or the one that already stands for these people or this key."""

    type: Annotated[ConversationType, _Word]
    participant_ids: Annotated[list[Id], Field(min_length=1)]
    title: Title | None = None
    avatar_url: Url | None = None
    client: ExternalKey | None = None
    property: ExternalKey | None = None
    external_id: ExternalKey | None = None
    metadata: ConversationMetadata = Field(default_factory=dict)
    initial_message: InitialMessage | None = None


class GetConversation(RequestModel):
    """One conversation, as the caller sees it."""

    conversation_id: Id


class ListConversations(RequestModel):
    """The caller's conversations, newest activity first, pinned on top."""

    cursor: Cursor | None = None
    limit: Page = 25
    archived: bool = False
    type: Annotated[ConversationType, _Word] | None = None
    client: ExternalKey | None = None
    property: ExternalKey | None = None
    unread: bool | None = None
    q: Query | None = None


class UpdateConversation(RequestModel):
    """New values for what all members see of a conversation."""

    conversation_id: Id
    title: Title | None = None
    avatar_url: Url | None = None
    client: ExternalKey | None = None
    property: ExternalKey | None = None
    metadata: ConversationMetadata = Field(default_factory=dict)
    is_active: bool = True

    @model_validator(mode="after")
    def _something(self) -> "UpdateConversation":
        return _needs_one(self)


class UpdateMy(RequestModel):
    """New values for what only the caller sees of a conversation."""

    conversation_id: Id
    is_archived: bool = False
    is_pinned: bool = False
    muted_until: TimeMs = None
    marked_unread: bool = False

    @model_validator(mode="after")
    def _something(self) -> "UpdateMy":
        return _needs_one(self)


class Archive(RequestModel):
    """Put a conversation away, or back, for the caller only."""

    conversation_id: Id
    archived: bool = True


class ListParticipants(RequestModel):
    """The people of a conversation, in the order in which they joined."""

    conversation_id: Id
    cursor: Cursor | None = None
    limit: Page = 100


class AddParticipants(RequestModel):
    """People to add to a conversation."""

    conversation_id: Id
    user_ids: Annotated[list[Id], Field(min_length=1)]


class RemoveParticipant(RequestModel):
    """A person to remove; one's own id leaves the conversation."""

    conversation_id: Id
    user_id: Id


class LeaveConversation(RequestModel):
    """The caller goes."""

    conversation_id: Id


class UpdateParticipant(RequestModel):
    """A new role for a member."""

    conversation_id: Id
    user_id: Id
    role: Annotated[MembershipRole, _Word]


class SendMessage(RequestModel):
    """A message; `client_msg_id` makes asking again safe for ever."""

    conversation_id: Id
    client_msg_id: ClientMsgId
    type: Annotated[MessageType, _Word] | None = Field(
        default=None, description="Without it: text, or image or file, as the attachments are."
    )
    attachment_ids: AttachmentIds = Field(
        default_factory=list, description="Files that the caller uploaded and has not sent yet."
    )
    content: ContentOrFiles = Field(
        default="", validate_default=True, description="Empty only beside attachments."
    )
    metadata: MessageMetadata = Field(default_factory=dict)


class SignFiles(RequestModel):
    """Addresses of files that need no token for a few minutes; others than readable ones miss."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=100)]


class EditMessage(RequestModel):
    """New text for one's own message."""

    message_id: Id
    content: Content
    base_version: Positive | None = None


class DeleteMessage(RequestModel):
    """A message to take away, for everyone or only for the caller."""

    message_id: Id
    scope: Annotated[DeleteScope, _Word] = DeleteScope.EVERYONE


class GetMessage(RequestModel):
    """One message: itself, who read it, or its earlier versions."""

    message_id: Id


class ListMessages(RequestModel):
    """A page of history; without a position, the newest one."""

    conversation_id: Id
    before_seq: Seq | None = None
    after_seq: Seq | None = None
    around_seq: Seq | None = None
    limit: Page | None = None

    @model_validator(mode="after")
    def _one_position(self) -> "ListMessages":
        given = [
            n for n in ("before_seq", "after_seq", "around_seq") if getattr(self, n) is not None
        ]
        if len(given) > 1:
            message = f"{given[1]} cannot stand beside {given[0]}"
            raise ValueError(message)
        return self


class SearchMessages(RequestModel):
    """Messages of all conversations the caller may read, newest first."""

    conversation_id: Id | None = None
    q: Query | None = None
    sender_id: Id | None = None
    type: Annotated[MessageType, _Word] | None = None
    has_attachment: bool | None = None
    since: TimeMs = None
    until: TimeMs = None
    cursor: Cursor | None = None
    limit: Page | None = None


class MarkConversationRead(RequestModel):
    """Read up to a message, or up to the last one."""

    conversation_id: Id
    up_to_seq: Seq | None = None


class MarkMessageRead(RequestModel):
    """Read up to this message."""

    message_id: Id


class ReceiptRead(RequestModel):
    """The caller has seen everything up to here."""

    conversation_id: Id
    up_to_seq: Seq


class DeliveredItem(RequestModel):
    """One conversation's delivered cursor."""

    conversation_id: Id
    up_to_seq: Seq


class ReceiptDelivered(RequestModel):
    """The caller's device has received everything up to here, in several conversations."""

    items: Annotated[list[DeliveredItem], Field(min_length=1, max_length=100)]


class TypingStart(RequestModel):
    """The caller is preparing a message."""

    conversation_id: Id
    kind: Annotated[TypingKind, _Word] = TypingKind.TEXT


class TypingStop(RequestModel):
    """The caller stopped preparing a message."""

    conversation_id: Id
    kind: Annotated[TypingKind, _Word] = TypingKind.TEXT


class PresenceSubscribe(RequestModel):
    """People whose presence the caller's connection wants to hear of."""

    user_ids: Followed


class PresenceUnsubscribe(RequestModel):
    """People whose presence the caller's connection has heard enough of."""

    user_ids: Followed


class PresenceSet(RequestModel):
    """How the caller is."""

    status: Annotated[OwnStatus, _Word]


class GetMe(RequestModel):
    """The caller."""


class ListUsers(RequestModel):
    """People the caller may find."""

    q: Query | None = None
    limit: Page = 25


class PutUser(RequestModel):
    """A profile, written by the embedding backend."""

    user_id: Id
    name: Name | None = None
    avatar_url: Url | None = None
    role: Annotated[UserRole, _Word] | None = None
    metadata: ConversationMetadata = Field(default_factory=dict)


def _needs_one(request: RequestT) -> RequestT:
    if request.model_fields_set <= {"conversation_id"}:
        message = "names nothing to change"
        raise ValueError(message)
    return request
