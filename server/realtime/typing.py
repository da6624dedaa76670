"""Typing on this node: told at most every so often, and taken back when nothing more is heard."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from server import events
from server.config import LimitsSettings
from server.events import Event, Room


@dataclass(slots=True)
class _Typist:
    kind: str
    origin: str
    told_at: float
    timer: asyncio.TimerHandle


class Typists:
    """Who is preparing a message, by conversation and person."""

    def __init__(self, limits: LimitsSettings, publish: Callable[[Event], None]) -> None:
        """Publish through the given function."""
        self._limits = limits
        self._publish = publish
        self._typists: dict[tuple[str, str], _Typist] = {}
        # How many type in a conversation, of those in which somebody does.
        self._talks: Counter[str] = Counter()

    def passes(self, event: Event) -> bool:
        """Return whether an event on its way should be told, and remember who types."""
        if event.name == "typing:started":
            return self._start(event)
        if event.name == "typing:stopped":
            return self._forget((event.target, event.data["user_id"]))
        if event.name == "message:created":
            self._stop((event.target, event.data["message"]["sender"]["id"]))
        return True

    def _start(self, event: Event) -> bool:
        """Count the person as typing; tell it only when it was not told a moment ago."""
        key = (event.target, event.data["user_id"])
        earlier, now = self._typists.get(key), time.monotonic()
        if earlier is not None:
            earlier.timer.cancel()
        fresh = (
            earlier is None
            or earlier.kind != event.data["kind"]
            or (now - earlier.told_at) * 1_000 >= self._limits.typing_interval_ms
        )
        expiry = self._limits.typing_expiry_ms / 1_000
        timer = asyncio.get_running_loop().call_later(expiry, self._stop, key)
        told_at = now if fresh or earlier is None else earlier.told_at
        if earlier is None:
            self._talks[event.target] += 1
        self._typists[key] = _Typist(event.data["kind"], event.origin, told_at, timer)
        return fresh

    def _forget(self, key: tuple[str, str]) -> bool:
        typist = self._typists.pop(key, None)
        if typist is None:
            return False
        typist.timer.cancel()
        self._talks[key[0]] -= 1
        if not self._talks[key[0]]:
            del self._talks[key[0]]
        return True

    def _stop(self, key: tuple[str, str]) -> None:
        """Take it back on behalf of a person who does not."""
        typist = self._typists.get(key)
        if typist is not None and self._forget(key):
            self._publish(events.typing_stopped(*key, typist.kind))

    def notice(self, event: Event) -> None:
        """Learn of a message or removal that came about by another node than the typing."""
        if event.room is not Room.CONVERSATION or event.target not in self._talks:
            return
        if event.name == "message:created":
            self._stop((event.target, event.data["message"]["sender"]["id"]))
        self.removed(event)

    def gone(self, session_id: str) -> None:
        """Take back what a connection that ended was typing."""
        for key in [key for key, one in self._typists.items() if one.origin == session_id]:
            self._stop(key)

    def removed(self, event: Event) -> None:
        """Forget a person who left the conversation; the room knows it from the removal."""
        seating = event.seating
        if seating is not None and not seating.is_active and event.room is Room.CONVERSATION:
            self._forget((event.target, seating.user_id))

    def close(self) -> None:
        """Stop waiting for anything."""
        for typist in self._typists.values():
            typist.timer.cancel()
