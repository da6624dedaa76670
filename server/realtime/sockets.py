"""The Socket.IO door: clients by WebSocket, and by long polling where that is switched on.

Requests wait in each session's bounded line, and what a WebSocket's client is told goes straight to
its transport. The library's own way, a task for each event and a queue for each client, is left to
those who poll.
"""

import asyncio
from typing import Any

import socketio
from aiohttp import web
from socketio import packet as socketio_packet

from server.config import Settings
from server.errors import ClientError, NotFoundError, ValidationFailedError
from server.middleware import whole_body
from server.realtime.bus import Bus
from server.realtime.connection import Connection, Entrance, Everybody
from server.realtime.engine import Engine, Json, Manager, Packet, decoded, is_engine_packet
from server.realtime.handshake import Handshake
from server.realtime.polling import Polling
from server.realtime.session import Asked
from server.realtime.streaming import Streaming
from server.realtime.websocket import framed

PATH = "socket.io"

_CONNECTED = '0{"sid":"%s"}'
"""Socket.IO's CONNECT, to somebody whose name for the library is known to be plain."""
_SEPARATOR = "\x1e"
_PACKETS = 16
"""The packets of one payload: what the library takes."""
_TRANSPORTS = "use transports: ['websocket'] or switch on realtime.transports"


class _Server(socketio.AsyncServer):  # type: ignore[misc]
    """Socket.IO with our own connecting and our own line of requests."""

    def __init__(self, entrance: Entrance, everybody: Everybody, bus: Bus, **options: Any) -> None:
        super().__init__(client_manager=Manager(bus), **options)
        self._entrance = entrance
        self._everybody = everybody
        self._polling: dict[str, Polling] = {}
        self.on("disconnect", self._disconnected)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    # Coming in

    def arrive(self, request: web.Request, opening: str) -> web.StreamResponse:
        """Take a client by WebSocket; `opening` is what it is told first, but for its id."""
        client = self._client(request, self._entrance.admit(request))
        taken = client.take_over(request, first=_first(opening, client))
        self._remember(client)
        return taken

    def arrive_at_once(
        self, request: Handshake, transport: asyncio.Transport, tail: bytes, opening: str
    ) -> bool:
        """Do the same with a request that aiohttp was not shown; False if it must be refused."""
        address = self._entrance.address(request)
        if not self._entrance.has_room(address):
            return False
        client = self._client(request, address)
        client.take_at_once(request, transport, first=_first(opening, client), tail=tail)
        self._remember(client)
        return True

    def _client(self, request: Handshake, address: str) -> Streaming:
        return Streaming(request, self._entrance, address, self, self.eio.generate_id())

    def _remember(self, client: Streaming) -> None:
        self._everybody.add(client)
        self.eio.sockets[client.sid] = client

    async def enter(
        self, connection: Streaming | Polling, namespace: str | None, auth: Any
    ) -> None:
        """Answer CONNECT, and begin the session of somebody with a valid token."""
        try:
            _require_place(connection, namespace)
            connection.is_taken = True
            await self._let_in(connection, auth)
        except ClientError as error:
            body = {"message": error.message, "data": error.to_wire()}
            packet = Packet(socketio_packet.CONNECT_ERROR, data=body, namespace=namespace)
            connection.say(packet.encode())

    async def _let_in(self, connection: Streaming | Polling, auth: Any) -> None:
        try:
            await connection.let_in(auth)
        except ClientError:
            connection.is_taken = False
            raise
        if connection.is_gone:
            return
        connection.welcome(_CONNECTED % self.manager.admit(connection.eio_sid))

    # Going

    def left(self, client: Streaming) -> None:
        """End the session of a client that says it leaves; the connection may live on."""
        client.hurry()
        client.leave("client disconnect")
        self._forget(client)

    def gone(self, client: Streaming) -> None:
        """Forget a client whose connection has ended."""
        self._forget(client)
        self.eio.sockets.pop(client.sid, None)
        self._everybody.discard(client)

    @property
    def polling(self) -> int:
        """Return how many began with long polling."""
        return len(self._polling)

    def _forget(self, client: Streaming) -> None:
        sid = self.manager.sid_from_eio_sid(client.sid, "/")
        if sid is not None:
            self.manager.basic_disconnect(sid, "/")

    async def _disconnected(self, sid: str, reason: str = "") -> None:
        """End the session of somebody whom the library sends away, or who polls and left."""
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        connection = self._polling.get(eio_sid) or self.eio.sockets.get(eio_sid)
        if isinstance(connection, Connection):
            connection.hurry()
            connection.leave(str(reason))

    # What the library calls for those who poll

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        request, entrance = environ["aiohttp.request"], self._entrance
        polling = Polling(request, entrance, entrance.address(request), self.eio, eio_sid)
        self._polling[eio_sid] = polling
        self._everybody.add(polling)
        polling.hurry()

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        polling = self._polling.pop(eio_sid, None)
        if polling is not None:
            polling.gone()
            self._everybody.discard(polling)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        try:
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # noqa: BLE001 (whatever a malformed frame does, it ends there)
            polling = self._polling.get(eio_sid)
            if polling is not None:
                polling.malformed(error)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        polling = self._polling.get(eio_sid)
        if polling is not None:
            await self.enter(polling, namespace, data)

    async def _handle_event(
        self, eio_sid: str, namespace: str | None, ack_id: int | None, data: list[Any]
    ) -> None:
        polling = self._polling.get(eio_sid)
        if polling is None or polling.session is None or namespace not in (None, "/"):
            return
        await polling.session.ask(Asked(data[0], data[1] if len(data) > 1 else {}, ack_id))

    def malformed(self, eio_sid: str, error: Exception) -> None:
        """End the connection of somebody who polls and sent what no client sends."""
        polling = self._polling.get(eio_sid)
        if polling is not None and polling.polls:
            polling.malformed(error)

    async def _handle_ack(self, *_: Any) -> None:
        """Ignore acknowledgements: the server never asks for one."""


def _first(opening: str, client: Streaming) -> bytes:
    return framed((opening % client.sid).encode())


def _require_place(connection: Streaming | Polling, namespace: str | None) -> None:
    if namespace not in (None, "/"):
        message = "There is no such namespace; connect to /."
        raise NotFoundError(message)
    if connection.is_taken:
        message = "This connection is connected already."
        raise ValidationFailedError(message)


class Sockets:
    """The Socket.IO door."""

    def __init__(self, settings: Settings, entrance: Entrance, bus: Bus) -> None:
        """Make the door; `attach()` hangs it into an application."""
        realtime = settings.realtime
        self._entrance = entrance
        self.everybody = Everybody()
        self.library = _Server(
            entrance,
            self.everybody,
            bus,
            async_mode="aiohttp",
            serializer=Packet,
            json=Json,
            transports=list(realtime.transports),
            # Origins are judged for all doors at once, in front of this one.
            cors_allowed_origins=[],
            max_http_buffer_size=settings.limits.event_bytes,
            ping_interval=realtime.ping_interval_s,
            ping_timeout=realtime.ping_timeout_s,
            # It looks at every socket in turn; only those who poll need it.
            monitor_clients="polling" in realtime.transports,
            namespaces=["/"],
            logger=False,
            engineio_logger=False,
        )
        self._transports = realtime.transports
        opening = {
            "sid": "%s",
            "upgrades": [],
            "pingTimeout": int(realtime.ping_timeout_s * 1_000),
            "pingInterval": int(realtime.ping_interval_s * 1_000),
            "maxPayload": settings.limits.event_bytes,
        }
        self._opening = "0" + Json.dumps(opening)

    def take(self, request: Handshake, transport: asyncio.Transport, tail: bytes) -> bool:
        """Serve somebody who asks for a WebSocket in the plainest way; False if they may not."""
        is_spoken = "websocket" in self._transports
        return is_spoken and self.library.arrive_at_once(request, transport, tail, self._opening)

    def attach(self, app: web.Application) -> None:
        """Serve Socket.IO under its path of an application."""
        for method in ("GET", "POST", "OPTIONS"):
            app.router.add_route(method, f"/{PATH}/", self._serve)
        # The library would do it with the first request that it is shown.
        self.library.manager_initialized = True
        self.library.manager.initialize()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        transport = query.get("transport", "polling")
        if transport not in self._transports:
            allowed = _TRANSPORTS if transport == "polling" else f"must be of {self._transports}"
            raise ValidationFailedError.of("transport", allowed)
        if "j" in query:
            raise ValidationFailedError.of("j", "JSONP is not spoken here")
        if transport == "websocket" and "sid" not in query and query.get("EIO") == "4":
            return self.library.arrive(request, self._opening)
        return await self._polled(request)

    async def _polled(self, request: web.Request) -> web.StreamResponse:
        """Let the library answer, once it is sure that it can."""
        sid = request.query.get("sid")
        if sid is None:
            # Who polls comes back at once, over a connection that is open still.
            self._entrance.admit(request)
        if request.query.get("transport") == "websocket" and sid is not None:
            self.library.eio.upgrades[sid] = request
        if request.method == "POST" and sid is not None:
            self._require_payload(sid, await whole_body(request))
        response: web.StreamResponse = await self.library.handle_request(request)
        return response

    def _require_payload(self, sid: str, body: bytes) -> None:
        """Refuse a payload with anything in it that no client sends, before any of it is done."""
        try:
            _require_packets(body.decode().split(_SEPARATOR))
        except ValueError as error:
            self.library.malformed(sid, error)
            message = f"This is not a payload of Engine.IO 4: {error}"
            raise ValidationFailedError(message) from error

    @property
    def polling(self) -> int:
        """Return how many of the connections began with long polling."""
        return self.library.polling

    async def close(self) -> None:
        """End all connections; clients come back by themselves, to whoever serves them then."""
        await self.everybody.end()
        await self.library.shutdown()
        await self.library.manager.shutdown()


def _require_packets(packets: list[str]) -> None:
    if len(packets) > _PACKETS:
        message = f"a payload holds at most {_PACKETS} packets"
        raise ValueError(message)
    for packet in packets:
        if not is_engine_packet(packet):
            message = "there is no such packet"
            raise ValueError(message)
        if packet.startswith("4"):
            decoded(packet[1:])
