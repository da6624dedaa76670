"""What others have not heard of: the last number of a conversation or person, no content."""

from typing import NamedTuple

from server.events import Room


class Debt(NamedTuple):
    """A change of which others may not have heard; in another epoch it says nothing."""

    epoch: str
    room: Room
    target: str
    number: int


class Debts:
    """A bounded set of debts; what finds no room is found by those who compare heads."""

    def __init__(self, most: int) -> None:
        """Remember at most so many."""
        self._most = most
        self._numbers: dict[tuple[str, Room, str], int] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._numbers)

    def add(self, debt: Debt) -> None:
        """Remember the highest number of a room."""
        key = (debt.epoch, debt.room, debt.target)
        if key in self._numbers or len(self._numbers) < self._most:
            self._numbers[key] = max(debt.number, self._numbers.get(key, 0))

    def take(self) -> list[Debt]:
        """Return all debts, and forget them."""
        numbers, self._numbers = self._numbers, {}
        return [Debt(*key, number) for key, number in numbers.items()]
