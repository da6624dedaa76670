"""What waits to be sent to one client that polls."""

import asyncio
from typing import Any


class Output(asyncio.Queue[Any]):
    """A queue that knows how many bytes wait in it; what has no bytes counts nothing."""

    unsent = 0
    _room: tuple[int, "asyncio.Future[None]"] | None = None

    async def room(self, below: int) -> None:
        """Wait until less than `below` bytes wait, or `release()`."""
        if self.unsent >= below:
            self._room = (below, asyncio.get_running_loop().create_future())
            await self._room[1]

    def release(self) -> None:
        """Let nobody wait for room any more."""
        if self._room is not None:
            (_, waiter), self._room = self._room, None
            if not waiter.done():
                waiter.set_result(None)

    def _put(self, item: Any) -> None:
        self.unsent += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        size = _size(item)
        self.unsent -= size
        if self._room is not None and self.unsent < self._room[0]:
            self.release()
        return item


def _size(item: Any) -> int:
    data = getattr(item, "data", item)
    return len(data) if isinstance(data, str | bytes) else 0
