"""The client's rule, and the two ways in which people write it wrong."""

from collections.abc import Callable
from typing import Any

from tests.reference import Reference

Took = Callable[[str, int], None]
"""Is told of each conversation whose cursor has moved, and to where."""


class Rule(Reference):
    """What a device believes, by the rule of the protocol; it says how far it has come."""

    def __init__(self, user_id: str, took: Took) -> None:
        """Begin with nothing."""
        super().__init__(user_id)
        self._took = took
        self._said: dict[str, int] = {}
        self.is_syncing = False

    def ready(self, body: dict[str, Any]) -> None:
        """Take the hello."""
        self._begin_anew(body["epoch"])
        super().ready(body)
        self._say(*self.talks)

    def hear(self, name: str, data: dict[str, Any]) -> None:
        """Take an event."""
        super().hear(name, data)
        if "conversation_id" in data:
            self._say(data["conversation_id"])
        elif name == "conversation:added":
            self._say(data["conversation"]["id"])

    def apply_sync(self, answer: dict[str, Any]) -> None:
        """Take the answer to a `sync`."""
        self._begin_anew(answer["epoch"])
        super().apply_sync(answer)
        self._say(*(entry["id"] for entry in answer["conversations"]))

    def acknowledged(self, conversation_id: str, message: dict[str, Any]) -> None:
        """Take what an acknowledgement shows: the object, and no cursor."""
        self.apply_message(self.talks[conversation_id], message)

    def _begin_anew(self, epoch: str) -> None:
        """Forget the personal number of a database that was replaced."""
        if self.epoch is not None and self.epoch != epoch:
            self.user_cursor, self.user_heard, self._said = 0, 0, {}

    def _say(self, *conversation_ids: str) -> None:
        for id_ in conversation_ids:
            talk = self.talks.get(id_)
            if talk is not None and talk.cursor != self._said.get(id_):
                self._said[id_] = talk.cursor
                self._took(id_, talk.cursor)


class MovesByAcknowledgement(Rule):
    """Believes to have everything up to what it sent itself."""

    def acknowledged(self, conversation_id: str, message: dict[str, Any]) -> None:
        """Move the cursor, which only events and `sync` may."""
        super().acknowledged(conversation_id, message)
        talk = self.talks[conversation_id]
        talk.cursor = max(talk.cursor, message["event_seq"])


class DropsDuringSync(Rule):
    """Throws away what it hears while it waits for the answer to a `sync`."""

    def hear(self, name: str, data: dict[str, Any]) -> None:
        """Take an event, or not."""
        if not self.is_syncing or "prev_event_seq" not in data:
            super().hear(name, data)


RULES: dict[str, type[Rule]] = {
    "cursor-by-acknowledgement": MovesByAcknowledgement,
    "events-dropped-during-sync": DropsDuringSync,
}
