"""The plain WebSocket: one conversation in JSON text frames, for clients without Socket.IO.

A client sends `{"event", "data", "id"?}` and hears `{"event", "data"}`; an answer is
`{"id", "ok", "data" or "error"}`. A frame of any other form ends its connection. Close codes are
those of RFC 6455, and from 4400 on ours, made of the status that REST would have.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from server.dispatch import read_json
from server.errors import ClientError, UnauthorizedError, ValidationFailedError
from server.logs import get_logger
from server.realtime.connection import Entrance, Everybody
from server.realtime.frames import Door
from server.realtime.session import Asked, Ending, refused, reply
from server.realtime.websocket import (
    INVALID_TEXT,
    PING,
    REASON_BYTES,
    TOO_LARGE,
    MalformedError,
)
from server.realtime.wired import Wired

PATH = "/ws/messaging/chat/{conversation_id}/"
SUBPROTOCOL = "palabre.v1"
TOKEN_SUBPROTOCOL = "palabre.token."  # noqa: S105 - what stands before a token

_TOO_LARGE = 4413
_CHOSEN = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n".encode()
_POLICY, _GOING_AWAY, _INTERNAL, _TRY_LATER = 1008, 1001, 1011, 1013
_ID_CHARS = 64
_SAFE_INTEGER = 2**53 - 1  # what JavaScript holds exactly
_FIELDS = ("event", "data", "id")

log = get_logger("server.connections")


@dataclass(frozen=True, slots=True)
class _Goodbye:
    """The last thing that is sent."""

    code: int
    reason: str

    @property
    def text(self) -> bytes:
        """Return as much of the reason as a close frame holds, in whole characters."""
        text = self.reason.encode(errors="replace")[:REASON_BYTES]
        return text.decode(errors="ignore").encode()


_GOODBYES = {
    Ending.EXPIRED: _Goodbye(4401, "The token has expired."),
    Ending.REMOVED: _Goodbye(4404, "You are not in this conversation any more."),
    Ending.LATE: _Goodbye(4408, "Nobody said in time who they are."),
    Ending.OVERFLOWING: _Goodbye(4429, "More was said than can wait to be sent."),
    Ending.STOPPING: _Goodbye(_GOING_AWAY, "The server stops; connect again."),
    Ending.REPLACED: _Goodbye(_GOING_AWAY, "The database was replaced; connect again."),
}

_REFUSALS = {
    400: _POLICY,
    401: 4401,
    404: 4404,
    429: 4429,
    503: _TRY_LATER,
    504: _TRY_LATER,
}


class _Client(Wired):
    """A client of the plain WebSocket."""

    __slots__ = ("_about", "_door", "_task")

    door = Door.PLAIN
    ping_frame = PING

    def __init__(
        self, request: web.Request, entrance: Entrance, address: str, door: "Plain"
    ) -> None:
        super().__init__(request, entrance, address)
        self.header_token = _offered_token(request) or self.header_token
        self._about: str = request.match_info["conversation_id"]
        self._door = door
        self._task: asyncio.Task[None] | None = None

    # Coming in

    def knock(self) -> None:
        """Begin the session with a token of the handshake, if there is one."""
        if self.header_token is not None or self.query_token:
            self._enter_with(Asked("auth", {}, None))

    def _enter_with(self, asked: Asked) -> None:
        # What comes next is read when it is known whether somebody is in.
        self._wire.hold()
        self._task = asyncio.get_running_loop().create_task(self._enter(asked))

    async def _enter(self, asked: Asked) -> None:
        """Open the session by the first frame, or by a token of the handshake."""
        try:
            if asked.name != "auth":
                message = "The first frame is auth, with the token in its data."
                log.info("connection refused", address=self.address, why=message)
                raise UnauthorizedError(message)
            await self.let_in(asked.data, about=self._about)
        except ClientError as error:
            self._answer(asked, refused(error))
            self._part(_Goodbye(_REFUSALS.get(error.status, _INTERNAL), error.message))
            return
        self._task = None
        self._answer(asked, {"ok": True, "data": {}})
        self.begin()
        self._wire.read_on()

    # What the client sends

    def heard(self, text: bytearray) -> None:
        self.ponged()
        if self._is_parting:
            return
        asked = _asked(text)
        if self.session is None:
            self._enter_with(asked)
        elif asked.name == "auth":
            message = "This connection is connected already; renew it with auth:refresh."
            self._answer(asked, refused(ValidationFailedError(message)))
        else:
            self._offer(asked)

    def _answer(self, asked: Asked, answer: dict[str, Any]) -> None:
        frame = reply(asked, answer)
        if frame is not None:
            self.write(frame, durable=True)

    # Going

    def malformed(self, error: MalformedError) -> None:
        self._entrance.cut["malformed frame"] += 1
        log.warning("connection cut", address=self.address, why=f"malformed frame: {error}")
        code = _TOO_LARGE if error.code == TOO_LARGE else error.code
        self._part(_Goodbye(code, str(error)))
        self.leave("malformed frame")
        self._wire.hang_up()

    def end(self, why: Ending) -> None:
        self._part(_GOODBYES[why])

    def _part(self, goodbye: _Goodbye) -> None:
        self.part(goodbye.code, goodbye.text)

    def gone(self) -> None:
        super().gone()
        self._door.forget(self)


class Plain:
    """The door for those who speak plain WebSocket."""

    def __init__(self, entrance: Entrance) -> None:
        """Make the door; `attach()` hangs it into an application."""
        self._entrance = entrance
        self.everybody = Everybody()

    def attach(self, app: web.Application) -> None:
        """Serve the address of every conversation, with and without its final slash."""
        for path in (PATH, PATH.rstrip("/")):
            app.router.add_route("GET", path, self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        offered = _offered(request)
        if offered and SUBPROTOCOL not in offered:
            message = f"Offer the subprotocol {SUBPROTOCOL} too, or none."
            raise ValidationFailedError(message)
        client = _Client(request, self._entrance, self._entrance.admit(request), self)
        taken = client.take_over(request, head=_CHOSEN if offered else b"")
        self.everybody.add(client)
        client.knock()
        return taken

    def forget(self, client: _Client) -> None:
        """Forget a client whose connection has ended."""
        self.everybody.discard(client)

    async def close(self) -> None:
        """End all connections; clients come back by themselves, to whoever serves them then."""
        await self.everybody.end()


def _offered(request: web.Request) -> list[str]:
    """Return the subprotocols that the client offers, as far as the library reads them."""
    header = request.headers.get("Sec-WebSocket-Protocol", "")
    return [name.strip() for name in header.split(",") if name.strip()]


def _offered_token(request: web.Request) -> str | None:
    """Return the token that a browser hides among the subprotocols: it can set no header."""
    tokens = (
        name.removeprefix(TOKEN_SUBPROTOCOL)
        for name in _offered(request)
        if name.startswith(TOKEN_SUBPROTOCOL)
    )
    return next(tokens, None)


def _asked(text: bytearray) -> Asked:
    """Return what a frame asks for; raises `MalformedError` that names what is wrong."""
    try:
        frame = read_json(bytes(text))
    except ValueError as error:
        raise MalformedError(INVALID_TEXT, "A frame is JSON.") from error
    problem = _problem(frame)
    if problem:
        raise MalformedError(_POLICY, problem)
    return Asked(frame["event"], frame.get("data", {}), frame.get("id"))


def _problem(frame: object) -> str:
    """Return what is wrong with the form of a frame, or nothing."""
    if not isinstance(frame, dict):
        return "A frame is an object with event, data and id."
    for name in frame:
        if name not in _FIELDS:
            return f"{name[:_ID_CHARS]} is not a field of a frame; it has event, data and id."
    if not isinstance(frame.get("event"), str):
        return "event must be text."
    if not _is_id(frame.get("id")):
        return f"id must be a whole number or text of up to {_ID_CHARS} printable characters."
    return ""


def _is_id(id_: object) -> bool:
    """Return whether an answer can repeat this id; who gives none gets no answer."""
    if isinstance(id_, str):
        # Half a surrogate pair cannot be sent back.
        return len(id_) <= _ID_CHARS and id_.isprintable()
    if isinstance(id_, bool):
        return False
    return id_ is None or (isinstance(id_, int) and abs(id_) <= _SAFE_INTEGER)
