"""How far the feed is, compared with what is stored: always, and at once after any trouble.

Heads find what nobody announced, and they find that the database is not the one it was. A head
below what is known here is asked for again by a new connection; if it stays below, the database was
replaced by an older copy of itself, and begins a new epoch.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from server import database
from server.actions import repair
from server.actions.repair import Differing
from server.events import Room
from server.logs import get_logger
from server.realtime.epochs import Epochs
from server.realtime.lines import Line, Lines

HEADS_EVERY_S = 1.5
"""How often heads are compared; with the comparison itself well under two seconds."""

SLICE = 2_000
"""How many heads are compared by one query."""

_COMPARED_AGAIN_S = 0.5
"""How soon after the database did not answer."""

_DOUBTED_AGAIN_S = 0.1
"""How soon after a comparison, however often there is a doubt."""

log = get_logger(__name__)


class Heads:
    """Compares the lines of a feed with the database."""

    def __init__(self, lines: Lines, epochs: Epochs, advance: Callable[[Line], None]) -> None:
        """Compare lines, and `advance` those of which more is known than was delivered."""
        self._lines = lines
        self._epochs = epochs
        self._advance = advance
        self._doubted = asyncio.Event()
        self.failures = 0
        self._comparing = asyncio.Lock()
        # Whether it is certain already that the database was replaced.
        self._is_replaced = False
        # Epochs that were left: an old copy may bring one of them back.
        self._left = set[str]()

    def doubt(self) -> None:
        """Compare at once: something may have been stored that nobody tells of."""
        self._doubted.set()

    def deny(self) -> None:
        """Begin a new epoch: a number was seen twice, with two meanings."""
        self._is_replaced = True
        self._doubted.set()

    async def watch(self) -> None:
        """Compare for ever, so that a loss nobody noticed is found within two seconds."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._doubted.wait(), HEADS_EVERY_S)
            self._doubted.clear()
            try:
                await self.compare()
                await asyncio.sleep(_DOUBTED_AGAIN_S)
            except Exception as error:  # noqa: BLE001 (a comparison that fails is tried again)
                self.failures += 1
                log.warning("heads cannot be compared", error=str(error))
                await asyncio.sleep(_COMPARED_AGAIN_S)
                self._doubted.set()

    async def compare(self) -> None:
        """Look once at the heads of everything that is heard here."""
        async with self._comparing:
            await self._compare()
            await self._epochs.stand()

    async def notice(self, epoch: str) -> None:
        """Compare if the database is in an epoch that is not known here."""
        if epoch != self._epochs.current:
            async with self._comparing:
                # Many may have come to say the same.
                if epoch != self._epochs.current:
                    await self._compare()
                    await self._epochs.stand()

    async def _compare(self) -> None:
        if await database.follow():
            self._is_replaced = True
        lines = [line for line in self._lines.all() if line.position is not None]
        low: list[Line] = []
        for start in range(0, max(1, len(lines)), SLICE):
            slice_ = lines[start : start + SLICE]
            stood = {line: max(line.position or 0, line.known) for line in slice_}
            found = await _differing(stood)
            if found.epoch != self._epochs.current:
                await self._take(found.epoch)
                return
            for line, head in _heads(slice_, found):
                if _is_low(line, head, stood[line]):
                    low.append(line)
                elif head is not None and line.known < head:
                    line.known = head
                    self._advance(line)
        if self._is_replaced or (low and await self._stay_below(low[:SLICE])):
            await self._begin(await repair.begin_epoch(self._epochs.current))

    async def _stay_below(self, lines: Sequence[Line]) -> bool:
        """Return whether heads are below what is known here, for a new connection too."""
        current = [line for line in lines if self._lines.is_current(line)]
        stood = {line: max(line.position or 0, line.known) for line in current}
        found = await repair.differing_afresh(*_by_room(stood))
        low = {
            line.target: f"{head} instead of {stood[line]}"
            for line, head in _heads(current, found)
            if _is_low(line, head, stood[line])
        }
        if low:
            log.warning(
                "heads are lower than what was told", lines=len(low), some=list(low.items())[:3]
            )
        return bool(low)

    async def _take(self, epoch: str) -> None:
        """Go along with an epoch that somebody else began, if it is one and was never left."""
        is_new = epoch and epoch not in self._left
        await self._begin(epoch if is_new else await repair.begin_epoch(epoch))

    async def _begin(self, epoch: str) -> None:
        log.warning("the database was replaced", before=self._epochs.current, epoch=epoch)
        self._is_replaced = False
        if epoch != self._epochs.current:
            self._left.add(self._epochs.current)
            self._epochs.start_over(epoch)


def _is_low(line: Line, head: int | None, stood: int) -> bool:
    """Return whether a head is below a number that was delivered or told of.

    Clients may name conversations that never were, whose lines stand at 0. People have a row as
    soon as they have a position.
    """
    if head is None:
        return line.room is Room.USER or stood > 0
    return head < stood


async def _differing(stood: Mapping[Line, int]) -> Differing:
    return await repair.differing(*_by_room(stood))


def _by_room(stood: Mapping[Line, int]) -> tuple[dict[str, int], dict[str, int]]:
    conversations = {k.target: at for k, at in stood.items() if k.room is Room.CONVERSATION}
    return conversations, {k.target: at for k, at in stood.items() if k.room is Room.USER}


def _heads(lines: Sequence[Line], found: Differing) -> list[tuple[Line, int | None]]:
    """Return the lines whose heads are other ones, with these."""
    return [
        (line, heads[line.target])
        for line in lines
        if line.target in (heads := _of(line.room, found))
    ]


def _of(room: Room, found: Differing) -> dict[str, int | None]:
    return found.conversations if room is Room.CONVERSATION else found.people
