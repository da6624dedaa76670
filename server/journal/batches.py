"""The sends of all connections of a process, written many at a time.

While one batch commits, the next one fills; nobody waits for a timer. A conversation is in one
batch at a time, so that its sends keep their order, and a sender has one entry of it in there, so
that asking twice is found stored the second time. A conversation that somebody else holds locked
waits, and the others go on.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from server.config import DatabaseSettings
from server.errors import ClientError, DeadlineError, UnavailableError
from server.events import Event, Outcome
from server.histogram import Histogram
from server.journal.entries import (
    AwayError,
    Entry,
    Left,
    Locks,
    Store,
    UnknownOutcomeError,
    Verdict,
    Waiter,
)
from server.journal.failures import ConflictError
from server.journal.postgres import Session
from server.journal.sqlite import File
from server.logs import get_logger

DEADLINE_S = 5.0
"""How long an entry may wait; older ones are never written, nobody waits for them any more."""

_MOST = 256
_MOST_BYTES = 1_048_576
_MANY = 16
_SESSIONS = 2
_PATIENT = 2
_TRIES = 5
_SKIPS = 2
"""So many times a locked conversation is left out before somebody waits for its lock."""

_LOOK_AGAIN_S = 0.05
_CONNECT_AGAIN_S = 0.25
_BREATH = 32
"""After so many answers others get their turn."""

Tell = Callable[[Sequence[Event]], None]
Doubt = Callable[[], object]
Stored = Callable[[str, float], object]

log = get_logger(__name__)


@dataclass(slots=True)
class _Line:
    """The entries of one conversation that are still to be written."""

    waiting: deque[Entry] = field(default_factory=deque)
    skipped: int = 0


class Journal:
    """Appends what it is given and answers each entry; `open()` before, `close()` after."""

    def __init__(
        self, settings: DatabaseSettings, *, tell: Tell, doubt: Doubt, stored: Stored
    ) -> None:
        """Hand committed events to `tell`, in the order of each conversation.

        `doubt` is called when nobody knows whether a batch was stored, `stored` with one of its
        conversations and the time of the commit when one has been told of.
        """
        self._settings = settings
        self._tell = tell
        self._doubt = doubt
        self._stored = stored
        self.sizes = Histogram(unit=1, bounds=9)
        self.times = Histogram(unit=0.000_5, bounds=15)
        self._loop = asyncio.get_running_loop()
        stores, patient = _stores(settings)
        self._stores: Sequence[Store] = stores
        # Those who wait for locks, while they are free.
        self._patient = list(patient)
        self._all = [*stores, *patient]
        # Every conversation that waits or is being written; those that may be taken.
        self._lines: dict[str, _Line] = {}
        self._ready: deque[str] = deque()
        self._undecided = self._bytes = 0
        self._is_away = False
        self._idle: deque[asyncio.Future[None]] = deque()
        self._is_called = False
        self._drained: asyncio.Event = asyncio.Event()
        self._drained.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to write."""
        for store in self._stores:
            # Whoever cannot connect now tries again when there is something to write.
            with suppress(AwayError):
                await store.open()
            self._start(self._work(store))

    async def settle(self) -> None:
        """Wait until everything that was submitted is decided."""
        await self._drained.wait()

    async def close(self) -> None:
        """Stop writing, and give everything back."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in self._lines.values():
            self._refuse_all(line.waiting, UnavailableError())
        self._lines.clear()
        self._ready.clear()
        for store in self._all:
            await store.close()

    @property
    def waiting(self) -> int:
        """Return how many sends are not decided yet."""
        return self._undecided

    @property
    def waiting_bytes(self) -> int:
        """Return their bytes."""
        return self._bytes

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Coming in

    def submit(self, entry: Entry, waiter: Waiter) -> None:
        """Put an entry in line; whoever asked is told what becomes of it.

        From here on it belongs to the process. Raises `UnavailableError` while the database is
        known to be away or too much is waiting.
        """
        if self._is_away:
            raise UnavailableError(retry_after_ms=1_000, reason="the database is away")
        is_full = self._undecided >= self._settings.waiting_sends
        if is_full or self._bytes + entry.size > self._settings.waiting_bytes:
            raise UnavailableError(retry_after_ms=1_000, reason="too many sends are waiting")
        if not self._undecided:
            self._drained.clear()
        self._undecided += 1
        self._bytes += entry.size
        entry.waiter = waiter
        entry.due = self._loop.time() + DEADLINE_S
        line = self._lines.get(entry.conversation_id)
        if line is None:
            line = self._lines[entry.conversation_id] = _Line()
            self._ready.append(entry.conversation_id)
            self._call()
        line.waiting.append(entry)

    def _call(self) -> None:
        """Wake somebody who has nothing to write, unless somebody is waking already."""
        while self._idle and not self._is_called:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._is_called = True

    def doubt(self) -> None:
        """Have what was told compared with what is stored: somebody does not know what is."""
        self._doubt()

    # Being written

    async def _work(self, store: Store) -> None:
        """Write one batch after the other, for ever."""
        while True:
            batch = self._take()
            try:
                if not batch:
                    await self._news()
                elif store.is_open:
                    await self._write(store, batch)
                    if len(batch) >= _MANY:
                        # Let what has come meanwhile be in the next one.
                        await asyncio.sleep(0)
                else:
                    await self._reach(store, batch)
            except Exception:
                # What is refused here was an oversight; the work must go on.
                log.exception("a batch could not be handled")
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _news(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(waiter)
        await waiter

    def _take(self) -> list[Entry]:
        """Take the next batch; its conversations are in no other one until it is written."""
        self._is_called = False
        batch: list[Entry] = []
        room = _MOST_BYTES
        while self._ready and len(batch) < _MOST and room > 0:
            conversation_id = self._ready.popleft()
            taken = self._take_of(self._lines[conversation_id], _MOST - len(batch), room)
            room -= sum(entry.size for entry in taken)
            batch += taken
            if not taken:
                del self._lines[conversation_id]
        if self._ready:
            self._call()
        return batch

    def _take_of(self, line: _Line, most: int, room: int) -> list[Entry]:
        """Take what may be written together of one conversation; nothing when nothing is left."""
        now = self._loop.time()
        taken: list[Entry] = []
        senders: set[str] = set()
        while line.waiting and len(taken) < most and room > 0:
            entry = line.waiting[0]
            if entry.due < now:
                self._refuse(line.waiting.popleft(), DeadlineError())
                continue
            if entry.sender_id in senders:
                break
            senders.add(entry.sender_id)
            room -= entry.size
            taken.append(line.waiting.popleft())
        return taken

    async def _write(self, store: Store, batch: list[Entry]) -> None:
        held: list[Entry] = batch
        try:
            held = await self._attempt(store, batch, Locks.LEFT_OUT)
        finally:
            skipped = self._put_back(held)
            for conversation_id in dict.fromkeys(entry.conversation_id for entry in batch):
                line = self._lines[conversation_id]
                line.skipped = line.skipped + 1 if conversation_id in skipped else 0
                self._go_on(conversation_id, line)

    def _put_back(self, entries: Sequence[Entry]) -> set[str]:
        """Put entries where they were taken from, and return their conversations."""
        for entry in reversed(entries):
            self._lines[entry.conversation_id].waiting.appendleft(entry)
        return {entry.conversation_id for entry in entries}

    def _go_on(self, conversation_id: str, line: _Line) -> None:
        """Let a conversation go on that is in no batch any more."""
        if not line.waiting:
            del self._lines[conversation_id]
        elif line.skipped < _SKIPS:
            self._ready.append(conversation_id)
            self._call()
        elif self._patient:
            self._start(self._insist(self._patient.pop(), conversation_id, line))
        else:
            line.skipped = 0
            self._loop.call_later(_LOOK_AGAIN_S, self._go_on, conversation_id, line)

    async def _insist(self, store: Store, conversation_id: str, line: _Line) -> None:
        """Wait for the lock of one conversation, while the others go on."""
        held: list[Entry] = []
        try:
            await store.open()
            while batch := self._take_of(line, _MOST, _MOST_BYTES):
                held = batch
                held = await self._attempt(store, batch, Locks.AWAITED)
                if not held:
                    break
                self._put_back(held)
                held = []
        except AwayError:
            await asyncio.sleep(_LOOK_AGAIN_S)
        finally:
            self._put_back(held)
            self._patient.append(store)
            line.skipped = 0
            self._go_on(conversation_id, line)

    # Being decided

    async def _attempt(self, store: Store, batch: list[Entry], locks: Locks) -> list[Entry]:
        """Write a batch and answer its entries; return those that are still to be written."""
        for _ in range(_TRIES):
            began = self._loop.time()
            try:
                verdicts = await store.append(batch, locks)
            except ConflictError:
                continue
            except UnknownOutcomeError as error:
                log.warning("the outcome of a batch is unknown", sends=len(batch), error=str(error))
                self._refuse_all(batch, UnavailableError(retry_after_ms=1_000, reason=str(error)))
                self._doubt()
                return []
            except ClientError as error:
                self._refuse_all(batch, error)
                return []
            except Exception as error:  # noqa: BLE001 (the database's own, about the data)
                return await self._one_by_one(store, batch, locks, error)
            committed = self._loop.time()
            self.sizes.add(len(batch))
            self.times.add(committed - began)
            held = await self._conclude(batch, verdicts)
            self._stored(batch[-1].conversation_id, committed)
            return held
        self._refuse_all(batch, UnavailableError("The database is too busy. Ask again."))
        return []

    async def _one_by_one(
        self, store: Store, batch: list[Entry], locks: Locks, error: Exception
    ) -> list[Entry]:
        """Let the one that cannot be stored fail alone."""
        if len(batch) == 1:
            self._refuse_all(batch, error)
            return []
        held: list[Entry] = []
        for entry in batch:
            held += await self._attempt(store, [entry], locks)
        return held

    async def _conclude(self, batch: list[Entry], verdicts: Sequence[Verdict]) -> list[Entry]:
        """Tell of what was stored and answer; return what was left out."""
        held: list[Entry] = []
        for number, (entry, verdict) in enumerate(zip(batch, verdicts, strict=True), 1):
            if verdict is Left.HELD:
                held.append(entry)
            else:
                self._decide(entry, verdict)
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        return held

    def _decide(self, entry: Entry, verdict: Verdict) -> None:
        outcome: Outcome | None = None
        if not isinstance(verdict, Left):
            try:
                outcome = entry.outcome(entry, verdict)
                self._tell(outcome.events)
            except Exception:
                # The change is stored: its absence on the wire is found by comparing heads, and
                # without an outcome it is answered as one that was asked for before.
                log.exception("events could not be told")
        entry.waiter.decided(outcome)
        self._forget(entry)

    def _refuse_all(self, entries: Sequence[Entry], error: Exception) -> None:
        for entry in entries:
            self._refuse(entry, error)

    def _refuse(self, entry: Entry, error: Exception) -> None:
        entry.waiter.refused(error)
        self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        self._undecided -= 1
        self._bytes -= entry.size
        if not self._undecided:
            self._drained.set()

    # The database is away

    async def _reach(self, store: Store, batch: list[Entry]) -> None:
        """Connect before anything is sent; what waits is refused while nobody can."""
        self._return(batch)
        while True:
            try:
                await store.open()
            except AwayError as error:
                if not any(one.is_open for one in self._stores):
                    self._go_away(error)
            else:
                self._is_away = False
                return
            await asyncio.sleep(_CONNECT_AGAIN_S)

    def _return(self, batch: list[Entry]) -> None:
        for conversation_id in self._put_back(batch):
            self._ready.append(conversation_id)
        self._call()

    def _go_away(self, error: AwayError) -> None:
        """Refuse everything that nobody is writing."""
        if not self._is_away:
            log.warning("the database is away", error=error.reason)
        self._is_away = True
        while self._ready:
            line = self._lines.pop(self._ready.popleft())
            self._refuse_all(line.waiting, error)


def _stores(settings: DatabaseSettings) -> tuple[Sequence[Store], Sequence[Store]]:
    """Return who writes batches, and who waits for locks."""
    if settings.is_sqlite:
        return [File()], []
    own = settings.postgres_session()
    return [Session(own) for _ in range(_SESSIONS)], [Session(own) for _ in range(_PATIENT)]
