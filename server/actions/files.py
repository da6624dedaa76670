"""Files as they are fetched: who may read which one, and the addresses that prove it.

A file that was not sent yet is its owner's; one that was sent belongs to those who are in the
conversation of its message now. There is one statement that knows this, and everything that is not
readable, for whatever reason, is refused by the same line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from server import database
from server.clock import now_ms, to_text
from server.errors import NotFoundError
from server.events import Outcome
from server.files.signature import is_signed, signed
from server.models import sql
from server.models.attachment import ADDRESS, THUMBNAIL_ADDRESS
from server.permissions import Call
from server.schemas.requests import SignFiles

SIGNED_S = 300
"""The seconds for which a signed address is good."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signed address says of itself; nothing of it is believed before it is proved."""

    user_id: str
    expires_s: int
    code: str


async def sign(call: Call, request: SignFiles) -> Outcome:
    """Return addresses that need no token, of those of these files that the caller may read."""
    user_id = call.caller.user_id
    rows = await _readable(user_id, request.ids)
    secret = await database.file_key()
    expires_s = now_ms() // 1_000 + SIGNED_S
    urls = {row["id"]: _addresses(row, secret, user_id, expires_s) for row in rows}
    return Outcome({"urls": urls, "expires_at": to_text(expires_s * 1_000)})


def _addresses(row: dict[str, Any], secret: str, user_id: str, expires_s: int) -> dict[str, Any]:
    code = signed(secret, user_id, row["id"], expires_s)
    proof = "?" + urlencode({"user": user_id, "expires": expires_s, "signature": code})
    labels = [one["label"] for one in orjson.loads(row["thumbnails"])]
    return {
        "url": ADDRESS.format(id=row["id"]) + proof,
        "thumbnails": {
            str(label): THUMBNAIL_ADDRESS.format(id=row["id"], label=label) + proof
            for label in labels
        },
    }


async def find(user_id: str, file_id: str) -> Outcome:
    """Return a file that this person may read now; raises `NotFoundError`."""
    rows = await _readable(user_id, [file_id])
    if not rows:
        raise NotFoundError
    return Outcome({"file": rows[0], "user_id": user_id})


async def find_signed(claim: Claim, file_id: str) -> Outcome:
    """Return a file to whoever holds an address that was signed for a person who may read it now.

    Raises `NotFoundError`.
    """
    secret = await database.file_key()
    if not is_signed(secret, claim.user_id, file_id, claim.expires_s, claim.code):
        raise NotFoundError(reason="the signature is not ours")
    if claim.expires_s * 1_000 <= now_ms():
        raise NotFoundError(reason="the signed address has expired")
    return await find(claim.user_id, file_id)


async def _readable(user_id: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return those of these files that a person may read, in one statement with why."""
    return await sql.fetch(
        "SELECT a.* FROM attachments a "
        "LEFT JOIN messages m ON m.id = a.message_id AND m.deleted_at IS NULL "
        "LEFT JOIN participants p ON p.conversation_id = m.conversation_id "
        "AND p.user_id = $2 AND p.is_active "
        f"WHERE a.id IN {sql.each('$1')} AND a.state = 'ready' "
        "AND (p.id IS NOT NULL OR a.message_id IS NULL AND a.owner_id = $2)",
        sql.texts(ids),
        user_id,
    )
