"""Socket.IO itself: the only place that knows the library, and what it must be guarded against.

Sessions read and write through here; which frame means what is decided elsewhere. The library's own
rooms, handlers and tasks per event are not used: requests wait in each session's bounded line, and
packets that are encoded already go straight into each connection's queue.
"""

import asyncio
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import engineio
import orjson
import socketio
from aiohttp import web
from engineio.async_drivers.aiohttp import WebSocket, translate_request
from engineio.async_socket import AsyncSocket
from engineio.packet import MESSAGE, NOOP
from engineio.packet import Packet as EnginePacket
from engineio.payload import Payload
from socketio import packet as socketio_packet
from socketio.exceptions import ConnectionRefusedError as Refusal

from server.config import Settings
from server.dispatch import read_json
from server.errors import ClientError, NotFoundError, UnavailableError, ValidationFailedError
from server.logs import get_logger
from server.middleware import refusal
from server.realtime.connection import LAST_WORDS_S, Connection, end_all
from server.realtime.frames import Frame
from server.realtime.lobby import Lobby
from server.realtime.output import Output
from server.realtime.session import Asked, Ending
from server.realtime.teller import Teller

PATH = "socket.io"

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


class _WebSocket(WebSocket):  # type: ignore[misc]
    """A WebSocket that ends at the first frame no client sends, and compresses nothing."""

    async def __call__(self, environ: dict[str, Any]) -> web.StreamResponse:
        # Compressing costs about 100 KiB of memory for each connection.
        bound = self.server.max_http_buffer_size
        self._sock = web.WebSocketResponse(max_msg_size=bound, compress=False)
        await self._sock.prepare(environ["aiohttp.request"])
        self.environ = environ
        await self.handler(self)
        return self._sock

    async def wait(self) -> str:
        frame = await super().wait()
        if not _is_engine_packet(frame):
            address = self.environ["aiohttp.request"].remote or ""
            log.warning("connection cut", address=address, why="malformed frame")
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
        self.is_stopping = False

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        if self.is_stopping and "sid" not in request.query:
            # Who polls comes back at once, over a connection that is open still.
            return refusal(UnavailableError())
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

    def create_queue(self, *args: Any, **kwargs: Any) -> Output:
        return Output(*args, **kwargs)


class _Connection(Connection):
    """A client of Socket.IO, over the library's queue."""

    def __init__(self, engine: _Engine, eio_sid: str, request: web.Request, **house: Any) -> None:
        super().__init__(request, **house)
        # Whether somebody is in or on the way in.
        self.is_taken = False
        self._engine = engine
        self._eio_sid = eio_sid
        self._request = request
        self._ending: asyncio.Future[None] | None = None

    @property
    def _socket(self) -> AsyncSocket | None:
        return self._engine.sockets.get(self._eio_sid)

    @property
    def _polls(self) -> bool:
        return self._socket is not None and not self._socket.upgraded

    def output(self) -> Output | None:
        socket = self._socket
        return None if socket is None or socket.closed else socket.queue

    def wired(self, frame: Frame) -> EnginePacket:
        return EnginePacket(MESSAGE, data=frame.packet)

    def end(self, why: Ending) -> None:
        output = self.output()
        if why is Ending.LATE or output is None or (self._polls and output.empty()):
            self.abort()
            return
        if not self._polls:
            output.put_nowait(None)
        asyncio.get_running_loop().call_later(LAST_WORDS_S, self.abort)

    def abort(self) -> None:
        socket = self._socket
        if socket is not None and self._polls:
            # Without a packet that says so: the Python client does not come back after one.
            reason = self._engine.reason.SERVER_DISCONNECT
            self._ending = asyncio.ensure_future(
                socket.close(wait=False, abort=True, reason=reason)
            )
            return
        request = self._engine.upgrades.get(self._eio_sid, self._request)
        if request.transport is not None:
            request.transport.abort()

    def gone(self) -> None:
        super().gone()
        socket = self._socket
        if socket is not None and self._polls:
            # The request that waits for news; some clients wait for its end.
            socket.queue.put_nowait(EnginePacket(NOOP))

    def leave(self, reason: str) -> None:
        super().leave(reason)
        self.is_taken = False


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
        self._connections: dict[str, _Connection] = {}
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
        self._connection = partial(
            _Connection, self._server.eio, lobby=lobby, teller=teller, limits=settings.limits
        )

    def attach(self, app: web.Application) -> None:
        """Serve Socket.IO under its path of an application."""
        self._server.attach(app, PATH)

    # What the library's callbacks mean

    def arrived(self, eio_sid: str, request: web.Request) -> None:
        """Give a fresh connection a few seconds to say who it is."""
        connection = self._connections[eio_sid] = self._connection(eio_sid, request)
        connection.hurry()

    def refused(self, eio_sid: str, namespace: str) -> ClientError | None:
        """Return why this connection must not be opened now, if it must not."""
        connection = self._connections.get(eio_sid)
        if namespace != "/":
            return NotFoundError("There is no such namespace; connect to /.")
        if connection is None or connection.is_taken:
            return ValidationFailedError("This connection is connected already.")
        connection.is_taken = True
        return None

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:  # noqa: ARG002
        connection = self._by_sid(sid)
        if connection is None:
            raise Refusal
        try:
            await connection.let_in(auth)
        except ClientError as error:
            connection.is_taken = False
            raise Refusal(error.message, error.to_wire()) from error

    def _by_sid(self, sid: str) -> _Connection | None:
        return self._connections.get(self._server.manager.eio_sid_from_sid(sid, "/"))

    def begin(self, eio_sid: str) -> None:
        """Start a session whose client has just been told that it is in."""
        connection = self._connections.get(eio_sid)
        if connection is not None:
            connection.begin()

    async def asked(self, eio_sid: str, ack_id: int | None, data: list[Any]) -> None:
        """Put a request in its session's line."""
        connection = self._connections.get(eio_sid)
        if connection is not None and connection.session is not None:
            await connection.session.ask(Asked(data[0], data[1] if len(data) > 1 else {}, ack_id))

    def malformed(self, eio_sid: str, error: Exception) -> None:
        """End a connection that sent what no client sends."""
        connection = self._connections.get(eio_sid)
        if connection is not None:
            connection.malformed(error)
            connection.abort()

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        """End the session of a client that left; the library may call this a second time."""
        connection = self._by_sid(sid)
        if connection is not None:
            connection.hurry()
            connection.leave(str(reason))

    def gone(self, eio_sid: str) -> None:
        """Forget a connection that has ended, whether or not it had a session."""
        connection = self._connections.pop(eio_sid, None)
        if connection is not None:
            connection.gone()

    async def close(self) -> None:
        """End all connections; clients come back by themselves, to whoever serves them then."""
        self._server.eio.is_stopping = True
        sockets = self._server.eio.sockets

        def remain() -> bool:
            return any(not socket.closed for socket in sockets.values())

        await end_all(list(self._connections.values()), remain=remain)
        await self._server.shutdown()
