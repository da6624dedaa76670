"""What other programs tell people through python-socketio's write-only manager, and nothing more.

Whoever can publish on that channel is believed, so little may be said there: hints of the embedding
application's own, to a conversation or a person. Nothing of it is stored, numbered or repeated.
The manager writes JSON since 5.14; what older ones write is a pickle, which is refused unread,
because reading one runs whatever its writer likes.
"""

from typing import Any

import orjson

from server.config import LimitsSettings
from server.events import Room
from server.realtime import frames
from server.realtime.bus import RedisBus
from server.realtime.engine import our_room
from server.realtime.hub import Hub

PREFIX = "app:"
"""What the names of an application's own events begin with."""

_NAME_CHARS = 64


class Emitter:
    """Tells people of this node what other programs say."""

    def __init__(self, limits: LimitsSettings, bus: RedisBus, hub: Hub) -> None:
        """Hear a bus, and tell the listeners of a hub."""
        self._most = limits.event_bytes
        self._bus = bus
        self._hub = hub
        bus.hear_emitter(self.hear)

    def hear(self, message: bytes) -> None:
        """Tell what a message asks for, or count why not."""
        try:
            room, target, name, body = self._read(message)
        except ValueError as error:
            self._bus.refuse(f"emitter_{error}")
            return
        frame = frames.encoded(name, body, durable=False)
        if room is Room.CONVERSATION:
            self._hub.to_conversation(target, frame, None)
        else:
            self._hub.to_person(target, frame, None)

    def _read(self, message: bytes) -> tuple[Room, str, str, bytes]:
        """Return whom to tell what; ValueError says in a word what is none of that."""
        if len(message) > self._most:
            raise ValueError("size")
        asked = _parsed(message)
        if asked.get("method") != "emit":
            raise ValueError("method")
        if asked.get("namespace") not in (None, "/"):
            raise ValueError("namespace")
        if asked.get("callback") or asked.get("skip_sid") or asked.get("binary"):
            raise ValueError("option")
        room = our_room(asked.get("room"))
        if room is None:
            raise ValueError("room")
        name = asked.get("event")
        if not isinstance(name, str) or not name.startswith(PREFIX) or len(name) > _NAME_CHARS:
            raise ValueError("event")
        return *room, name, _body(asked.get("data"))


def _parsed(message: bytes) -> dict[str, Any]:
    try:
        asked = orjson.loads(message)
    except orjson.JSONDecodeError:
        raise ValueError("json") from None
    if isinstance(asked, dict):
        return asked
    raise ValueError("json")


def _body(data: Any) -> bytes:
    """Return the one argument of an event, of which the manager writes a list, as JSON."""
    if isinstance(data, list) and len(data) != 1:
        raise ValueError("arguments")
    try:
        return orjson.dumps(data[0] if isinstance(data, list) else data)
    except orjson.JSONEncodeError:
        # It reads deeper than it writes.
        raise ValueError("json") from None
