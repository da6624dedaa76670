"""What travels between nodes: a small header, and the event's JSON as it is written to clients.

    1 byte    version
    8 bytes   which node sent it, in this life of its process
    16 bytes  HMAC-SHA256 over everything else, shortened
    the rest  the header as one line of JSON, and the bytes of the event

The header names the channel and the epoch, so that nothing signed for one conversation or one
lifetime of the database is taken for another's, and a running number of the sender, so that nothing
is taken twice. Without the key, which lies in the database that all nodes share, nobody who can
reach Redis can say anything to a person.
"""

import hmac
import secrets
from enum import IntEnum
from typing import NamedTuple

import orjson

from server.clock import now_ms
from server.events import Event, Room, Seating

VERSION = b"1"
_NODE_BYTES = 8
_PURPOSE = b"palabre: between nodes"
_MAC_BYTES = 16
_SIGNED_FROM = 1 + _NODE_BYTES + _MAC_BYTES


class Kind(IntEnum):
    """What an envelope brings."""

    EVENT = 0
    HEAD = 1
    LIBRARY = 2


class RefusedError(Exception):
    """An envelope is none of this node's business; `reason` is a word for counting."""

    def __init__(self, reason: str) -> None:
        """Say why in a word."""
        super().__init__(reason)
        self.reason = reason


class Envelope(NamedTuple):
    """What arrived, as its signed header says."""

    node: bytes
    kind: Kind
    epoch: str
    id: int
    sent_ms: int
    name: str
    number: int | None
    seating: Seating | None
    origin: str
    about: str
    body: bytes

    def event(self, room: Room, target: str) -> Event:
        """Return the event in it."""
        return Event(
            self.name,
            room,
            target,
            self.body,
            self.number,
            self.seating,
            self.origin,
            self.about,
        )


class Seal:
    """Closes what this node sends, and opens what others sent with the same key."""

    def __init__(self, secret: str) -> None:
        """Sign with a key made from a secret of the installation."""
        self._key = hmac.digest(secret.encode(), _PURPOSE, "sha256")
        self.node = secrets.token_bytes(_NODE_BYTES)
        self._sent = 0

    def event(self, channel: str, epoch: str, event: Event) -> bytes:
        """Return the envelope of an event."""
        seating = event.seating
        seat = None if seating is None else [seating.user_id, seating.is_active]
        return self._close(
            Kind.EVENT,
            channel,
            epoch,
            [event.name, event.number, seat, event.origin, event.about],
            event.body,
        )

    def head(self, channel: str, epoch: str, number: int) -> bytes:
        """Return an envelope that only says that there is a change with this number."""
        return self._close(Kind.HEAD, channel, epoch, ["", number, None, "", ""], b"")

    def library(self, channel: str, body: bytes) -> bytes:
        """Return an envelope for python-socketio on the other nodes."""
        return self._close(Kind.LIBRARY, channel, "", ["", None, None, "", ""], body)

    def _close(
        self, kind: Kind, channel: str, epoch: str, what: list[object], body: bytes
    ) -> bytes:
        self._sent += 1
        header = orjson.dumps([kind, channel, epoch, self._sent, now_ms(), *what])
        head = VERSION + self.node
        return b"".join((head, self._mac(head, header, body), header, b"\n", body))

    def is_own(self, data: bytes) -> bool:
        """Return whether this node says to have sent it, which is believed unopened."""
        return data[1 : 1 + _NODE_BYTES] == self.node

    def open(self, channel: str, data: bytes) -> Envelope:
        """Return what an envelope brings; raises `RefusedError`."""
        if data[:1] != VERSION:
            raise RefusedError("version")
        header, _, body = data[_SIGNED_FROM:].partition(b"\n")
        head, mac = data[: 1 + _NODE_BYTES], data[1 + _NODE_BYTES : _SIGNED_FROM]
        if not hmac.compare_digest(mac, self._mac(head, header, body)):
            raise RefusedError("signature")
        # Signed, so it is as we wrote it.
        kind, named, epoch, id_, sent_ms, name, number, seat, origin, about = orjson.loads(header)
        if named != channel:
            raise RefusedError("channel")
        seating = None if seat is None else Seating(seat[0], is_active=seat[1])
        return Envelope(
            head[1:], Kind(kind), epoch, id_, sent_ms, name, number, seating, origin, about, body
        )

    def _mac(self, head: bytes, header: bytes, body: bytes) -> bytes:
        signed = b"".join((head, header, b"\n", body))
        return hmac.digest(self._key, signed, "sha256")[:_MAC_BYTES]
