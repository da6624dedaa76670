"""Every event the server sends, the room it goes to, and what an action hands back."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

import orjson


class Room(Enum):
    """The kinds of room; clients never name one. That of a person's presence is for nodes only."""

    CONVERSATION = auto()
    USER = auto()
    PRESENCE = auto()


@dataclass(frozen=True, slots=True)
class Seating:
    """A change of membership that an event carries: from this number on, in or out."""

    user_id: str
    is_active: bool


class Event:
    """One fact on its way to a room.

    `number` is the `event_seq` (or, in a person's room, the `user_seq`) of a durable event and None
    for a hint; `origin` is the session of a person who types. The feed adds `prev_event_seq` or
    `prev_user_seq` when it delivers the event. Its JSON is made once; of an event that another
    node sent, the JSON is what there is, and read only by whoever asks for `data`.
    """

    __slots__ = (
        "_about",
        "_body",
        "_data",
        "name",
        "number",
        "origin",
        "room",
        "seating",
        "target",
    )

    def __init__(  # noqa: PLR0913, PLR0917 (what an event is)
        self,
        name: str,
        room: Room,
        target: str,
        data: dict[str, Any] | bytes,
        number: int | None = None,
        seating: Seating | None = None,
        origin: str = "",
        about: str | None = None,
    ) -> None:
        """Take what happened; `data` may be the JSON of an object, and then `about` is said too."""
        self.name = name
        self.room = room
        self.target = target
        self.number = number
        self.seating = seating
        self.origin = origin
        self._about = about
        self._data: dict[str, Any] | None = None
        self._body: bytes | None = None
        if isinstance(data, bytes):
            self._body = data
        else:
            self._data = data

    @property
    def data(self) -> dict[str, Any]:
        """Return what the event says."""
        if self._data is None:
            self._data = orjson.loads(self._body or b"{}")
        return self._data

    @property
    def body(self) -> bytes:
        """Return what the event says, as JSON."""
        if self._body is None:
            self._body = orjson.dumps(self._data)
        return self._body

    @property
    def about(self) -> str:
        """Return the id of the message that the event is about; empty if it is about none."""
        if self._about is None:
            message = self.data.get("message")
            self._about = "" if message is None else str(message["id"])
        return self._about

    def by(self, session_id: str) -> "Event":
        """Return the same event of a person's session."""
        return Event(
            self.name, self.room, self.target, self.data, self.number, self.seating, session_id
        )

    def __repr__(self) -> str:
        """Return what tells this event from others, without what it says."""
        return f"Event({self.name}, {self.room.name}, {self.target}, {self.number})"


class Outcome(NamedTuple):
    """What an action did: the answer to who asked, and what everybody else is to be told.

    Personal events stand before those of a room, so that a person hears of a new conversation
    before its first message. `gives_up_files`: some files are to be removed from the disk.
    """

    reply: dict[str, Any]
    events: Sequence[Event] = ()
    gives_up_files: bool = False


def _durable(  # noqa: PLR0913, PLR0917 (the fields every durable room event has)
    name: str,
    conversation_id: str,
    number: int,
    actor_id: str,
    body: dict[str, Any],
    seating: Seating | None = None,
) -> Event:
    data = {
        "conversation_id": conversation_id,
        "event_seq": number,
        "prev_event_seq": number - 1,
        "actor_id": actor_id,
        **body,
    }
    return Event(name, Room.CONVERSATION, conversation_id, data, number, seating)


def _personal(name: str, user_id: str, number: int, body: dict[str, Any]) -> Event:
    data = {"user_seq": number, "prev_user_seq": number - 1, **body}
    return Event(name, Room.USER, user_id, data, number)


def message_created(message: dict[str, Any], actor_id: str) -> Event:
    """Say that there is a new message."""
    return _message("message:created", message, actor_id)


def message_updated(message: dict[str, Any], actor_id: str) -> Event:
    """Say that a message was edited."""
    return _message("message:updated", message, actor_id)


def message_deleted(message: dict[str, Any], actor_id: str) -> Event:
    """Say that only a tombstone is left of a message."""
    return _message("message:deleted", message, actor_id)


def _message(name: str, message: dict[str, Any], actor_id: str) -> Event:
    return _durable(
        name, message["conversation_id"], message["event_seq"], actor_id, {"message": message}
    )


def participant_added(conversation_id: str, participant: dict[str, Any], actor_id: str) -> Event:
    """Say that a person joined; the feed seats them before it delivers this."""
    seating = Seating(participant["user"]["id"], is_active=True)
    return _durable(
        "participant:added",
        conversation_id,
        participant["event_seq"],
        actor_id,
        {"participant": participant},
        seating,
    )


def participant_removed(
    conversation_id: str, participant: dict[str, Any], actor_id: str, reason: str
) -> Event:
    """Say that a person left or was removed; the feed unseats them after it delivers this."""
    seating = Seating(participant["user"]["id"], is_active=False)
    return _durable(
        "participant:removed",
        conversation_id,
        participant["event_seq"],
        actor_id,
        {"participant": participant, "reason": reason},
        seating,
    )


def participant_updated(conversation_id: str, participant: dict[str, Any], actor_id: str) -> Event:
    """Say that a member has another role."""
    return _durable(
        "participant:updated",
        conversation_id,
        participant["event_seq"],
        actor_id,
        {"participant": participant},
    )


def conversation_updated(conversation: dict[str, Any], actor_id: str) -> Event:
    """Say that a conversation has a new title, picture, state or data."""
    return _durable(
        "conversation:updated",
        conversation["id"],
        conversation["event_seq"],
        actor_id,
        {"conversation": conversation},
    )


def conversation_added(
    user_id: str, number: int, conversation: dict[str, Any], event_seq: int
) -> Event:
    """Tell a person that they are in a conversation, and as of which of its numbers."""
    return _personal(
        "conversation:added",
        user_id,
        number,
        {"conversation": conversation, "event_seq": event_seq},
    )


def conversation_removed(
    user_id: str, number: int, conversation_id: str, event_seq: int, reason: str
) -> Event:
    """Tell a person that they are no longer in a conversation."""
    body = {"conversation_id": conversation_id, "event_seq": event_seq, "reason": reason}
    return _personal("conversation:removed", user_id, number, body)


def my_updated(user_id: str, number: int, conversation_id: str, my: dict[str, Any]) -> Event:
    """Tell a person's devices what they changed for themselves."""
    return _personal("my:updated", user_id, number, {"conversation_id": conversation_id, "my": my})


def my_message_hidden(
    user_id: str, number: int, conversation_id: str, message_ids: list[str]
) -> Event:
    """Tell a person's devices which messages they no longer want to see."""
    body = {"conversation_id": conversation_id, "message_ids": message_ids}
    return _personal("my:message_hidden", user_id, number, body)


def my_unread(user_id: str, total: int, conversations: int) -> Event:
    """Tell a person's devices their counters."""
    body = {"total": total, "conversations": conversations}
    return Event("my:unread", Room.USER, user_id, body)


def receipt(name: str, conversation_id: str, user_id: str, up_to_seq: int, at: str) -> Event:
    """Say how far a person has received (`receipt:delivered`) or read (`receipt:read`)."""
    body = {
        "conversation_id": conversation_id,
        "user_id": user_id,
        "up_to_seq": up_to_seq,
        "at": at,
    }
    return Event(name, Room.CONVERSATION, conversation_id, body)


def typing_started(conversation_id: str, user_id: str, kind: str, expires_in_ms: int) -> Event:
    """Say that a person is preparing a message."""
    body = {
        "conversation_id": conversation_id,
        "user_id": user_id,
        "kind": kind,
        "expires_in_ms": expires_in_ms,
    }
    return Event("typing:started", Room.CONVERSATION, conversation_id, body)


def typing_stopped(conversation_id: str, user_id: str, kind: str) -> Event:
    """Say that a person is not preparing a message any more."""
    body = {"conversation_id": conversation_id, "user_id": user_id, "kind": kind}
    return Event("typing:stopped", Room.CONVERSATION, conversation_id, body)


def user_updated(conversation_id: str, user: dict[str, Any]) -> Event:
    """Tell a room that a member has a new profile."""
    return Event("user:updated", Room.CONVERSATION, conversation_id, {"user": user})


def own_user_updated(user: dict[str, Any]) -> Event:
    """Tell a person's devices that they have a new profile."""
    return Event("user:updated", Room.USER, user["id"], {"user": user})
