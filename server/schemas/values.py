"""The closed lists of words and the shapes of text that requests and objects are made of."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

KEY_HEADER = "X-Palabre-Key"
"""Where a server key stands in a request over HTTP."""

KEY_PREFIX = "palabre_key_"
"""How every server key begins, so that those who look for leaked secrets can find one."""

KEY_HOLDER = "key:"
"""How the id begins as which a server key acts; no person's id does."""


class UserRole(StrEnum):
    """What a person is in the product that embeds this server."""

    CLIENT = "client"
    AGENT = "agent"
    ADMIN = "admin"
    SERVICE = "service"


class MembershipRole(StrEnum):
    """What a person may do in one conversation."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    READ_ONLY = "read_only"


class ConversationType(StrEnum):
    """Who talks to whom."""

    DIRECT = "direct"
    GROUP = "group"
    CLIENT_AGENT = "client_agent"
    AGENT_AGENT = "agent_agent"


class MessageType(StrEnum):
    """What a message is; `system` messages come from the server or the embedding backend."""

    TEXT = "text"
    IMAGE = "image"
    FILE = "file"
    SYSTEM = "system"


class AttachmentKind(StrEnum):
    """What a file is: an `image` was decoded, re-encoded and has thumbnails."""

    IMAGE = "image"
    FILE = "file"


class SystemEvent(StrEnum):
    """What a system message tells; the client puts it into words of its own language."""

    CREATED = "conversation_created"
    JOINED = "participant_joined"
    LEFT = "participant_left"
    REMOVED = "participant_removed"
    RENAMED = "conversation_renamed"
    CLOSED = "conversation_closed"
    REOPENED = "conversation_reopened"
    NOTICE = "notice"


class DeleteScope(StrEnum):
    """For whom a message disappears."""

    EVERYONE = "everyone"
    ME = "me"


class TypingKind(StrEnum):
    """What the person is preparing."""

    TEXT = "text"
    VOICE = "voice"
    UPLOAD = "upload"


class OwnStatus(StrEnum):
    """How a person says they are: `active` or `away` on this device, `invisible` on all."""

    ACTIVE = "active"
    AWAY = "away"
    INVISIBLE = "invisible"


class PresenceStatus(StrEnum):
    """How a person is; only they themselves see that they are `invisible`."""

    ACTIVE = "active"
    AWAY = "away"
    OFFLINE = "offline"
    INVISIBLE = "invisible"


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

MAX_INTEGER = 2**53 - 1
"""JavaScript rounds integers above this one."""


def _limit(info: ValidationInfo, name: str, default: int) -> int:
    """Return a number of `[limits]`, which travels as the validation context."""
    context = info.context
    return int(context.get(name, default)) if isinstance(context, Mapping) else default


def _plain(text: str) -> str:
    """Refuse what PostgreSQL cannot store, so that both databases accept the same text."""
    if "\x00" in text:
        message = "must not contain the NUL character"
        raise ValueError(message)
    try:
        # The quickest way to look at each character.
        text.encode()
    except UnicodeEncodeError:
        message = "must not contain half a surrogate pair"
        raise ValueError(message) from None
    return text


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        message = "must not contain control characters"
        raise ValueError(message)
    return _plain(text)


def _content(text: str, info: ValidationInfo) -> str:
    longest = _limit(info, "message_chars", 10_000)
    if len(text) > longest:
        message = f"is longer than {longest} characters"
        raise ValueError(message)
    if not text.strip():
        message = "must not be empty"
        raise ValueError(message)
    return _plain(text)


def _content_or_files(text: str, info: ValidationInfo) -> str:
    """Let a text be empty where files are sent, and nowhere else."""
    # Without the key, what is wrong with the files is being said already.
    if not text and info.data.get("attachment_ids", ("unknown",)):
        return text
    return _content(text, info)


def _each_once(ids: list[str], info: ValidationInfo) -> list[str]:
    most = _limit(info, "attachments_per_message", 10)
    if len(ids) > most:
        message = f"are more than {most}"
        raise ValueError(message)
    if len(set(ids)) < len(ids):
        message = "names one file twice"
        raise ValueError(message)
    return ids


def _people(ids: list[str], info: ValidationInfo) -> list[str]:
    most = _limit(info, "presence_ids", 200)
    if len(ids) > most:
        message = f"are more than {most}"
        raise ValueError(message)
    return ids


def _depth(value: object, left: int = 8) -> None:
    """Refuse what is nested too deeply or what one of the databases or clients cannot hold."""
    if left == 0 and isinstance(value, dict | list):
        message = "is nested deeper than 8 levels"
        raise ValueError(message)
    if isinstance(value, dict):
        for key, child in value.items():
            _plain(key)
            _depth(child, left - 1)
    elif isinstance(value, list):
        for child in value:
            _depth(child, left - 1)
    else:
        _leaf(value)


def _leaf(value: object) -> None:
    if isinstance(value, str):
        _plain(value)
    elif isinstance(value, int | float) and not abs(value) <= MAX_INTEGER:
        message = "holds a number that JavaScript cannot represent"
        raise ValueError(message)


def _metadata(value: dict[str, Any], longest: int) -> dict[str, Any]:
    _depth(value)
    if len(orjson.dumps(value)) > longest:
        message = f"is longer than {longest} bytes of JSON"
        raise ValueError(message)
    return value


def _message_metadata(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    return _metadata(value, _limit(info, "message_metadata_bytes", 4_096))


def _conversation_metadata(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    return _metadata(value, _limit(info, "conversation_metadata_bytes", 16_384))


def _page(value: int, info: ValidationInfo) -> int:
    largest = _limit(info, "page_max", 100)
    if value > largest:
        message = f"is more than {largest}"
        raise ValueError(message)
    return value


def _time_ms(value: object) -> object:
    """Parse an RFC 3339 time with its offset to milliseconds since 1970."""
    if value is None:
        return None
    if not isinstance(value, str):
        message = "must be a time such as 2026-01-02T03:04:05Z"
        raise ValueError(message)  # noqa: TRY004 (pydantic reports ValueError, not TypeError)
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        message = "must be a time such as 2026-01-02T03:04:05Z"
        raise ValueError(message) from error
    if at.tzinfo is None:
        message = "needs an offset, such as Z or +02:00"
        raise ValueError(message)
    return int(at.timestamp() * 1000)


def _http_url(value: str) -> str:
    """Refuse anything a page could be tricked into running."""
    if value and not value.startswith(("https://", "http://", "/")):
        message = "must begin with https://, http:// or /"
        raise ValueError(message)
    return _one_line(value)


Id = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)]
"""An opaque id: of a conversation, a message, or a person of the embedding application."""

ClientMsgId = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)]
ExternalKey = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Title = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
Name = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
Url = Annotated[str, Field(max_length=2_000), AfterValidator(_http_url)]
Content = Annotated[str, AfterValidator(_content)]
ContentOrFiles = Annotated[str, AfterValidator(_content_or_files)]
"""A text that may be empty beside files; the field `attachment_ids` must stand before it."""

AttachmentIds = Annotated[list[Id], AfterValidator(_each_once)]
Followed = Annotated[list[Id], Field(min_length=1), AfterValidator(_people)]
MessageMetadata = Annotated[dict[str, Any], AfterValidator(_message_metadata)]
ConversationMetadata = Annotated[dict[str, Any], AfterValidator(_conversation_metadata)]
Seq = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Positive = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
Page = Annotated[int, Field(ge=1), AfterValidator(_page)]
TimeMs = Annotated[int | None, BeforeValidator(_time_ms, json_schema_input_type=str | None)]
Query = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Token = Annotated[str, Field(min_length=1, max_length=8_192)]
Cursor = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_one_line)]
