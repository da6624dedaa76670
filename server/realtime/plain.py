"""The plain WebSocket: one conversation in JSON text frames, for clients without Socket.IO.

A client sends `{"event", "data", "id"?}` and hears `{"event", "data"}`; an answer is
`{"id", "ok", "data" or "error"}`. A frame of any other form ends its connection. Close codes are
those of RFC 6455, and from 4400 on ours, made of the status that REST would have.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web

from server.config import Settings
from server.dispatch import read_json
from server.errors import (
    ClientError,
    UnauthorizedError,
    UnavailableError,
    ValidationFailedError,
)
from server.logs import get_logger
from server.realtime.connection import LAST_WORDS_S, Connection, end_all
from server.realtime.frames import Frame
from server.realtime.lobby import Lobby
from server.realtime.output import Output
from server.realtime.session import Asked, Ending, refused, reply
from server.realtime.teller import Teller

PATH = "/ws/messaging/chat/{conversation_id}/"
SUBPROTOCOL = "palabre.v1"
TOKEN_SUBPROTOCOL = "palabre.token."  # noqa: S105 - what stands before a token

_TOO_LARGE = 4413
_REASON_BYTES = 123  # a close frame takes no more
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
        text = self.reason.encode(errors="replace")[:_REASON_BYTES]
        return text.decode(errors="ignore").encode()


_GOODBYES = {
    Ending.EXPIRED: _Goodbye(4401, "The token has expired."),
    Ending.REMOVED: _Goodbye(4404, "You are not in this conversation any more."),
    Ending.LATE: _Goodbye(4408, "Nobody said in time who they are."),
    Ending.OVERFLOWING: _Goodbye(4429, "More was said than can wait to be sent."),
    Ending.STOPPING: _Goodbye(WSCloseCode.GOING_AWAY, "The server stops; connect again."),
}

_REFUSALS = {
    400: WSCloseCode.POLICY_VIOLATION,
    401: 4401,
    404: 4404,
    429: 4429,
    503: WSCloseCode.TRY_AGAIN_LATER,
    504: WSCloseCode.TRY_AGAIN_LATER,
}


class _Left(Exception):  # noqa: N818 - nothing went wrong
    """The client is gone, or the server said goodbye to it."""


class _MalformedError(Exception):
    """The client sent what no client sends."""

    def __init__(self, code: int, problem: str) -> None:
        self.goodbye = _Goodbye(code, problem)
        super().__init__(problem)


class _WebSocket(web.WebSocketResponse):
    """A WebSocket that leaves it to us to close after a frame that is too large."""

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        if code == WSCloseCode.MESSAGE_TOO_BIG:
            problem = "The frame is too large."
            raise _MalformedError(_TOO_LARGE, problem)
        return await super().close(code=code, message=message, drain=drain)


class _Connection(Connection):
    """A client of the plain WebSocket."""

    def __init__(self, request: web.Request, settings: Settings, **house: Any) -> None:
        super().__init__(request, limits=settings.limits, **house)
        self.header_token = _offered_token(request) or self.header_token
        self.socket = _WebSocket(
            protocols=(SUBPROTOCOL,),
            max_msg_size=settings.limits.event_bytes,
            timeout=LAST_WORDS_S,
            autoping=False,
            compress=False,
        )
        self._about = request.match_info["conversation_id"]
        self._realtime = settings.realtime
        self._request = request
        self._output = Output()
        self._is_ending = False

    # The way to the client

    def output(self) -> Output | None:
        return None if self._is_ending or self.socket.closed else self._output

    def wired(self, frame: Frame) -> bytes:
        return frame.plain

    def end(self, why: Ending) -> None:
        self._part(_GOODBYES[why])

    def _part(self, goodbye: _Goodbye) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._output.put_nowait(goodbye)
            asyncio.get_running_loop().call_later(LAST_WORDS_S, self.abort)

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _speak(self) -> None:
        """Send what waits, in its order, up to the goodbye."""
        with suppress(ConnectionError):
            while True:
                item = await self._output.get()
                if isinstance(item, _Goodbye):
                    await self._close(item)
                    return
                await self.socket.send_frame(item, WSMsgType.TEXT)

    async def _close(self, goodbye: _Goodbye) -> None:
        if goodbye.code == _TOO_LARGE:
            # The rest of the frame is still coming. Closed now, the connection would be reset,
            # and the client would not read why.
            frame = goodbye.code.to_bytes(2) + goodbye.text
            await self.socket.send_frame(frame, WSMsgType.CLOSE)
            while self._request.transport is not None:  # noqa: ASYNC110 - `abort` ends it soon
                await asyncio.sleep(0.02)
        await self.socket.close(code=goodbye.code, message=goodbye.text)

    # From the first frame to the last

    async def live(self) -> None:
        """Let the client in and take its requests, until either side ends it."""
        await self.socket.prepare(self._request)
        speaker = asyncio.create_task(self._speak())
        self.hurry()
        try:
            await self._converse()
        except (_Left, ConnectionError):
            pass
        except _MalformedError as error:
            self.malformed(error)
            self._part(error.goodbye)
        except TimeoutError:
            log.warning("connection cut", address=self.address, why="it does not answer")
            self.abort()
        finally:
            self.gone()
            if not self._is_ending:
                speaker.cancel()
            await asyncio.wait({speaker})

    async def _converse(self) -> None:
        await self._enter()
        while self.session is not None:
            asked = _asked(await self._text())
            if asked.name == "auth":
                message = "This connection is connected already; renew it with auth:refresh."
                self._answer(asked, refused(ValidationFailedError(message)))
                continue
            await self.session.ask(asked)

    async def _enter(self) -> None:
        """Open the session by the first frame, or by a token of the handshake."""
        asked = Asked("auth", {}, None)
        try:
            if self.header_token is None and not self.query_token:
                asked = _asked(await self._text())
            if asked.name != "auth":
                message = "The first frame is auth, with the token in its data."
                log.info("connection refused", address=self.address, why=message)
                raise UnauthorizedError(message)
            await self.let_in(asked.data, about=self._about)
        except ClientError as error:
            self._answer(asked, refused(error))
            code = _REFUSALS.get(error.status, WSCloseCode.INTERNAL_ERROR)
            self._part(_Goodbye(code, error.message))
            raise _Left from error
        self._answer(asked, {"ok": True, "data": {}})
        self.begin()

    def _answer(self, asked: Asked, answer: dict[str, Any]) -> None:
        frame = reply(asked, answer)
        if frame is not None:
            self.write(frame, durable=True)

    async def _text(self) -> str:
        """Return the next frame, which must be text."""
        while True:
            message = await self._message()
            if message.type is WSMsgType.TEXT:
                return str(message.data)
            if message.type is WSMsgType.BINARY:
                problem = "A frame is text."
                raise _MalformedError(WSCloseCode.UNSUPPORTED_DATA, problem)
            if message.type is WSMsgType.PING:
                await self.socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                if isinstance(message.data, WebSocketError):
                    self.malformed(message.data)
                raise _Left

    async def _message(self) -> WSMessage:
        """Return what comes next; a client that is silent for long must show that it is there."""
        with suppress(TimeoutError):
            return await self.socket.receive(timeout=self._realtime.ping_interval_s)
        async with asyncio.timeout(self._realtime.ping_timeout_s):
            await self.socket.ping()
            return await self.socket.receive()


class Plain:
    """The door for those who speak plain WebSocket."""

    def __init__(self, settings: Settings, lobby: Lobby, teller: Teller) -> None:
        """Make the door; `attach()` hangs it into an application."""
        self._settings = settings
        self._lobby = lobby
        self._teller = teller
        self._connections: set[_Connection] = set()
        self._is_stopping = False

    def attach(self, app: web.Application) -> None:
        """Serve the address of every conversation, with and without its final slash."""
        for path in (PATH, PATH.rstrip("/")):
            app.router.add_route("GET", path, self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        _require_websocket(request)
        if self._is_stopping:
            raise UnavailableError
        connection = _Connection(request, self._settings, lobby=self._lobby, teller=self._teller)
        self._connections.add(connection)
        try:
            await connection.live()
        finally:
            self._connections.discard(connection)
        return connection.socket

    async def close(self) -> None:
        """End all connections; clients come back by themselves, to whoever serves them then."""
        self._is_stopping = True
        await end_all(list(self._connections), remain=lambda: self._connections)


def _require_websocket(request: web.Request) -> None:
    offered = _offered(request)
    # The library would write down what was offered, and with it a token.
    if offered and SUBPROTOCOL not in offered:
        message = f"Offer the subprotocol {SUBPROTOCOL} too, or none."
        raise ValidationFailedError(message)
    if not web.WebSocketResponse(protocols=(SUBPROTOCOL,)).can_prepare(request):
        message = "This address speaks WebSocket, version 13, and nothing else."
        raise ValidationFailedError(message)


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


def _asked(text: str) -> Asked:
    """Return what a frame asks for; raises `_MalformedError` that names what is wrong."""
    try:
        frame = read_json(text)
    except ValueError as error:
        raise _MalformedError(WSCloseCode.INVALID_TEXT, "A frame is JSON.") from error
    problem = _problem(frame)
    if problem:
        raise _MalformedError(WSCloseCode.POLICY_VIOLATION, problem)
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
