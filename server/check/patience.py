"""How long the check waits: for one step, for what should arrive at once, for everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.check.problem import Problem

_STEPS_IN_ALL = 6
_HANGS = "it hangs, or something in between holds it back"


class Patience:
    """The time that a step has; begins anew with each one, while the whole goes on."""

    def __init__(
        self, step_s: float, *, live_s: float | None = None, whole_s: float | None = None
    ) -> None:
        """Allow so many seconds for a step, for what has to arrive at once, and for everything."""
        self.step_s = step_s
        self.live_s = step_s / 2 if live_s is None else live_s
        self.whole_s = step_s * _STEPS_IN_ALL if whole_s is None else whole_s
        self._ends = asyncio.get_running_loop().time() + self.whole_s
        self._until = self._ends

    @property
    def is_over(self) -> bool:
        """Return whether the whole has used up its time."""
        return asyncio.get_running_loop().time() >= self._ends

    def begin(self) -> None:
        """Begin a step."""
        self._until = min(asyncio.get_running_loop().time() + self.step_s, self._ends)

    def begin_cleaning(self) -> None:
        """Begin what has to be tried, however late it is."""
        self._until = asyncio.get_running_loop().time() + self.step_s

    @asynccontextmanager
    async def awaits(self, expected: str) -> AsyncIterator[None]:
        """Turn the end of the step's time into the problem that this did not come."""
        async with self._within(expected, self._until, _HANGS):
            yield

    @asynccontextmanager
    async def awaits_live(self, expected: str, hint: str) -> AsyncIterator[None]:
        """Do the same for what has to arrive without being asked."""
        soon = asyncio.get_running_loop().time() + self.live_s
        async with self._within(expected, min(soon, self._until), hint):
            yield

    @asynccontextmanager
    async def _within(self, expected: str, until: float, hint: str) -> AsyncIterator[None]:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(until):
                yield
        except TimeoutError:
            waited = max(0.0, until - began)
            raise Problem(expected, f"nothing came within {waited:.1f} s", hint) from None
