"""What is done again and again: removing files that nobody needs any more.

Whatever gives a file up only marks its row. Here its bytes are removed, then its row, so that a
crash in between, a full disk or a database that is gone leave something to find next time.
"""

import asyncio
from contextlib import suppress

from server.actions import attachments
from server.clock import now_ms
from server.config import FilesSettings
from server.errors import ClientError
from server.files.store import Store
from server.journal import database_refusal
from server.logs import get_logger

_AT_A_TIME = 500
"""How many files of each kind one turn looks at; when there are more, the next comes at once."""

_BROKEN_OFF_S = 3_600
"""After so long without a change an upload has broken off; none may take that long."""

_HOUR_MS = 3_600_000
_ID_CHARS = 36

log = get_logger("server.files")


class Sweeper:
    """Removes what was given up at once, and looks for what was left behind from time to time."""

    def __init__(self, settings: FilesSettings, store: Store) -> None:
        """Sweep a store."""
        self._settings = settings
        self._store = store
        self._wanted = asyncio.Event()
        self._after = ""
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self, mark: str) -> None:
        """Begin to sweep; `mark` is what tells our database's folder from another one's."""
        ours = await self._store.claim(mark)
        if not ours:
            log.warning(
                "the folder of files belongs to another database",
                hint="files that no database entry knows are left alone, see files.folder",
            )
        self._task = asyncio.create_task(self._run(looks_for_strangers=ours))

    def wake(self) -> None:
        """Look soon: files were given up."""
        self._wanted.set()

    async def close(self) -> None:
        """Stop after the file at hand."""
        self._stopping = True
        self.wake()
        if self._task is not None:
            await self._task

    async def _run(self, *, looks_for_strangers: bool) -> None:
        while not self._stopping:
            woken = await self._pause()
            try:
                if not woken:
                    await self._look_around()
                await self._remove()
                if not woken and looks_for_strangers:
                    await self._remove_strangers()
            except Exception as error:  # noqa: BLE001 (whatever it is, the next turn comes)
                _complain(error)

    async def _pause(self) -> bool:
        """Wait for the next turn; return whether somebody asked for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.sweep_s):
                await self._wanted.wait()
        woken = self._wanted.is_set()
        self._wanted.clear()
        return woken

    async def _look_around(self) -> None:
        """Give up what nobody gave up, and remove what broke off before it had a row."""
        await self._store.sweep_temporary(_BROKEN_OFF_S)
        now = now_ms()
        count = await attachments.give_up_overdue(
            pending_before=now - _BROKEN_OFF_S * 1_000,
            unsent_before=now - self._settings.unsent_hours * _HOUR_MS,
            most=_AT_A_TIME,
        )
        if count:
            log.info("files were never sent", files=count)

    async def _remove(self) -> None:
        """Remove the bytes of files that were given up, then their rows; what is stuck stays."""
        found = await attachments.given_up(most=_AT_A_TIME)
        removed, stuck = list[str](), list[OSError]()
        for id_, keys in found.items():
            if self._stopping:
                break
            try:
                for key in keys:
                    await self._store.remove(key)
                removed.append(id_)
            except OSError as error:
                stuck.append(error)
        if removed:
            await attachments.forget(removed)
        if stuck:
            log.error("files could not be removed", files=len(stuck), error=str(stuck[0]))
        elif len(found) == _AT_A_TIME:
            self.wake()

    async def _remove_strangers(self) -> None:
        """Remove bytes that no row knows, a part of the folder in each turn.

        The folder is read before the database: the row of bytes that are there was committed
        before them. Young ones stay, so that a database that was restored from yesterday's copy
        can be replaced by a newer one.
        """
        listed = await self._store.keys(after=self._after, most=_AT_A_TIME)
        self._after = listed[-1].key if listed else ""
        before = now_ms() / 1_000 - self._settings.unsent_hours * 3_600
        old = [one.key for one in listed if one.since_s < before]
        known = await attachments.known({key[:_ID_CHARS] for key in old})
        for key in old:
            if key[:_ID_CHARS] not in known and not self._stopping:
                log.warning("a file that no database entry knows is removed", key=key)
                await self._store.remove(key)


def _complain(error: Exception) -> None:
    if isinstance(database_refusal(error), ClientError):
        log.warning("files could not be swept", error=str(error))
    else:
        log.error("files could not be swept", exc_info=error)
