"""One connection of one person: what it hears, what it asks, and how long it may stay."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

from server.auth import Tokens
from server.clock import now_ms
from server.config import LimitsSettings
from server.dispatch import Dispatcher
from server.errors import ClientError, UnauthorizedError
from server.events import Outcome
from server.logs import get_logger
from server.permissions import Caller
from server.realtime import frames
from server.realtime.activity import Activity
from server.realtime.feed import Feed
from server.realtime.flight import Outlet
from server.realtime.frames import Door, Frame
from server.realtime.hub import Hub
from server.realtime.presence import Presence, Stirred
from server.schemas.values import OwnStatus

log = get_logger("server.requests")


class Ending(Enum):
    """Why the server ends a connection."""

    EXPIRED = auto()
    REMOVED = auto()
    LATE = auto()
    OVERFLOWING = auto()
    STOPPING = auto()
    REPLACED = auto()


class Transport(Protocol):
    """The way to one client; nothing here waits but `room()`.

    It tells its session with `slowed()` and `quickened()` when `direct` goes away and comes back.
    """

    @property
    def door(self) -> Door:
        """Return how frames are wrapped."""

    @property
    def direct(self) -> Outlet | None:
        """Return where bytes are just written, while nothing waits to be sent."""

    def write(self, frame: Frame, *, durable: bool) -> None:
        """Queue a frame; what is not durable may be left out for a client that is slow."""

    async def room(self) -> None:
        """Wait until less than half of what may be unsent is unsent."""

    def end(self, why: Ending) -> None:
        """Close the connection after what is queued, so that the client can come back."""

    def read_on(self) -> None:
        """Take up reading, which stopped because a request had no room behind it."""


class Asked(NamedTuple):
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
    is no longer in it. Thousands of sessions wait in memory: what few need is made when needed.
    """

    __slots__ = (
        "_activity",
        "_admitted",
        "_asked",
        "_asked_at",
        "_begun",
        "_dispatcher",
        "_feed",
        "_floors",
        "_gap",
        "_hub",
        "_inbox",
        "_is_asking",
        "_is_busy",
        "_is_dismissed",
        "_is_full",
        "_is_over",
        "_kept",
        "_kept_bytes",
        "_pending",
        "_presence",
        "_straight",
        "_timer",
        "_tokens",
        "_transport",
        "_waiting",
        "about",
        "caller",
        "door",
        "id",
        "is_adrift",
        "stirred",
    )

    def __init__(  # noqa: PLR0913, PLR0915, PLR0917 (what a connection needs, given once)
        self,
        session_id: str,
        caller: Caller,
        transport: Transport,
        dispatcher: Dispatcher,
        tokens: Tokens,
        hub: Hub,
        feed: Feed,
        presence: Presence,
        activity: Activity,
        *,
        about: str | None = None,
    ) -> None:
        """Make the session of a person whose token was accepted."""
        self.id = session_id
        self.caller = caller
        self.about = about
        self.door = transport.door
        self._transport = transport
        # Where the client is written to, once begun and while it can just be written to.
        self._straight: Outlet | None = None
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._hub = hub
        self._feed = feed
        self._presence = presence
        self._activity = activity
        # Whom to tell of the next request; nobody cares about most.
        self.stirred: Stirred | None = None
        self._begun = self.is_adrift = self._is_dismissed = self._is_over = False
        self._kept: list[_Kept] | None = None
        self._kept_bytes = 0
        self._admitted: set[str] | None = None
        # Numbers this client has read already while the feed of the conversation is still behind.
        self._floors: dict[str, int] | None = None
        # Conversations named in a `sync` that has not read them yet, with what they said meanwhile.
        self._pending: dict[str, list[_Kept]] | None = None
        # The request that is being answered, and whether one is or is about to be.
        self._asked: Asked | None = None
        self._asked_at = 0.0
        self._is_asking = self._is_busy = False
        # The requests in line, what the first of them waits for, and who waits because of the rest.
        self._inbox: deque[Asked] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._is_full = False
        self._gap: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def user_id(self) -> str:
        """Return whose connection this is."""
        return self.caller.user_id

    @property
    def _limits(self) -> LimitsSettings:
        return self._dispatcher.settings.limits

    # Hearing

    def direct(self, conversation_id: str) -> Outlet | None:
        """Return where frames of a conversation are written, if nothing stands between."""
        if self._pending is not None and conversation_id in self._pending:
            return None
        if self._floors is not None and conversation_id in self._floors:
            return None
        return self._straight

    def slowed(self) -> None:
        """Learn that the client cannot just be written to any more."""
        if self._straight is not None:
            self._straight = None
            self._hub.slow(self)

    def quickened(self) -> None:
        """Learn that the client can be written to again."""
        if self._begun:
            self._straight = self._transport.direct
            self._hub.quicken(self)

    def hear(self, frame: Frame, *, conversation: str, number: int | None) -> None:
        """Take a frame of a conversation (or, with an empty name, of the person's own room)."""
        if not self._begun:
            self._kept = self._kept or []
            self._keep(self._kept, _Kept(conversation, number, frame))
        elif not conversation:
            self._say(frame)
        elif self._pending is not None and conversation in self._pending:
            self._keep(self._pending[conversation], _Kept(conversation, number, frame))
        elif self._floors is not None and conversation in self._floors:
            self._hear_above(self._floors, frame, conversation, number)
        else:
            self._transport.write(frame, durable=frame.is_durable)

    def take(self, frames: Sequence[Frame]) -> None:
        """Write what was owed, of which it is known that it is for this connection."""
        for frame in frames:
            self._transport.write(frame, durable=frame.is_durable)

    def _say(self, frame: Frame) -> None:
        """Write a frame that is of no conversation, behind all that conversations owe."""
        owed = self._hub.withdraw(self)
        if owed or self._straight is None:
            self._say_all([*owed, frame])
        else:
            self._straight.write(frame.wired(self.door))

    def _say_all(self, owed: Sequence[Frame]) -> None:
        for run in frames.runs(owed):
            if self._straight is None:
                self.take(run)
            else:
                self._straight.write(frames.joined(run, self.door))

    def _hear_above(
        self, floors: dict[str, int], frame: Frame, conversation: str, number: int | None
    ) -> None:
        """Take a frame unless its number is older than what this connection began with.

        It may even be older than the person's membership, which makes it none of their business.
        """
        if number is not None and number <= floors[conversation]:
            if number == floors[conversation]:
                self._rise(floors, conversation)
            return
        self._transport.write(frame, durable=frame.is_durable)
        if number is not None:
            self._rise(floors, conversation)

    def _rise(self, floors: dict[str, int], conversation: str) -> None:
        """Hear all that a conversation says from now on."""
        del floors[conversation]
        self._floors = floors or None
        self._hub.quicken(self, [conversation])

    def _begin_after(self, heads: Mapping[str, int]) -> None:
        """Hear conversations from after their heads on only, where the feed is not there yet."""
        behind = self._feed.behind(heads)
        if behind:
            self._floors = {**(self._floors or {}), **behind}

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
            self._admitted = {*(self._admitted or ()), conversation_id}

    def dismissed(self, conversation_id: str) -> None:
        """End when the person is no longer in the conversation that this connection is about.

        A request that is being answered, perhaps the one to leave, still gets its answer. What
        happens before the hello is judged by the hello.
        """
        if self._begun and conversation_id == self.about:
            self._is_dismissed = True
            if self._asked is None:
                self._transport.end(Ending.REMOVED)

    def begin(self, ready: dict[str, Any], heads: Mapping[str, int], user_seq: int) -> None:
        """Say hello, then what was said since the hello was read, then listen to requests.

        Seats in conversations that the person was no longer in when the hello was read are given
        up: their removal may have been delivered before this connection took the seat.
        """
        if ready["epoch"] != self._feed.epoch:
            # What the hello says was read from a database that has been replaced meanwhile.
            self.send_away()
            return
        self._give_up_seats(heads)
        self._transport.write(frames.event("session:ready", ready), durable=True)
        for kept in self._kept or ():
            if self._is_news(kept, heads, user_seq):
                self._transport.write(kept.frame, durable=kept.frame.is_durable)
        seats = self._hub.seats_of(self)
        self._begin_after({id_: heads.get(id_, 0) for id_ in seats})
        self._begun, self._kept, self._kept_bytes, self._admitted = True, None, 0, None
        self.quickened()
        self._presence.came(self)
        if len(seats) >= self._limits.joined:
            self._activity.watch(self)
        if self.about is not None and self.about not in seats:
            self._transport.end(Ending.REMOVED)

    def _give_up_seats(self, heads: Mapping[str, int]) -> None:
        admitted = self._admitted or ()
        for conversation_id in self._hub.seats_of(self):
            if conversation_id not in heads and conversation_id not in admitted:
                self._hub.unseat(self, conversation_id)
                self._feed.release([conversation_id])

    def _is_news(self, kept: _Kept, heads: Mapping[str, int], user_seq: int) -> bool:
        if not kept.conversation:
            return kept.number is None or kept.number > user_seq
        known = kept.conversation in heads
        if not known and kept.conversation not in (self._admitted or ()):
            return False
        return kept.number is None or kept.number > heads.get(kept.conversation, 0)

    # Another epoch

    def start_over(self, frame: Frame) -> None:
        """Forget every number because an epoch begins, of which the frame tells.

        Who has not been greeted yet comes in again (see `begin`), and who hears one conversation
        only: it may not be there any more.
        """
        if not self._begun:
            return
        self._floors = self._pending = None
        self._kept_bytes = 0
        self.is_adrift = True
        self._say(frame)
        if self.about is not None:
            self.send_away()

    def send_away(self) -> None:
        """End the connection, so that the client comes in again."""
        self._transport.end(Ending.REPLACED)

    # Seats, as `sync` moves them

    async def seat(self, conversation_ids: Sequence[str]) -> None:
        """Take pending seats in these conversations, as far as this connection may hear them."""
        self.is_adrift = False
        heard = set(self._hub.seats_of(self))
        named = [id_ for id_ in conversation_ids if self.may_hear(id_)]
        new = [id_ for id_ in named if id_ not in heard]
        if new:
            self._pending = {**(self._pending or {}), **{id_: [] for id_ in new}}
        self._hub.seat_all(self, named)
        await self._feed.host(new)

    def settle(self, heads: Mapping[str, int]) -> list[str]:
        """Hear the conversations that were read, each from after its head on, and no others.

        Returns those that are no longer heard instead, and those that are not heard at all.
        """
        pending, self._pending, self._kept_bytes = self._pending or {}, None, 0
        for id_, said in pending.items():
            if id_ not in heads:
                self._hub.unseat(self, id_)
                self._feed.release([id_])
                continue
            self._begin_after({id_: heads[id_]})
            for kept in said:
                if kept.number is None or kept.number > heads[id_]:
                    self._transport.write(kept.frame, durable=kept.frame.is_durable)
        self._hub.quicken(self, pending)
        seats = self._hub.seats_of(self)
        spare = seats[: max(0, len(seats) - self._limits.joined)] if heads else []
        for id_ in spare:
            self._hub.unseat(self, id_)
            self._feed.release([id_])
        if spare:
            self._activity.watch(self)
        return [*spare, *(id_ for id_ in heads if not self.may_hear(id_))]

    # Asking

    def offer(self, asked: Asked) -> bool:
        """Take a request, now or in its turn; after False, read no more until `read_on()`."""
        if self._is_over:
            return True
        if not self._is_busy:
            self._begin_with(asked)
            return True
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(asked)
        self._is_full = len(self._inbox) >= self._limits.inbox
        return not self._is_full

    async def ask(self, asked: Asked) -> None:
        """Put a request in line; waits while the line is full."""
        while self._is_full and not self._is_over:
            self._gap = self._gap or asyncio.Event()
            await self._gap.wait()
        self.offer(asked)

    def _begin_with(self, asked: Asked) -> None:
        """Answer a request, as soon as this client, and this node, are done with what was said."""
        self._is_busy = True
        if self._straight is None or self._hub.is_behind:
            self._waiting = asyncio.get_running_loop().create_task(self._begin_later(asked))
        else:
            self._serve(asked)

    async def _begin_later(self, asked: Asked) -> None:
        if self._straight is None:
            await self._transport.room()
        if self._hub.is_behind:
            await self._hub.room()
        self._waiting = None
        self._serve(asked)

    def _serve(self, asked: Asked) -> None:
        self._asked, self._asked_at = asked, time.monotonic()
        if self.stirred is not None:
            self.stirred(self, asked.name)
        self._is_asking = True
        try:
            request = self._dispatcher.find(str(asked.name))
        except ClientError as error:
            self._answered(error)
        else:
            dispatcher, data = self._dispatcher, asked.data
            dispatcher.post(request, self.caller, data, self._answered, connection=self)
        self._is_asking = False

    def _answered(self, outcome: Outcome | ClientError) -> None:
        """Say what became of a request, and go on to the next one."""
        asked, self._asked = self._asked, None
        if self._is_over or asked is None:
            return
        if isinstance(outcome, ClientError):
            code, answer = outcome.code, refused(outcome)
        else:
            code, answer = "ok", {"ok": True, "data": outcome.reply}
        frame = reply(asked, answer)
        if frame is not None:
            self._say(frame)
        if self._is_dismissed:
            self._transport.end(Ending.REMOVED)
        if code != "ok" or self._dispatcher.settings.log.level == "debug":
            # Asking the logger whether it would write costs more than all of the above.
            self._write_down(asked, code, (time.monotonic() - self._asked_at) * 1_000)
        if self._is_asking or self._inbox:
            # In another turn, so that nobody who asks and asks keeps the others waiting.
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self._is_busy = False

    def _next(self) -> None:
        """Answer the next request in line, if there is one."""
        if self._is_over:
            return
        if not self._inbox:
            self._is_busy, self._inbox = False, None
            return
        asked = self._inbox.popleft()
        if self._is_full:
            self._make_room()
        self._begin_with(asked)

    def _make_room(self) -> None:
        self._is_full = False
        if self._gap is not None:
            self._gap.set()
            self._gap = None
        self._transport.read_on()

    def _write_down(self, asked: Asked, code: str, took_ms: float) -> None:
        (log.debug if code == "ok" else log.info)(
            "request",
            user=self.user_id,
            request=_printable(asked.name),
            code=code,
            ms=round(took_ms, 1),
        )

    # The server stops

    def draining(self, reconnect_in_ms: int) -> None:
        """Tell the client when to come back, to whoever serves then."""
        self._say(frames.event("server:draining", {"reconnect_in_ms": reconnect_in_ms}))

    @property
    def is_busy(self) -> bool:
        """Return whether something that was asked is not answered yet."""
        return self._is_busy

    # Presence

    async def follow(self, user_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Hear how these people are from now on; return how they are now."""
        if self._is_over:
            return []
        return await self._presence.followers.follow(self, user_ids)

    def unfollow(self, user_ids: Sequence[str]) -> None:
        """Hear no more of these people."""
        self._presence.followers.unfollow(self, user_ids)

    def appear(self, status: OwnStatus) -> None:
        """Learn what the person has said of themselves."""
        self._presence.appear(self, status)

    # Time

    def expire_at(self, expires_at_ms: int) -> None:
        """Warn before the token ends, and end the connection some grace after it."""
        left_s = (expires_at_ms - now_ms()) / 1_000
        warn_in = max(0.0, left_s - self._limits.token_warning_s)
        end_in = max(0.0, left_s) + self._limits.token_grace_s
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(
            warn_in, self._warn, expires_at_ms, end_in - warn_in
        )

    def _warn(self, expires_at_ms: int, grace_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(grace_s, self._expire)
        in_s = max(0, (expires_at_ms - now_ms() + 999) // 1_000)
        self._say(frames.event("auth:expiring", {"in_s": in_s}))

    def _expire(self) -> None:
        body = {"code": "token_expired", "reconnect": True}
        self._say(frames.event("session:closed", body))
        self._transport.end(Ending.EXPIRED)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

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
        self._is_over = True
        self._stop_timer()
        if self._gap is not None:
            self._gap.set()
        if self._waiting is not None:
            self._waiting.cancel()
        self._dispatcher.forget(self.caller)
        self._feed.release(self._hub.leave(self))
        self._feed.release_person(self.user_id)
        self._presence.gone(self)
        self._activity.forget(self)


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
