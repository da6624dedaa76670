"""What waits to be sent to one client."""

import asyncio
from typing import Any


class Output(asyncio.Queue[Any]):
    """A queue that knows how many bytes wait in it; what has no bytes counts nothing."""

    unsent = 0

    def _put(self, item: Any) -> None:
        self.unsent += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.unsent -= _size(item)
        return item


def _size(item: Any) -> int:
    data = getattr(item, "data", item)
    return len(data) if isinstance(data, str | bytes) else 0
