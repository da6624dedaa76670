"""One connection of one person: what it hears, what it asks, and how long it may stay."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from server.realtime.hub import Hub

log = get_logger("server.requests")


class Transport(Protocol):
    """The way to one client; nothing here waits but `room()`."""

    def write(self, packet: str, *, durable: bool) -> None:
        """Queue a packet; what is not durable may be left out for a client that is slow."""

    async def room(self) -> None:
        """Wait until less than half of what may be unsent is unsent."""

    def end(self) -> None:
        """Close the connection so that the client comes back by itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in."""

    name: object
    data: object
    ack_id: int | None


@dataclass(frozen=True, slots=True)
class _Kept:
    conversation: str
    number: int | None
    packet: str


class Session:
    """Hears for a person and asks for them; begins silent, until `begin()`."""

    def __init__(  # noqa: PLR0913, PLR0917 (what a connection needs, given once)
        self,
        session_id: str,
        caller: Caller,
        transport: Transport,
        dispatcher: Dispatcher,
        tokens: Tokens,
        hub: Hub,
        feed: Feed,
    ) -> None:
        """Make the session of a person whose token was accepted."""
        self.id = session_id
        self.caller = caller
        self._transport = transport
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._hub = hub
        self._feed = feed
        self._begun = False
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

    def hear(self, packet: str, *, conversation: str, number: int | None) -> None:
        """Take a packet of a conversation (or, with an empty name, of the person's own room)."""
        kept = _Kept(conversation, number, packet)
        if not self._begun:
            self._keep(self._kept, kept)
        elif conversation in self._pending:
            self._keep(self._pending[conversation], kept)
        elif not self._has_read(conversation, number):
            self._transport.write(packet, durable=number is not None)

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
        self._kept_bytes += len(kept.packet)
        if self._kept_bytes > self._limits.output_bytes:
            self._transport.end()
            return
        into.append(kept)

    def admitted(self, conversation_id: str) -> None:
        """Learn that the person came into a conversation while connecting."""
        if not self._begun:
            self._admitted.add(conversation_id)

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
                self._transport.write(kept.packet, durable=kept.number is not None)
        for conversation_id in self._hub.seats_of(self):
            self._begin_after(conversation_id, heads.get(conversation_id, 0))
        self._begun, self._kept, self._kept_bytes = True, [], 0
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
        """Take pending seats in these conversations."""
        heard = set(self._hub.seats_of(self))
        new = [id_ for id_ in conversation_ids if id_ not in heard]
        for id_ in new:
            self._pending[id_] = []
        for id_ in conversation_ids:
            self._hub.seat(self, id_)
        await self._feed.host(new)

    def settle(self, heads: Mapping[str, int]) -> list[str]:
        """Hear the conversations that were read, each from after its head on, and no others.

        Returns those that are no longer heard instead.
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
                    self._transport.write(kept.packet, durable=kept.number is not None)
        seats = self._hub.seats_of(self)
        spare = seats[: max(0, len(seats) - self._limits.joined)] if heads else []
        for id_ in spare:
            self._hub.unseat(self, id_)
            self._feed.release([id_])
        return spare

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
            name = _printable(asked.name)
            code, answer = await self._answer(asked)
            if asked.ack_id is not None:
                packet = frames.acknowledgement(asked.ack_id, answer)
                self._transport.write(packet, durable=True)
            elif not answer["ok"]:
                failed = {"event": name, "error": answer["error"]}
                self._transport.write(frames.event("request:failed", failed), durable=True)
            took = (asyncio.get_running_loop().time() - started) * 1_000
            log.info(
                "request",
                user=self.user_id,
                request=name,
                code=code,
                ms=round(took, 1),
            )

    async def _answer(self, asked: Asked) -> tuple[str, dict[str, Any]]:
        try:
            request = self._dispatcher.find(str(asked.name))
            reply = await self._dispatcher.ask(request, self.caller, asked.data, connection=self)
        except ClientError as error:
            return error.code, {"ok": False, "error": error.to_wire()}
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
        self._transport.end()

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


def _printable(name: object) -> str:
    """Return the name of an event as it can be logged and sent, whatever the client made up."""
    return str(name)[:64].encode("utf-8", "replace").decode()
