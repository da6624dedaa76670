"""Conversations, and the counters from which every number in them is taken."""

from collections.abc import Mapping
from typing import Any

import orjson
from tortoise import fields
from tortoise.models import Model

from server.clock import to_text
from server.models.table import ID_CHARS, Table


class Conversation(Table):
    """A conversation; its row lock orders everything that happens in it."""

    id = fields.CharField(max_length=ID_CHARS, primary_key=True)
    type = fields.CharField(max_length=16)
    title = fields.CharField(max_length=200, null=True)
    search_title = fields.CharField(max_length=400, default="")
    avatar_url = fields.CharField(max_length=2000, null=True)
    client = fields.CharField(max_length=200, null=True)
    property = fields.CharField(max_length=200, null=True)
    external_id = fields.CharField(max_length=200, null=True, unique=True)
    direct_key = fields.CharField(max_length=140, null=True, unique=True)
    metadata = fields.TextField(default="{}")
    is_active = fields.BooleanField(default=True)
    created_by = fields.CharField(max_length=64)
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()
    last_activity_at = fields.BigIntField()
    participants_count = fields.IntField(default=0)
    # The highest numbers given out, for messages and for changes of any kind.
    last_seq = fields.BigIntField(default=0)
    head = fields.BigIntField(default=0)
    # The number of the last change of the conversation's own fields.
    event_seq = fields.BigIntField(default=0)
    purged_seq = fields.BigIntField(default=0)
    # How many messages count as unread for somebody: all but system ones.
    countable = fields.BigIntField(default=0)

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "conversations"

    def next_event(self) -> int:
        """Take the next number of a change; call under the row lock only."""
        self.head += 1
        return int(self.head)


def direct_key(one: str, other: str) -> str:
    """Return what is unique for two people who talk directly."""
    first, second = sorted((one, other))
    return f"{len(first)}:{first}:{second}"


def room_conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a conversation with the bytes that everybody in its room gets."""
    return {
        "id": row["id"],
        "type": row["type"],
        "title": row["title"],
        "avatar_url": row["avatar_url"],
        "client": row["client"],
        "property": row["property"],
        "external_id": row["external_id"],
        "metadata": orjson.loads(row["metadata"]),
        "is_active": bool(row["is_active"]),
        "participants_count": row["participants_count"],
        "last_seq": row["last_seq"],
        "event_seq": row["event_seq"],
        "head": row["head"],
        "purged_seq": row["purged_seq"],
        "created_by": row["created_by"],
        "created_at": to_text(row["created_at"]),
        "updated_at": to_text(row["updated_at"]),
    }
