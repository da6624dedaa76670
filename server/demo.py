"""A town to play in: four people, six conversations, two hundred messages."""

from server.config import Settings
from server.dispatch import Dispatcher


async def fill(dispatcher: Dispatcher) -> None:
    """Bring the town, unless it is there already."""


def print_links(settings: Settings, port: int) -> None:
    """Print the links that log its people in."""
