"""From a committed change to the bus."""

from collections.abc import Sequence

from server.config import LimitsSettings
from server.events import Event
from server.realtime.bus import Bus
from server.realtime.typing import Typists


class Teller:
    """Publishes the events of each change in their order."""

    def __init__(self, limits: LimitsSettings, bus: Bus) -> None:
        """Publish on a bus."""
        self._bus = bus
        self.typists = Typists(limits, bus.publish)

    def tell(self, events: Sequence[Event]) -> None:
        """Bring the events of one committed change on their way."""
        for event in events:
            if self.typists.passes(event):
                self._bus.publish(event)
            self.typists.removed(event)
