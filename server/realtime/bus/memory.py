"""The bus of an installation that is one process."""

from collections.abc import Callable, Collection

from server.events import Event, Room
from server.realtime.bus.protocol import Listener, Repairer


class MemoryBus:
    """Hands over what is published at once."""

    def __init__(self) -> None:
        """Begin with nobody listening."""
        self._listeners: list[Listener] = []

    def publish(self, event: Event) -> None:
        """Hand the event over at once."""
        for listener in self._listeners:
            listener(event)

    def listen(self, listener: Listener) -> None:
        """Let somebody hear everything that is published from now on."""
        self._listeners.append(listener)

    def repaired_by(self, repairer: Repairer) -> None:
        """Do nothing: nothing is lost."""

    async def open(self, secret: str) -> None:
        """Do nothing: there is nobody else."""

    async def close(self) -> None:
        """Do nothing."""

    @property
    def is_alone(self) -> bool:
        """Return that it is."""
        return True

    @property
    def is_up(self) -> bool:
        """Return that it is."""
        return True

    def hear_library(self, hear: Callable[[bytes], None]) -> None:
        """Do nothing: there is nobody else."""

    def tell_library(self, body: bytes) -> None:
        """Do nothing: there is nobody else."""

    async def follow(self, room: Room, targets: Collection[str]) -> bool:  # noqa: ARG002 (unused)
        """Do nothing: all that is published arrives."""
        return False

    def leave(self, room: Room, targets: Collection[str]) -> None:
        """Do nothing: what nobody here hears goes nowhere."""
