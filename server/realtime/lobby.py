"""How a person comes in: token, profile, seats, and the hello that misses nothing.

The order matters. Seats are taken, silently, before anything can be heard of what is stored after
the database was asked where everything stands; what is said meanwhile is kept and said after the
hello, unless the hello already contains it. On one of several nodes the channels come first, so
that seats are taken before it is asked. A node that is alone hears of nothing between two steps
that follow each other in its loop: it asks, and takes the seats right behind that, while the
database reads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from server.actions import people, sync
from server.actions.arrivals import Arrivals, Heads
from server.actions.looks import Looks
from server.auth import Identity, Tokens
from server.clock import now_ms, to_text
from server.dispatch import DEADLINE_S, Dispatcher
from server.errors import (
    ClientError,
    InternalError,
    NotFoundError,
    RateLimitedError,
    UnauthorizedError,
    UnavailableError,
    ValidationFailedError,
)
from server.ids import new_id
from server.journal import database_refusal
from server.logs import get_logger
from server.models.user import user as profile
from server.permissions import Call, Caller
from server.realtime.activity import Activity
from server.realtime.deadlines import Deadlines
from server.realtime.feed import Feed
from server.realtime.hub import Hub
from server.realtime.presence import Presence
from server.realtime.session import Session, Transport
from server.schemas.requests import Sync

if TYPE_CHECKING:
    from server.realtime.lines import Line

PROTOCOL = 1
FEATURES = (
    *("sync", "receipts", "typing", "presence", "edit", "delete", "archive", "members"),
    "uploads",
)

log = get_logger("server.connections")


class Knock(Protocol):
    """A connection at the door."""

    @property
    def transport(self) -> Transport:
        """Return the way to the client."""

    @property
    def address(self) -> str:
        """Return where the client is."""

    @property
    def header_token(self) -> str | None:
        """Return the bearer token of the handshake's headers."""

    @property
    def query_token(self) -> bool:
        """Return whether somebody put a token into the address."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that has been let in, and what it will say first."""

    session: Session
    ready: dict[str, Any]
    heads: Mapping[str, int]
    user_seq: int
    expires_at_ms: int

    def begin(self) -> None:
        """Say hello; call when the client has been told that it is in."""
        self.session.begin(self.ready, self.heads, self.user_seq)
        self.session.expire_at(self.expires_at_ms)


class Lobby:
    """Lets people in."""

    def __init__(  # noqa: PLR0913, PLR0917 (what a connection needs, given once)
        self,
        dispatcher: Dispatcher,
        tokens: Tokens,
        hub: Hub,
        feed: Feed,
        presence: Presence,
        activity: Activity,
    ) -> None:
        """Let people into a hub."""
        self._presence = presence
        self._activity = activity
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._hub = hub
        self._feed = feed
        self._arrivals = Arrivals(dispatcher.settings.limits)
        self._looks = Looks(dispatcher.settings.limits)
        self._deadlines = Deadlines(DEADLINE_S)
        # The same bytes in each hello.
        self._limits = orjson.Fragment(orjson.dumps(dispatcher.settings.limits.to_wire()))

    async def open(self, knock: Knock, auth: object, *, about: str | None = None) -> Opening:
        """Return the session of somebody with a valid token; raises nothing but `ClientError`.

        With `about` it is a session about that conversation only, which its person must be in.
        """
        try:
            return await self._open(knock, auth, about)
        except ClientError as error:
            log.info(
                "connection refused",
                address=knock.address,
                code=error.code,
                why=error.reason or error.message,
            )
            raise
        except Exception as error:
            refusal = database_refusal(error)
            if isinstance(refusal, ClientError):
                raise refusal from error
            log.exception("connection failed", address=knock.address)
            raise InternalError from error

    async def _open(self, knock: Knock, auth: object, about: str | None) -> Opening:
        fields = _fields(auth)
        identity = await self._tokens.verify(_token(knock, fields))
        asked = self._asked(fields)
        limits = self._dispatcher.settings.limits
        if len(self._hub.devices_of(identity.user_id)) >= limits.sockets_per_user:
            message = f"One person may have {limits.sockets_per_user} connections."
            raise RateLimitedError(message, retry_after_ms=10_000)
        opening = await self._try(knock, identity, asked, about)
        if opening is None:
            # The token says something new of its person, who hears of it before they come in.
            told_in = limits.broadcast_members
            await self._dispatcher.run(people.mirror(identity, told_in), what="connect")
            opening = await self._try(knock, identity, asked, about)
        if opening is None:
            raise UnavailableError(reason="profile or database were changed again and again")
        return opening

    async def _try(
        self, knock: Knock, identity: Identity, asked: Sync | None, about: str | None
    ) -> Opening | None:
        """Return the session of a person, or None when they have to be read again.

        Their profile is not what the token says, or the database was replaced meanwhile.
        """
        session = self._session(knock, identity, about)
        self._hub.enter(session)
        epoch, opening = self._feed.epoch, None
        try:
            # It only reads, so it may be given up anywhere.
            opening = await self._deadlines.within(self._opened(session, identity, asked, epoch))
        finally:
            if opening is None:
                session.end()
        return opening

    async def _opened(
        self, session: Session, identity: Identity, asked: Sync | None, epoch: str
    ) -> Opening | None:
        """Return the session once it is seated in this epoch, which is the present one."""
        opening = await self._seated(session, identity, asked)
        if opening is not None and opening.ready["epoch"] != epoch:
            await self._feed.notice(opening.ready["epoch"])
        # Else seats and numbers are of a database that is gone.
        return opening if self._feed.epoch == epoch else None

    def _asked(self, fields: Mapping[str, Any]) -> Sync | None:
        """Return the `sync` that came with the handshake, if one did."""
        given = {
            name: fields[name]
            for name in ("cursors", "user_seq", "epoch")
            if fields.get(name) is not None
        }
        if not given.keys() & {"cursors", "user_seq"}:
            return None
        return self._dispatcher.parse(Sync, given)

    def _session(self, knock: Knock, identity: Identity, about: str | None) -> Session:
        session_id = new_id()
        return Session(
            session_id,
            Caller(identity.user_id, identity.role, session_id),
            knock.transport,
            self._dispatcher,
            self._tokens,
            self._hub,
            self._feed,
            self._presence,
            self._activity,
            about=about,
        )

    async def _seated(
        self, session: Session, identity: Identity, asked: Sync | None
    ) -> Opening | None:
        """Take seats, then read what the hello says; None as `_try`."""
        limits = self._dispatcher.settings.limits
        named = [] if asked is None else list(asked.cursors)
        if session.about is not None:
            named = [session.about]
        line = await self._feed.expect_person(session.user_id)
        came = await self._arrivals.person(session.user_id, named)
        if came.profile is None or not people.agrees(identity, came.profile):
            return None
        self._feed.place_person(line, came.user_seq)
        user = profile(came.profile)
        session.caller = people.caller(identity, user, session.id)
        seats = _wanted(session, came.seats)[: limits.joined]
        heads, more = await self._take_seats(session, asked, seats, came.user_seq)
        early = set(seats)
        self._seat_late(session, {k: v for k, v in heads.heads.items() if k not in early})
        if session.about is not None and session.about not in heads.heads:
            raise NotFoundError
        ready = {**self._ready(session, identity, user, heads), **more}
        return Opening(session, ready, heads.heads, heads.user_seq, identity.expires_at_ms)

    async def _take_seats(
        self, session: Session, asked: Sync | None, seats: Sequence[str], after: int
    ) -> tuple[Heads, dict[str, Any]]:
        """Take seats, let their lines begin, and return what `_standing` does."""
        lines: list[Line] = []

        def sit() -> None:
            self._hub.seat_all(session, reversed(seats))
            # Who is gone by now has taken no seats, and would leave lines behind.
            lines.extend(self._feed.expect(self._hub.seats_of(session)))

        meanwhile = sit if self._feed.is_alone else None
        if meanwhile is None:
            sit()
            await self._feed.follow(lines)
        heads, more = await self._standing(session, asked, seats, after, meanwhile)
        if not self._feed.place(lines, heads.heads):
            heads, more = await self._standing(session, asked, seats, after)
            self._feed.place(lines, heads.heads)
        return heads, more

    async def _standing(
        self,
        session: Session,
        asked: Sync | None,
        seats: Sequence[str],
        after: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> tuple[Heads, dict[str, Any]]:
        """Read, as of one moment, where everything stands, and what the hello says of it."""
        if asked is None:
            heads, unread_total = await self._arrivals.standing(
                session.user_id, seats=seats, after=after, meanwhile=meanwhile
            )
            return heads, {"unread_total": unread_total}
        call = Call(session.caller, self._dispatcher.settings)
        heads, answer = await sync.opening(
            call, asked, self._looks, seats=seats, after=after, meanwhile=meanwhile
        )
        return heads, {"unread_total": answer["unread_total"], "sync": answer}

    def _seat_late(self, session: Session, heads: Mapping[str, int]) -> None:
        """Seat a person where they came in after their memberships were read, and are in still."""
        for conversation_id, head in heads.items():
            if session.may_hear(conversation_id):
                if not self._hub.is_heard(conversation_id):
                    self._feed.begin_at(conversation_id, head)
                self._hub.seat(session, conversation_id)

    def _ready(
        self, session: Session, identity: Identity, user: dict[str, Any], heads: Heads
    ) -> dict[str, Any]:
        return {
            "session_id": session.id,
            "user": user,
            "epoch": heads.epoch,
            "server_time": to_text(now_ms()),
            "token_expires_at": to_text(identity.expires_at_ms),
            "protocol": PROTOCOL,
            "features": list(FEATURES),
            "limits": self._limits,
            "joined": {
                id_: heads.heads[id_] for id_ in self._hub.seats_of(session) if id_ in heads.heads
            },
            "user_seq": heads.user_seq,
        }


def _wanted(session: Session, seats: list[str]) -> list[str]:
    """Return the conversations to take seats in, the most wanted first."""
    if session.about is None:
        return seats
    if session.about not in seats:
        raise NotFoundError
    return [session.about]


def _fields(auth: object) -> dict[str, Any]:
    """Return the handshake's fields; some clients can send nothing but texts."""
    if auth is None:
        return {}
    if not isinstance(auth, dict):
        raise ValidationFailedError.of("auth", "must be an object")
    fields = dict(auth)
    for name in ("protocol", "cursors", "user_seq"):
        if isinstance(fields.get(name), str):
            try:
                fields[name] = orjson.loads(fields[name])
            except orjson.JSONDecodeError as error:
                raise ValidationFailedError.of(name, "is not JSON") from error
    protocol = fields.get("protocol", PROTOCOL)
    if type(protocol) is not int or protocol != PROTOCOL:
        raise ValidationFailedError.of("protocol", f"must be {PROTOCOL}")
    return fields


def _token(knock: Knock, fields: Mapping[str, Any]) -> str:
    """Return the token, from `auth` or the header; never from the address, which gets logged."""
    if knock.query_token:
        message = "A token does not belong in the address: send it in auth.token."
        raise UnauthorizedError(message, reason="token in the query string")
    token = fields.get("token") or knock.header_token
    if not isinstance(token, str) or not token:
        raise UnauthorizedError(reason="no token")
    return token
