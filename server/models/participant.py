"""Memberships, with everything one person keeps about one conversation. Rows are never deleted."""

from collections.abc import Mapping
from typing import Any

from tortoise import fields
from tortoise.models import Model

from server.clock import to_text
from server.models.table import ID_CHARS, Table
from server.models.user import user


class Participant(Table):
    """One person in one conversation."""

    id = fields.CharField(max_length=ID_CHARS, primary_key=True)
    conversation_id = fields.CharField(max_length=ID_CHARS)
    user_id = fields.CharField(max_length=64)
    role = fields.CharField(max_length=16)
    is_active = fields.BooleanField(default=True)
    event_seq = fields.BigIntField()
    user_seq = fields.BigIntField()
    joined_at = fields.BigIntField()
    left_at = fields.BigIntField(null=True)
    read_seq = fields.BigIntField(default=0)
    delivered_seq = fields.BigIntField(default=0)
    # The conversation's count of countable messages at the read cursor: unread is a subtraction.
    read_countable = fields.BigIntField(default=0)
    # The same count when the person archived; a later message of somebody else makes it void.
    archived_countable = fields.BigIntField(null=True)
    # The last message at that time, for clients, who may hear of both in any order.
    archived_seq = fields.BigIntField(null=True)
    is_pinned = fields.BooleanField(default=False)
    muted_until = fields.BigIntField(null=True)
    marked_unread = fields.BooleanField(default=False)
    # When something was last said, copied behind the send; null: only the conversation knows.
    last_activity_at = fields.BigIntField(null=True)
    # Whether something was said that they have not read, copied likewise; null: it may be.
    is_behind = fields.BooleanField(null=True)

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "participants"
        unique_together = (("conversation_id", "user_id"),)


def participant(row: Mapping[str, Any], prefix: str = "user_") -> dict[str, Any]:
    """Return a membership as members see it, from a row joined with the person's profile."""
    left_at = row["left_at"]
    return {
        "user": user(row, prefix),
        "role": row["role"],
        "event_seq": row["event_seq"],
        "is_active": bool(row["is_active"]),
        "joined_at": to_text(row["joined_at"]),
        "left_at": None if left_at is None else to_text(left_at),
        "read_seq": row["read_seq"],
        "delivered_seq": row["delivered_seq"],
    }


def receipt(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far one person has received and read."""
    return {
        "user_id": row["user_id"],
        "read_seq": row["read_seq"],
        "delivered_seq": row["delivered_seq"],
    }


def is_archived(row: Mapping[str, Any], countable: int, now: int) -> bool:
    """Return whether the archive mark still holds; muted, nothing lifts it."""
    mark = row["archived_countable"]
    if mark is None:
        return False
    muted_until = row["muted_until"]
    return bool(mark >= countable or (muted_until is not None and muted_until > now))


def my(row: Mapping[str, Any], *, countable: int, unread: int, now: int) -> dict[str, Any]:
    """Return what only this person sees of the conversation."""
    muted_until, archived = row["muted_until"], is_archived(row, countable, now)
    return {
        "role": row["role"],
        "joined_at": to_text(row["joined_at"]),
        "read_seq": row["read_seq"],
        "delivered_seq": row["delivered_seq"],
        "unread_count": unread,
        "is_archived": archived,
        "archived_seq": row["archived_seq"] if archived else None,
        "is_pinned": bool(row["is_pinned"]),
        "muted_until": None if muted_until is None else to_text(muted_until),
        "marked_unread": bool(row["marked_unread"]),
        "draft": None,
        "user_seq": row["user_seq"],
    }
