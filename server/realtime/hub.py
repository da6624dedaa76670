"""Who hears what on this node: seats in conversations, and a person's devices.

Nothing here waits: a frame is handed to each connection's own queue, which is bounded. Only the
feed moves seats of people who are connected; a connection takes its own first seats and those it
names.
"""

from collections import OrderedDict
from typing import Protocol

from server.realtime.frames import Frame


class Listener(Protocol):
    """A connection, as far as the hub knows it."""

    @property
    def id(self) -> str:
        """Return what tells this connection from others."""

    @property
    def user_id(self) -> str:
        """Return whose connection it is."""

    def hear(self, frame: Frame, *, conversation: str, number: int | None) -> None:
        """Take a frame of a conversation (or, with an empty name, of the person's own room)."""

    def may_hear(self, conversation_id: str) -> bool:
        """Return whether this connection may have a seat in a conversation of its person."""

    def admitted(self, conversation_id: str) -> None:
        """Learn that the person came into a conversation while connected."""

    def dismissed(self, conversation_id: str) -> None:
        """Learn that the person is no longer in a conversation, once all of it was heard."""


class Hub:
    """Rooms of this node: one per conversation, one per person."""

    def __init__(self) -> None:
        """Begin with empty rooms."""
        self._rooms: dict[str, dict[str, Listener]] = {}
        self._people: dict[str, dict[str, Listener]] = {}
        # By connection, the conversations it hears, the least recently named first.
        self._seats: dict[str, OrderedDict[str, None]] = {}

    def enter(self, listener: Listener) -> None:
        """Let a connection hear its person's own room."""
        self._people.setdefault(listener.user_id, {})[listener.id] = listener
        self._seats[listener.id] = OrderedDict()

    def leave(self, listener: Listener) -> list[str]:
        """Take a connection out of everything; return the conversations nobody here hears now."""
        seats = self._seats.pop(listener.id, OrderedDict())
        emptied = [id_ for id_ in seats if self._vacate(listener, id_)]
        devices = self._people.get(listener.user_id, {})
        devices.pop(listener.id, None)
        if not devices:
            self._people.pop(listener.user_id, None)
        return emptied

    def seat(self, listener: Listener, conversation_id: str) -> None:
        """Let a connection hear a conversation; naming it again makes it the most recent."""
        seats = self._seats.get(listener.id)
        if seats is None or not listener.may_hear(conversation_id):
            return
        seats[conversation_id] = None
        seats.move_to_end(conversation_id)
        self._rooms.setdefault(conversation_id, {})[listener.id] = listener

    def unseat(self, listener: Listener, conversation_id: str) -> bool:
        """Stop a connection from hearing a conversation; return whether nobody hears it now."""
        self._seats.get(listener.id, OrderedDict()).pop(conversation_id, None)
        return self._vacate(listener, conversation_id)

    def _vacate(self, listener: Listener, conversation_id: str) -> bool:
        room = self._rooms.get(conversation_id)
        if room is None:
            return False
        room.pop(listener.id, None)
        if not room:
            del self._rooms[conversation_id]
        return not room

    def seats_of(self, listener: Listener) -> list[str]:
        """Return the conversations a connection hears, the least recently named first."""
        return list(self._seats.get(listener.id, ()))

    def devices_of(self, user_id: str) -> list[Listener]:
        """Return a person's connections."""
        return list(self._people.get(user_id, {}).values())

    def listeners_of(self, conversation_id: str) -> list[Listener]:
        """Return the connections that hear a conversation."""
        return list(self._rooms.get(conversation_id, {}).values())

    def is_heard(self, conversation_id: str) -> bool:
        """Return whether anybody here hears a conversation."""
        return conversation_id in self._rooms

    def to_conversation(self, conversation_id: str, frame: Frame, number: int | None) -> None:
        """Hand a frame to everybody who hears a conversation."""
        for listener in self.listeners_of(conversation_id):
            listener.hear(frame, conversation=conversation_id, number=number)

    def to_person(self, user_id: str, frame: Frame, number: int | None) -> None:
        """Hand a frame to all of a person's devices."""
        for listener in self.devices_of(user_id):
            listener.hear(frame, conversation="", number=number)
