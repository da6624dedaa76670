"""Traps on a network: something happens at the moment when certain bytes pass, once."""

import asyncio
from collections.abc import Callable

from tests.proxy import Fate, Proxy, Watcher, Way

STORED = b"Z\x00\x00\x00\x05I"
"""How PostgreSQL says that it is idle again: what was asked is committed."""

TRIES = 3
"""How often a trap is set in which nobody was caught."""

_TRAP_S = 8.0
_LOOK_AGAIN_S = 0.05


class Trap:
    """Watches a network until something passes, and then decides what becomes of it, once."""

    def __init__(
        self, way: Way, first: bytes, then: bytes, fate: Fate, springs: Callable[[], object]
    ) -> None:
        """Wait for `first` that way and, if given, for `then` as the answer to it."""
        self._way, self._first, self._then = way, first, then
        self._fate = fate
        self._springs = springs
        self._asked: set[object] = set()
        self.has_sprung = asyncio.Event()

    def __call__(self, wire: object, way: Way, part: bytes) -> Fate:
        """Look at a part."""
        if self.has_sprung.is_set():
            return Fate.PASSES
        if way is self._way and self._first in part:
            if not self._then:
                return self._spring()
            self._asked.add(wire)
        elif self._then and wire in self._asked and part.endswith(self._then):
            return self._spring()
        return Fate.PASSES

    def _spring(self) -> Fate:
        self.has_sprung.set()
        self._springs()
        return self._fate


async def sprung(link: Proxy, trap: Trap) -> bool:
    """Set a trap where no other one is, and return whether anything walked into it in time."""
    while link.watcher is not None:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(_LOOK_AGAIN_S)
    watcher: Watcher = trap
    link.watcher = watcher
    try:
        await asyncio.wait_for(trap.has_sprung.wait(), _TRAP_S)
    except TimeoutError:
        return False
    finally:
        link.watcher = None
    return True
