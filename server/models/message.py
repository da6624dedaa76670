"""Messages, what they said before, and who does not want to see them."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from tortoise import fields
from tortoise.models import Model

from server.clock import to_text
from server.models.table import ID_CHARS, Table
from server.models.user import person


class Message(Table):
    """One message; deleted, it stays as a tombstone that keeps its numbers."""

    id = fields.CharField(max_length=ID_CHARS, primary_key=True)
    conversation_id = fields.CharField(max_length=ID_CHARS)
    seq = fields.BigIntField()
    event_seq = fields.BigIntField()
    sender_id = fields.CharField(max_length=64)
    client_msg_id = fields.CharField(max_length=64, null=True)
    # What was asked when it was sent, so that a repetition can be told from another message.
    fingerprint = fields.CharField(max_length=64, null=True)
    type = fields.CharField(max_length=16)
    content = fields.TextField()
    metadata = fields.TextField(default="{}")
    system = fields.TextField(null=True)
    version = fields.IntField(default=1)
    # How many messages of the conversation count as unread, up to this one.
    countable = fields.BigIntField()
    edited_at = fields.BigIntField(null=True)
    deleted_at = fields.BigIntField(null=True)
    created_at = fields.BigIntField()

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "messages"
        unique_together = (
            ("conversation_id", "seq"),
            ("conversation_id", "sender_id", "client_msg_id"),
        )


class MessageVersion(Table):
    """What a message said before an edit."""

    id = fields.CharField(max_length=ID_CHARS, primary_key=True)
    message_id = fields.CharField(max_length=ID_CHARS)
    version = fields.IntField()
    content = fields.TextField()
    created_at = fields.BigIntField()

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "message_versions"
        unique_together = (("message_id", "version"),)


class HiddenMessage(Table):
    """A message that one person deleted for themselves."""

    id = fields.CharField(max_length=ID_CHARS, primary_key=True)
    user_id = fields.CharField(max_length=64)
    message_id = fields.CharField(max_length=ID_CHARS)
    conversation_id = fields.CharField(max_length=ID_CHARS)
    user_seq = fields.BigIntField()

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "hidden_messages"
        unique_together = (("user_id", "message_id"),)


def message(
    row: Mapping[str, Any], attachments: Sequence[dict[str, Any]], prefix: str = "sender_"
) -> dict[str, Any]:
    """Return a message with the bytes that everybody in the room gets.

    The row is joined with its sender's profile. Reactions, pins, replies and mentions are part of
    the object and still empty.
    """
    edited_at, deleted_at, system = row["edited_at"], row["deleted_at"], row["system"]
    return {
        "id": row["id"],
        "conversation_id": row["conversation_id"],
        "seq": row["seq"],
        "event_seq": row["event_seq"],
        "client_msg_id": row["client_msg_id"],
        "sender": person(row, prefix),
        "type": row["type"],
        "content": row["content"],
        "attachments": list(attachments),
        "reply_to": None,
        "mentions": [],
        "reactions": [],
        "metadata": orjson.loads(row["metadata"]),
        "system": None if system is None else orjson.loads(system),
        "is_pinned": False,
        "is_edited": edited_at is not None,
        "edited_at": None if edited_at is None else to_text(edited_at),
        "version": row["version"],
        "is_deleted": deleted_at is not None,
        "deleted_at": None if deleted_at is None else to_text(deleted_at),
        "created_at": to_text(row["created_at"]),
    }
