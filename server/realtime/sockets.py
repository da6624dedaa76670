"""Socket.IO itself: the only place that knows the library, and what it must be guarded against.

Sessions read and write through here; which frame means what is decided elsewhere. The library's own
rooms, handlers and tasks per event are not used: requests wait in each session's bounded line, and
packets that are encoded already go straight into each connection's queue.
"""

import asyncio
from typing import Any
from weakref import WeakValueDictionary

import engineio
import orjson
import socketio
from aiohttp import web
from engineio.async_drivers.aiohttp import WebSocket, translate_request
from engineio.packet import MESSAGE
from engineio.packet import Packet as EnginePacket
from engineio.payload import Payload
from socketio import packet as socketio_packet
from socketio.exceptions import ConnectionRefusedError as Refusal

from server.config import Settings
from server.dispatch import read_json
from server.errors import ClientError, NotFoundError, ValidationFailedError
from server.logs import get_logger
from server.middleware import refusal
from server.realtime.lobby import Lobby, Opening
from server.realtime.session import Asked, Session
from server.realtime.teller import Teller

PATH = "socket.io"
SHED_BYTES = 262_144
"""With more than this unsent, a client is spared what is not durable."""

_LAST_WORDS_S = 1.0
_SEPARATOR = "\x1e"
_TRANSPORTS = "use transports: ['websocket'] or switch on realtime.transports"

log = get_logger("server.connections")

# A client sends at once all that waited; the bytes of a payload are bounded, and that is enough.
Payload.max_decode_packets = 1_000


class _Json:
    """The JSON of the wire: refuses what JavaScript cannot hold, on the way in and out."""

    JSONDecodeError = orjson.JSONDecodeError

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str, **_: Any) -> Any:
        return read_json(text)


class _Packet(socketio_packet.Packet):  # type: ignore[misc]
    """A packet that nobody can use to make the server hold what it should not."""

    uses_binary_events = False

    def decode(self, encoded_packet: str) -> int:
        if super().decode(encoded_packet):
            message = "binary packets have no place here"
            raise ValueError(message)
        named = isinstance(self.data, list) and self.data and isinstance(self.data[0], str)
        if self.packet_type == socketio_packet.EVENT and not named:
            message = "an event is a list that begins with its name"
            raise ValueError(message)
        return 0


class _Output(asyncio.Queue[Any]):
    """What waits to be sent to one client, with its size."""

    unsent = 0

    def _put(self, item: Any) -> None:
        self.unsent += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.unsent -= _size(item)
        return item


def _size(item: Any) -> int:
    data = getattr(item, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


class _WebSocket(WebSocket):  # type: ignore[misc]
    """A WebSocket that ends at the first frame no client sends."""

    async def wait(self) -> str:
        frame = await super().wait()
        if not _is_engine_packet(frame):
            log.warning("connection cut", why="malformed frame")
            raise OSError
        return str(frame)


def _is_engine_packet(frame: object) -> bool:
    """Return whether this is text of a kind that clients send: close, ping, pong, message, …."""
    return isinstance(frame, str) and frame[:1] in set("123456")


class _Body:
    """The body of a request, which the library must get whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, _: int) -> bytes:
        return self._body


async def _environ(request: web.Request) -> dict[str, Any]:
    environ: dict[str, Any] = translate_request(request)
    body = await request.read()
    return {**environ, "wsgi.input": _Body(body), "CONTENT_LENGTH": str(len(body))}


class _Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO with queues that know their size, and without what would be held for nobody."""

    _async: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._async = {**self._async, "websocket": _WebSocket, "translate_request": _environ}
        # The connections of those who began with long polling and went on from there.
        self.upgrades = WeakValueDictionary[str, web.Request]()

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        transport = request.query.get("transport", "polling")
        if transport not in self.transports:
            allowed = _TRANSPORTS if transport == "polling" else f"must be of {self.transports}"
            return refusal(ValidationFailedError.of("transport", allowed))
        if transport == "websocket" and "sid" in request.query:
            self.upgrades[request.query["sid"]] = request
        if request.method == "POST":
            text = (await request.read()).decode(errors="replace")
            if not all(_is_engine_packet(packet) for packet in text.split(_SEPARATOR)):
                message = "This is not a payload of Engine.IO 4."
                return refusal(ValidationFailedError(message))
        response: web.StreamResponse = await super().handle_request(request)
        return response

    def create_queue(self, *args: Any, **kwargs: Any) -> _Output:
        return _Output(*args, **kwargs)


class _Line:
    """The way to one client, over the library's queue."""

    def __init__(self, engine: _Engine, eio_sid: str, request: web.Request, bound: int) -> None:
        self.transport = self
        self.address = request.remote or ""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        self.header_token = token.strip() if scheme.lower() == "bearer" else None
        self.query_token = "token" in request.query
        self.session: Session | None = None
        self.opening: Opening | None = None
        # Whether somebody is in or on the way in, and whether the client is gone.
        self.is_taken = self.is_gone = False
        self.since = asyncio.get_running_loop().time()
        self._timer: asyncio.TimerHandle | None = None
        self._engine = engine
        self._eio_sid = eio_sid
        self._request = request
        self._bound = bound
        self._ending: asyncio.Future[None] | None = None

    def hurry(self, within_s: float | None) -> None:
        """Cut the connection unless somebody is let in in time; None: there is no hurry now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if within_s is not None:
            self._timer = asyncio.get_running_loop().call_later(within_s, self.abort)

    def _queue(self) -> _Output | None:
        socket = self._engine.sockets.get(self._eio_sid)
        return None if socket is None or socket.closed else socket.queue

    def write(self, packet: str, *, durable: bool) -> None:
        queue = self._queue()
        if queue is None or (not durable and queue.unsent > SHED_BYTES):
            return
        if queue.unsent + len(packet) > self._bound:
            log.warning("connection cut", address=self.address, why="it does not read")
            self.abort()
            return
        queue.put_nowait(EnginePacket(MESSAGE, data=packet))

    async def room(self) -> None:
        """Wait until less than half of what may be unsent is unsent."""
        queue = self._queue()
        while queue is not None and queue.unsent > self._bound // 2:
            await asyncio.sleep(0.02)
            queue = self._queue()

    def end(self) -> None:
        """Close the connection after what is queued, or soon if the client does not read."""
        queue = self._queue()
        if queue is not None:
            queue.put_nowait(None)
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, self.abort)

    def abort(self) -> None:
        """Cut the connection now."""
        socket = self._engine.sockets.get(self._eio_sid)
        if socket is not None and not socket.upgraded:
            self._ending = asyncio.ensure_future(self._engine.disconnect(self._eio_sid))
            return
        request = self._engine.upgrades.get(self._eio_sid, self._request)
        if request.transport is not None:
            request.transport.abort()


class _Server(socketio.AsyncServer):  # type: ignore[misc]
    """Socket.IO with our own connecting and our own line of requests."""

    def __init__(self, sockets: "Sockets", **options: Any) -> None:
        self._sockets = sockets
        super().__init__(**options)

    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        self._sockets.arrived(eio_sid, environ["aiohttp.request"])

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._sockets.gone(eio_sid)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        try:
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # noqa: BLE001 (whatever a malformed frame does, it ends there)
            self._sockets.malformed(eio_sid, error)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        refused = self._sockets.refused(eio_sid, namespace or "/")
        if refused is not None:
            body = {"message": refused.message, "data": refused.to_wire()}
            packet = self.packet_class(
                socketio_packet.CONNECT_ERROR, data=body, namespace=namespace
            )
            await self._send_packet(eio_sid, packet)
            return
        await super()._handle_connect(eio_sid, namespace, data)
        self._sockets.begin(eio_sid)

    async def _handle_event(
        self, eio_sid: str, _: str | None, ack_id: int | None, data: list[Any]
    ) -> None:
        await self._sockets.asked(eio_sid, ack_id, data)

    async def _handle_ack(self, *_: Any) -> None:
        """Ignore acknowledgements: the server never asks for one."""


class Sockets:
    """The Socket.IO door."""

    def __init__(self, settings: Settings, lobby: Lobby, teller: Teller) -> None:
        """Make the door; `attach()` hangs it into an application."""
        self._settings = settings
        self._lobby = lobby
        self._teller = teller
        self._lines: dict[str, _Line] = {}
        realtime = settings.realtime
        self._server = _Server(
            self,
            async_mode="aiohttp",
            serializer=_Packet,
            json=_Json,
            transports=list(realtime.transports),
            # Origins are judged for all doors at once, in front of this one.
            cors_allowed_origins=[],
            max_http_buffer_size=settings.limits.event_bytes,
            ping_interval=realtime.ping_interval_s,
            ping_timeout=realtime.ping_timeout_s,
            namespaces=["/"],
            logger=False,
            engineio_logger=False,
        )
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)

    def attach(self, app: web.Application) -> None:
        """Serve Socket.IO under its path of an application."""
        self._server.attach(app, PATH)

    # What the library's callbacks mean

    def arrived(self, eio_sid: str, request: web.Request) -> None:
        """Give a fresh connection a few seconds to say who it is."""
        limits = self._settings.limits
        line = _Line(self._server.eio, eio_sid, request, limits.output_bytes)
        self._lines[eio_sid] = line
        line.hurry(limits.authenticate_s)

    def refused(self, eio_sid: str, namespace: str) -> ClientError | None:
        """Return why this connection must not be opened now, if it must not."""
        line = self._lines.get(eio_sid)
        if namespace != "/":
            return NotFoundError("There is no such namespace; connect to /.")
        if line is None or line.is_taken:
            return ValidationFailedError("This connection is connected already.")
        line.is_taken = True
        return None

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:  # noqa: ARG002
        line = self._lines.get(self._server.manager.eio_sid_from_sid(sid, "/"))
        if line is None:
            raise Refusal
        try:
            line.opening = await self._lobby.open(line, auth)
        except ClientError as error:
            line.is_taken = False
            raise Refusal(error.message, error.to_wire()) from error
        if line.is_gone:
            # It left while it was being let in.
            self._end(line, "transport close")

    def begin(self, eio_sid: str) -> None:
        """Start a session whose client has just been told that it is in."""
        line = self._lines.get(eio_sid)
        if line is None or line.opening is None:
            return
        line.session, opening, line.opening = line.opening.session, line.opening, None
        line.hurry(None)
        opening.begin()
        took = (asyncio.get_running_loop().time() - line.since) * 1_000
        log.info(
            "connected",
            user=line.session.user_id,
            address=line.address,
            code="ok",
            ms=round(took, 1),
        )

    async def asked(self, eio_sid: str, ack_id: int | None, data: list[Any]) -> None:
        """Put a request in its session's line."""
        line = self._lines.get(eio_sid)
        if line is not None and line.session is not None:
            await line.session.ask(Asked(data[0], data[1] if len(data) > 1 else {}, ack_id))

    def malformed(self, eio_sid: str, error: Exception) -> None:
        """End a connection that sent what no client sends."""
        line = self._lines.get(eio_sid)
        if line is not None:
            log.warning("connection cut", address=line.address, why=f"malformed frame: {error}")
            line.abort()

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        """End the session of a client that left; the library may call this a second time."""
        line = self._lines.get(self._server.manager.eio_sid_from_sid(sid, "/"))
        if line is not None:
            line.hurry(self._settings.limits.authenticate_s)
            self._end(line, reason)

    def gone(self, eio_sid: str) -> None:
        """Forget a connection that has ended, whether or not it had a session."""
        line = self._lines.pop(eio_sid, None)
        if line is not None:
            line.hurry(None)
            line.is_gone = True
            self._end(line, "transport close")

    def _end(self, line: _Line, reason: str) -> None:
        session = line.session or (line.opening.session if line.opening else None)
        line.session = line.opening = None
        line.is_taken = False
        if session is None:
            return
        session.end()
        self._teller.typists.gone(session.id)
        took = asyncio.get_running_loop().time() - line.since
        log.info("disconnected", user=session.user_id, why=str(reason), seconds=round(took, 1))

    async def close(self) -> None:
        """End all connections; clients come back by themselves, to whoever serves them then."""
        for line in list(self._lines.values()):
            line.end()
        deadline = asyncio.get_running_loop().time() + _LAST_WORDS_S + 0.3
        # The library tells nobody when it is done.
        while self._server.eio.sockets and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for line in list(self._lines.values()):
            line.abort()
        await self._server.shutdown()
