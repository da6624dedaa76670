"""The lives of the database: what is forgotten when an older copy of it takes its place."""

import asyncio
from collections.abc import Callable

from server import database
from server.actions import repair
from server.realtime import frames
from server.realtime.hub import Hub
from server.realtime.lines import Line, Lines

RESYNC_WITHIN_MS = 2_000
"""How long clients may take to ask `sync`, so that not all of them ask at once."""

ADRIFT_S = 10.0
"""How long a client may hear no conversation because it has not asked; then it is sent away, to
come in again."""

_SLICE = 1_000


class Epochs:
    """Knows the present epoch, and lets everything begin anew in another one."""

    def __init__(self, hub: Hub, lines: Lines, advance: Callable[[Line], None]) -> None:
        """Begin anew in this hub and with these lines; `open()` before anybody comes."""
        self.current = ""
        self._hub = hub
        self._lines = lines
        self._advance = advance
        # People who were here when the epoch began, and whose numbers nobody has read since.
        self._unplaced: set[str] = set()
        self._patience: asyncio.TimerHandle | None = None
        self._forgetful: list[Callable[[], None]] = []

    def listen(self, forget: Callable[[], None]) -> None:
        """Let somebody forget, too, whenever an epoch begins; before the lines do."""
        self._forgetful.append(forget)

    async def open(self) -> None:
        """Learn the epoch."""
        self.current = await database.epoch()

    def start_over(self, epoch: str) -> None:
        """Forget how far anything was.

        All seats are given up, since they are memberships of a time that is gone, and everybody is
        told to ask `sync`, which takes seats by what is stored now.
        """
        for forget in self._forgetful:
            forget()
        self.current = epoch
        self._lines.start_over()
        self._unplaced = set(self._lines.people)
        frame = frames.event("session:resync", {"epoch": epoch, "within_ms": RESYNC_WITHIN_MS})
        for device in self._hub.everybody():
            for conversation_id in self._hub.seats_of(device):
                self._hub.unseat(device, conversation_id)
            device.start_over(frame)
        self.close()
        self._patience = asyncio.get_running_loop().call_later(ADRIFT_S, self._send_adrift_away)

    async def stand(self) -> None:
        """Place the lines of people who were here when the epoch began.

        Whom the database does not know has to come in again, and so becomes known.
        """
        while self._unplaced:
            some = list(self._unplaced)[:_SLICE]
            heads = await repair.user_heads(some)
            self._unplaced.difference_update(some)
            for user_id in some:
                self._place(user_id, heads.get(user_id))

    def _place(self, user_id: str, user_seq: int | None) -> None:
        line = self._lines.people.get(user_id)
        if user_seq is None:
            for device in self._hub.devices_of(user_id):
                device.send_away()
        elif line is not None and line.position is None:
            line.begin(user_seq)
            self._advance(line)

    def _send_adrift_away(self) -> None:
        for device in self._hub.everybody():
            if device.is_adrift:
                device.send_away()

    def close(self) -> None:
        """Wait for nobody any more."""
        if self._patience is not None:
            self._patience.cancel()
