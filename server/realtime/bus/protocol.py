"""What a bus does for a node, and what it asks of who repairs its losses."""

from collections.abc import Callable, Collection
from typing import Protocol

from server.events import Event, Room

Listener = Callable[[Event], None]


class Repairer(Protocol):
    """Who compares with the database what a bus may have lost: the feed."""

    @property
    def epoch(self) -> str:
        """Return which life of the database all this is about."""

    def knows(self, epoch: str) -> bool:
        """Return whether what is said in an epoch is to be heard, and doubt if it is not."""

    def doubt(self) -> None:
        """Compare everything at once."""

    def hear_of(self, room: Room, target: str, number: int) -> None:
        """Learn that there is a change with this number, which nobody brings."""


class Bus(Protocol):
    """Brings events to the feeds; may lose some, repeat some, or bring them out of order."""

    def publish(self, event: Event) -> None:
        """Send an event on its way; never raises and never waits."""

    def listen(self, listener: Listener) -> None:
        """Let somebody hear everything that arrives from now on."""

    def repaired_by(self, repairer: Repairer) -> None:
        """Tell somebody whenever something may have been lost; before anything else is done."""

    async def open(self, secret: str) -> None:
        """Connect; `secret` is known to all nodes of the installation and nobody else."""

    async def close(self) -> None:
        """End."""

    @property
    def is_alone(self) -> bool:
        """Return whether there are no other nodes: `follow` has nothing to wait for."""

    @property
    def is_up(self) -> bool:
        """Return whether all other nodes are within reach."""

    def hear_library(self, hear: Callable[[bytes], None]) -> None:
        """Let somebody hear what python-socketio says to itself on other nodes."""

    def tell_library(self, body: bytes) -> None:
        """Let python-socketio on the other nodes hear something."""

    async def follow(self, room: Room, targets: Collection[str]) -> bool:
        """Let arrive what others publish to these rooms, until `leave`.

        Returns when it is certain to arrive, or soon when that takes too long: then everything is
        doubted as soon as it is certain. False: it always was.
        """

    def leave(self, room: Room, targets: Collection[str]) -> None:
        """Let no longer arrive what others publish to these rooms."""
