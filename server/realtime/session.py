"""One connection of one person: what it hears, what it asks, and how long it may stay."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Protocol

from server.auth import Tokens
from server.clock import now_ms
from server.config import LimitsSettings
from server.dispatch import Dispatcher
from server.errors import ClientError, UnauthorizedError
from server.logs import get_logger
from server.permissions import Caller
from server.realtime import frames
from server.realtime.feed import Feed
from server.realtime.frames import Frame
from server.realtime.hub import Hub

log = get_logger("server.requests")


class Ending(Enum):
    """Why the server ends a connection."""

    EXPIRED = auto()
    REMOVED = auto()
    LATE = auto()
    OVERFLOWING = auto()
    STOPPING = auto()


class Transport(Protocol):
    """The way to one client; nothing here waits but `room()`."""

    def write(self, frame: Frame, *, durable: bool) -> None:
        """Queue a frame; what is not durable may be left out for a client that is slow."""

    async def room(self) -> None:
        """Wait until less than half of what may be unsent is unsent."""

    def end(self, why: Ending) -> None:
        """Close the connection after what is queued, so that the client can come back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in."""

    name: object
    data: object
    ack_id: int | str | None


@dataclass(frozen=True, slots=True)
class _Kept:
    conversation: str
    number: int | None
    frame: Frame


class Session:
    """Hears for a person and asks for them; begins silent, until `begin()`.

    With `about` it hears that conversation and the person's own room only, and ends when the person
    is no longer in it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (what a connection needs, given once)
        self,
        session_id: str,
        caller: Caller,
        transport: Transport,
        dispatcher: Dispatcher,
        tokens: Tokens,
        hub: Hub,
        feed: Feed,
        *,
        about: str | None = None,
    ) -> None:
        """Make the session of a person whose token was accepted."""
        self.id = session_id
        self.caller = caller
        self.about = about
        self._transport = transport
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._hub = hub
        self._feed = feed
        self._begun = self._is_answering = self._is_dismissed = False
        self._kept: list[_Kept] = []
        self._kept_bytes = 0
        self._admitted: set[str] = set()
        # Numbers this client has read already while the feed of the conversation is still behind.
        self._floors: dict[str, int] = {}
        # Conversations named in a `sync` that has not read them yet, with what they said meanwhile.
        self._pending: dict[str, list[_Kept]] = {}
        self._inbox: asyncio.Queue[Asked] = asyncio.Queue(self._limits.inbox)
        self._worker: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def user_id(self) -> str:
        """Return whose connection this is."""
        return self.caller.user_id

    @property
    def _limits(self) -> LimitsSettings:
        return self._dispatcher.settings.limits

    # Hearing

    def hear(self, frame: Frame, *, conversation: str, number: int | None) -> None:
        """Take a frame of a conversation (or, with an empty name, of the person's own room)."""
        kept = _Kept(conversation, number, frame)
        if not self._begun:
            self._keep(self._kept, kept)
        elif conversation in self._pending:
            self._keep(self._pending[conversation], kept)
        elif not self._has_read(conversation, number):
            self._transport.write(frame, durable=number is not None)

    def _has_read(self, conversation: str, number: int | None) -> bool:
        """Return whether a number is older than what this connection began with.

        It may even be older than the person's membership, which makes it none of their business.
        """
        floor = self._floors.get(conversation) if self._floors else None
        if floor is None or number is None:
            return False
        if number > floor:
            del self._floors[conversation]
        return number <= floor

    def _begin_after(self, conversation: str, number: int) -> None:
        if self._feed.is_behind(conversation, number):
            self._floors[conversation] = number

    def _keep(self, into: list[_Kept], kept: _Kept) -> None:
        self._kept_bytes += kept.frame.size
        if self._kept_bytes > self._limits.output_bytes:
            self._transport.end(Ending.OVERFLOWING)
            return
        into.append(kept)

    def may_hear(self, conversation_id: str) -> bool:
        """Return whether this connection may have a seat in a conversation of its person."""
        return self.about is None or conversation_id == self.about

    def admitted(self, conversation_id: str) -> None:
        """Learn that the person came into a conversation while connecting."""
        if not self._begun:
            self._admitted.add(conversation_id)

    def dismissed(self, conversation_id: str) -> None:
        """End when the person is no longer in the conversation that this connection is about.

        A request that is being answered, perhaps the one to leave, still gets its answer. What
        happens before the hello is judged by the hello.
        """
        if self._begun and conversation_id == self.about:
            self._is_dismissed = True
            if not self._is_answering:
                self._transport.end(Ending.REMOVED)

    def begin(self, ready: dict[str, Any], heads: Mapping[str, int], user_seq: int) -> None:
        """Say hello, then what was said since the hello was read, then listen to requests.

        Seats in conversations that the person was no longer in when the hello was read are given
        up: their removal may have been delivered before this connection took the seat.
        """
        for conversation_id in self._hub.seats_of(self):
            if conversation_id not in heads and conversation_id not in self._admitted:
                self._hub.unseat(self, conversation_id)
                self._feed.release([conversation_id])
        self._transport.write(frames.event("session:ready", ready), durable=True)
        for kept in self._kept:
            if self._is_news(kept, heads, user_seq):
                self._transport.write(kept.frame, durable=kept.number is not None)
        seats = self._hub.seats_of(self)
        for conversation_id in seats:
            self._begin_after(conversation_id, heads.get(conversation_id, 0))
        self._begun, self._kept, self._kept_bytes = True, [], 0
        if self.about is not None and self.about not in seats:
            self._transport.end(Ending.REMOVED)
        self._worker = asyncio.get_running_loop().create_task(self._work())

    def _is_news(self, kept: _Kept, heads: Mapping[str, int], user_seq: int) -> bool:
        if not kept.conversation:
            return kept.number is None or kept.number > user_seq
        known = kept.conversation in heads
        if not known and kept.conversation not in self._admitted:
            return False
        return kept.number is None or kept.number > heads.get(kept.conversation, 0)

    # Seats, as `sync` moves them

    async def seat(self, conversation_ids: Sequence[str]) -> None:
        """Take pending seats in these conversations, as far as this connection may hear them."""
        heard = set(self._hub.seats_of(self))
        named = [id_ for id_ in conversation_ids if self.may_hear(id_)]
        new = [id_ for id_ in named if id_ not in heard]
        for id_ in new:
            self._pending[id_] = []
        for id_ in named:
            self._hub.seat(self, id_)
        await self._feed.host(new)

    def settle(self, heads: Mapping[str, int]) -> list[str]:
        """Hear the conversations that were read, each from after its head on, and no others.

        Returns those that are no longer heard instead, and those that are not heard at all.
        """
        pending, self._pending, self._kept_bytes = self._pending, {}, 0
        for id_, said in pending.items():
            if id_ not in heads:
                self._hub.unseat(self, id_)
                self._feed.release([id_])
                continue
            self._begin_after(id_, heads[id_])
            for kept in said:
                if kept.number is None or kept.number > heads[id_]:
                    self._transport.write(kept.frame, durable=kept.number is not None)
        seats = self._hub.seats_of(self)
        spare = seats[: max(0, len(seats) - self._limits.joined)] if heads else []
        for id_ in spare:
            self._hub.unseat(self, id_)
            self._feed.release([id_])
        return [*spare, *(id_ for id_ in heads if not self.may_hear(id_))]

    # Asking

    async def ask(self, asked: Asked) -> None:
        """Put a request in line; waits while the line is full, which stops reading."""
        await self._inbox.put(asked)

    async def _work(self) -> None:
        """Answer one request after the other, in the order in which they came."""
        while True:
            asked = await self._inbox.get()
            await self._transport.room()
            started = asyncio.get_running_loop().time()
            self._is_answering = True
            code, answer = await self._answer(asked)
            self._is_answering = False
            frame = reply(asked, answer)
            if frame is not None:
                self._transport.write(frame, durable=True)
            if self._is_dismissed:
                self._transport.end(Ending.REMOVED)
            took = (asyncio.get_running_loop().time() - started) * 1_000
            log.info(
                "request",
                user=self.user_id,
                request=_printable(asked.name),
                code=code,
                ms=round(took, 1),
            )

    async def _answer(self, asked: Asked) -> tuple[str, dict[str, Any]]:
        try:
            request = self._dispatcher.find(str(asked.name))
            reply = await self._dispatcher.ask(request, self.caller, asked.data, connection=self)
        except ClientError as error:
            return error.code, refused(error)
        return "ok", {"ok": True, "data": reply}

    # Time

    def expire_at(self, expires_at_ms: int) -> None:
        """Warn before the token ends, and end the connection some grace after it."""
        for timer in self._timers:
            timer.cancel()
        loop = asyncio.get_running_loop()
        left_s = (expires_at_ms - now_ms()) / 1_000
        warn_in = max(0.0, left_s - self._limits.token_warning_s)
        end_in = max(0.0, left_s) + self._limits.token_grace_s
        self._timers = [
            loop.call_later(warn_in, self._warn, expires_at_ms),
            loop.call_later(end_in, self._expire),
        ]

    def _warn(self, expires_at_ms: int) -> None:
        in_s = max(0, (expires_at_ms - now_ms() + 999) // 1_000)
        self._transport.write(frames.event("auth:expiring", {"in_s": in_s}), durable=True)

    def _expire(self) -> None:
        body = {"code": "token_expired", "reconnect": True}
        self._transport.write(frames.event("session:closed", body), durable=True)
        self._transport.end(Ending.EXPIRED)

    async def renew(self, token: str) -> int:
        """Live on with a fresh token of the same person; return until when, in milliseconds."""
        identity = await self._tokens.verify(token)
        if identity.user_id != self.user_id:
            raise UnauthorizedError(reason="the fresh token is somebody else's")
        # A token without a role says nothing of it; `service` must be named by each.
        kept = None if self.caller.is_service else self.caller.role
        self.caller = replace(self.caller, role=identity.role or kept)
        self.expire_at(identity.expires_at_ms)
        return identity.expires_at_ms

    def end(self) -> None:
        """Stop everything; the client is gone."""
        for timer in self._timers:
            timer.cancel()
        if self._worker is not None:
            self._worker.cancel()
        self._dispatcher.forget(self.caller)
        self._feed.release(self._hub.leave(self))
        self._feed.release_person(self.user_id)


def refused(error: ClientError) -> dict[str, Any]:
    """Return the answer that says no."""
    return {"ok": False, "error": error.to_wire()}


def reply(asked: Asked, answer: dict[str, Any]) -> Frame | None:
    """Return the frame of an answer; who gave no id to answer to hears of refusals only."""
    if asked.ack_id is not None:
        return frames.answer(asked.ack_id, answer)
    if answer["ok"]:
        return None
    failed = {"event": _printable(asked.name), "error": answer["error"]}
    return frames.event("request:failed", failed)


def _printable(name: object) -> str:
    """Return the name of an event as it can be logged and sent, whatever the client made up."""
    return str(name)[:64].encode("utf-8", "replace").decode()
