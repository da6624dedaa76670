"""Files and images of messages: what is known of them; their bytes are in the store."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import orjson
from tortoise import fields
from tortoise.models import Model

from server.models.table import ID_CHARS, Table

ADDRESS = "/api/messaging/files/{id}/"
THUMBNAIL_ADDRESS = "/api/messaging/files/{id}/thumb/{label}/"


class AttachmentState(StrEnum):
    """How far a file has come; people see the ready ones."""

    PENDING = "pending"
    """Its bytes are being put in place."""
    READY = "ready"
    """It can be sent, or was."""
    DELETED = "deleted"
    """It was given up: its bytes are removed next, then this row."""


class Attachment(Table):
    """One file; without a message it is its owner's alone, and is given up after a while."""

    id = fields.CharField(max_length=ID_CHARS, primary_key=True)
    owner_id = fields.CharField(max_length=64)
    conversation_id = fields.CharField(max_length=ID_CHARS, null=True)
    message_id = fields.CharField(max_length=ID_CHARS, null=True)
    position = fields.IntField(default=0)
    state = fields.CharField(max_length=16)
    kind = fields.CharField(max_length=16)
    name = fields.CharField(max_length=255)
    content_type = fields.CharField(max_length=127)
    size = fields.BigIntField()
    sha256 = fields.CharField(max_length=64)
    width = fields.IntField(null=True)
    height = fields.IntField(null=True)
    blurhash = fields.CharField(max_length=100, null=True)
    # [{label, width, height, size, content_type}], the smallest first.
    thumbnails = fields.TextField(default="[]")
    created_at = fields.BigIntField()

    class Meta(Model.Meta):
        """Where it is stored."""

        table = "attachments"


def keys(attachment_id: str, thumbnails: str) -> list[str]:
    """Return the keys of the store under which a file and its thumbnails lie."""
    small = [f"{attachment_id}-{one['label']}" for one in orjson.loads(thumbnails)]
    return [attachment_id, *small]


def attachment(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attachment as everybody in the room gets it; its addresses need a token."""
    return {
        "id": row["id"],
        "kind": row["kind"],
        "name": row["name"],
        "content_type": row["content_type"],
        "size": row["size"],
        "width": row["width"],
        "height": row["height"],
        "blurhash": row["blurhash"],
        "state": row["state"],
        "url": ADDRESS.format(id=row["id"]),
        "thumbnails": [
            {
                "width": one["width"],
                "height": one["height"],
                "url": THUMBNAIL_ADDRESS.format(id=row["id"], label=one["label"]),
            }
            for one in orjson.loads(row["thumbnails"])
        ],
        "sha256": row["sha256"],
    }
