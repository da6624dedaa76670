"""How long something may take that many do at once, with one timer for all of them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from server.errors import DeadlineError
from server.realtime.wheel import Wheel

T = TypeVar("T")


class Deadlines:
    """Gives up what takes too long, as `asyncio.timeout` would."""

    def __init__(self, seconds: float) -> None:
        """Let everything take so long."""
        self._running = Wheel().lane(seconds, self._give_up)
        self._late = set[asyncio.Task[Any]]()

    async def within(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what some work of this task returns; raises `DeadlineError` in time."""
        task = asyncio.current_task()
        if task is None:
            return await work
        self._running.add(task)
        try:
            return await work
        except asyncio.CancelledError as error:
            if task in self._late and task.cancelling() == 1:
                raise DeadlineError from error
            raise
        finally:
            self._running.discard(task)
            if task in self._late:
                self._late.remove(task)
                task.uncancel()

    def _give_up(self, task: "asyncio.Task[Any]") -> None:
        self._late.add(task)
        task.cancel()
