"""How seats of people who are connected move: with the membership event, and at its number.

The removed person hears the removal as the last frame, the added one hears from there on.
"""

from collections.abc import Sequence
from typing import Any

from server.events import Event
from server.realtime import frames
from server.realtime.hub import Hub
from server.realtime.lines import Line


class Seats:
    """Moves a person's devices as of a number of a conversation."""

    def __init__(self, hub: Hub) -> None:
        """Move seats in a hub."""
        self._hub = hub

    def before(self, line: Line, event: Event) -> None:
        """Seat whoever an event lets in: they are to hear it."""
        if line.going:
            self._dismiss_before(line, event.number or 0)
        if line.coming:
            line.expect_after(event.number or 0)
        seating = event.seating
        if seating is not None and seating.is_active:
            self.admit(line, seating.user_id, event.number or 0)

    def after(self, line: Line, event: Event) -> None:
        """Take out whoever an event lets go: they have heard it."""
        seating = event.seating
        if seating is not None and not seating.is_active:
            self.dismiss(line, seating.user_id, event.number or 0)

    def admit(self, line: Line, user_id: str, number: int) -> None:
        """Seat a person's devices, as of a number of the conversation."""
        for device in self._hub.devices_of(user_id):
            line.moved[user_id] = number
            device.admitted(line.target)
            self._hub.seat(device, line.target)

    def dismiss(self, line: Line, user_id: str, number: int) -> None:
        """Take a person's devices out, as of a number of the conversation."""
        for device in self._hub.devices_of(user_id):
            line.moved[user_id] = number
            self._hub.unseat(device, line.target)
            device.dismissed(line.target)

    def suspend(self, line: Line, missed: Sequence[Event]) -> None:
        """Take out whoever is in, and let in by an event that was missed: they may have been out.

        What was said meanwhile is not for them. If their role was changed only, it is for them, and
        they find the hole when they hear that.
        """
        for event in missed:
            if event.seating is not None and event.seating.is_active:
                for device in self._hub.devices_of(event.seating.user_id):
                    self._hub.unseat(device, line.target)

    def _dismiss_before(self, line: Line, number: int) -> None:
        """Take out those who were to go at a number that has been passed."""
        for user_id in [id_ for id_, at in line.going.items() if at < number]:
            self.dismiss(line, user_id, line.going.pop(user_id))

    # What a person's own events say

    def came_in(self, line: Line, user_id: str, conversation: dict[str, Any], at: int) -> None:
        """Seat a person whose coming in was left out by a line that began at a later head.

        They ask for what was said between the head they were told and this moment. A line that is
        still behind will come to it, and is kept for that though nobody may hear it yet.
        """
        if (line.position or 0) < at:
            line.coming[user_id] = at
            line.known = max(line.known, at)
            return
        if at <= line.moved.get(user_id, 0):
            return
        self.admit(line, user_id, at)
        if conversation["head"] < (line.position or 0):
            body = {"conversation_ids": [line.target], "within_ms": 0}
            self._hub.to_person(user_id, frames.event("session:resync", body), None)

    def went_out(self, line: Line, user_id: str, at: int) -> None:
        """Take a person out whose going was left out by a line that began at a later head.

        A line that is still behind remembers it: a repair may find them back in already, and what
        was said while they were out is not for them.
        """
        if at <= line.moved.get(user_id, 0):
            return
        if (line.position or 0) >= at:
            self.dismiss(line, user_id, at)
        else:
            line.going[user_id] = at
