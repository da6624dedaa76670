"""How events travel between the processes that serve one installation.

In one process that is a function call. Whatever the bus loses, the feed finds in the database.
"""

from collections.abc import Callable
from typing import Protocol

from server.events import Event

Listener = Callable[[Event], None]


class Bus(Protocol):
    """Brings events to the feeds; may lose some, repeat some, or bring them out of order."""

    def publish(self, event: Event) -> None:
        """Send an event on its way; never raises and never waits."""

    def listen(self, listener: Listener) -> None:
        """Let a feed hear everything that arrives from now on."""


class MemoryBus:
    """The bus of an installation that is one process."""

    def __init__(self) -> None:
        """Begin with nobody listening."""
        self._listeners: list[Listener] = []

    def publish(self, event: Event) -> None:
        """Hand the event over at once."""
        for listener in self._listeners:
            listener(event)

    def listen(self, listener: Listener) -> None:
        """Let a feed hear everything that is published from now on."""
        self._listeners.append(listener)
