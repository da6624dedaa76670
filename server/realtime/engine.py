"""Socket.IO's and Engine.IO's servers as we use them: what they must be guarded against.

The only place that knows the libraries, with `sockets.py`. Their rooms, handlers and tasks per
event are not used by us, but they work: who emits through the library reaches everybody who is in,
on all nodes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import engineio
import orjson
from aiohttp import web
from engineio.async_drivers.aiohttp import WebSocket, translate_request
from engineio.async_socket import AsyncSocket
from socketio import packet as socketio_packet
from socketio.async_pubsub_manager import AsyncPubSubManager

from server.dispatch import read_json
from server.events import Event, Room
from server.ids import secret_id
from server.logs import get_logger
from server.middleware import whole_body
from server.realtime.bus import Bus
from server.realtime.output import Output

_ID_DIGITS = 15
_LOOK_EVERY_S = 1.0
_WAITING = 1_000
_OUR_ROOMS = {"conversation": Room.CONVERSATION, "user": Room.USER}

log = get_logger("server.connections")


class Json:
    """The JSON of the wire: refuses what JavaScript cannot hold, on the way in and out."""

    JSONDecodeError = orjson.JSONDecodeError

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Return the JSON of a value."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str, **_: Any) -> Any:
        """Return the value of a JSON."""
        return read_json(text)


class Packet(socketio_packet.Packet):  # type: ignore[misc]
    """A packet that nobody can use to make the server hold what it should not."""

    uses_binary_events = False

    def decode(self, encoded_packet: str) -> int:
        """Take a packet apart; raises ValueError if no client sends it."""
        if super().decode(encoded_packet):
            message = "binary packets have no place here"
            raise ValueError(message)
        if self.packet_type in (socketio_packet.BINARY_EVENT, socketio_packet.BINARY_ACK):
            message = "binary packets have no place here"
            raise ValueError(message)
        if self.packet_type not in range(4):
            message = "no client sends such a packet"
            raise ValueError(message)
        if self.packet_type == socketio_packet.EVENT:
            require_event(self.data)
            if self.id is not None and len(str(self.id)) > _ID_DIGITS:
                message = "the id of an event is too long"
                raise ValueError(message)
        return 0


def decoded(text: str) -> Packet:
    """Return the packet of an Engine.IO message; raises ValueError if no client sends it."""
    if not text:
        message = "an empty packet"
        raise ValueError(message)
    return Packet(encoded_packet=text)


def require_event(data: object) -> None:
    """Refuse an event without a name."""
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        message = "an event is a list that begins with its name"
        raise ValueError(message)


def event(packet: bytearray) -> tuple[int | None, list[Any]] | None:
    """Return id and data of an Engine.IO message that is an event; None if it is another packet.

    Raises ValueError if no client sends it.
    """
    if not packet.startswith(b"42"):
        return None
    at = packet.find(b"[", 2, 2 + _ID_DIGITS + 1)
    digits = packet[2:at]
    if at < 0 or (digits and not digits.isdigit()):
        return None
    data = read_json(bytes(packet[at:]))
    require_event(data)
    return (int(digits) if digits else None), data


class _UpgradeSocket(WebSocket):  # type: ignore[misc]
    """The WebSocket of somebody who began with polling; it ends at the first malformed frame."""

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
        if not is_engine_packet(frame):
            address = self.environ["aiohttp.request"].remote or ""
            log.warning("connection cut", address=address, why="malformed frame")
            raise OSError
        return str(frame)


def is_engine_packet(frame: object) -> bool:
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
    body = await whole_body(request)
    return {**environ, "wsgi.input": _Body(body), "CONTENT_LENGTH": str(len(body))}


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO with queues that know their size, and without what would be held for nobody."""

    _async: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        """Take the options of the library's server."""
        super().__init__(**options)
        self._async = {
            **self._async,
            "websocket": _UpgradeSocket,
            "translate_request": _environ,
        }
        # The connections of those who began with long polling and went on from there.
        self.upgrades = WeakValueDictionary[str, web.Request]()

    def generate_id(self) -> str:
        """Return a name that nobody can guess, for a connection or for who came by it."""
        return secret_id()

    def create_queue(self, *args: Any, **kwargs: Any) -> Output:
        """Return what a client's packets wait in."""
        return Output(*args, **kwargs)

    async def _service_task(self) -> None:
        """Look after those who poll; the library looks at each socket, ours among them, in turn."""
        self.service_task_event = stop = asyncio.Event()
        while not stop.is_set():
            for socket in [one for one in self.sockets.values() if isinstance(one, AsyncSocket)]:
                if socket.closed:
                    self.sockets.pop(socket.sid, None)
                elif not socket.closing:
                    await socket.check_ping_timeout()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_EVERY_S)


class _OwnRooms:
    """In front of a manager of the library: a client's own room costs nothing.

    The library keeps a room for each client, with the client alone in it, about 2 KiB.
    """

    rooms: dict[str, dict[str | None, Any]]

    def basic_enter_room(
        self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None
    ) -> None:
        """Let a client into a room; in its own it is without this."""
        if room != sid:
            super().basic_enter_room(sid, namespace, room, eio_sid)  # type: ignore[misc]

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """Return who is in a room, or in any of several; None is everybody."""
        everybody = self.rooms.get(namespace, {}).get(None, {})
        names = [room] if isinstance(room, str) else list(room or ())
        own = {name: everybody[name] for name in names if name in everybody}
        yield from own.items()
        others: Iterator[tuple[str, str]] = super().get_participants(namespace, room)  # type: ignore[misc]
        yield from (other for other in others if other[0] not in own)

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        """Return the rooms a client is in."""
        rooms: list[str] = super().get_rooms(sid, namespace)  # type: ignore[misc]
        return [sid, *rooms]


class Manager(_OwnRooms, AsyncPubSubManager):  # type: ignore[misc]
    """Who is in, as the library knows it, here and on other nodes.

    What the library's server is asked to emit, to move between rooms or to send away is done
    wherever the clients are. Its rooms `conversation:{id}` and `user:{id}` are ours: everybody who
    has a seat there, by whichever door they came.
    """

    name = "palabre"

    def __init__(self, bus: Bus) -> None:
        """Speak to other nodes by our bus."""
        super().__init__()
        self._bus = bus
        self._heard: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self.thread: asyncio.Task[None] | None = None

    def admit(self, eio_sid: str) -> str:
        """Know somebody as connected, and return their name.

        The library does it in two steps, because its handlers might say no in between.
        """
        sid: str = self.server.eio.generate_id()
        self.basic_enter_room(sid, "/", None, eio_sid=eio_sid)
        return sid

    def initialize(self) -> None:
        """Begin to hear what other nodes say."""
        if self.thread is None:
            self._bus.hear_library(self._hear)
            super().initialize()

    async def shutdown(self) -> None:
        """Stop hearing."""
        if self.thread is not None:
            self.thread.cancel()
            await asyncio.gather(self.thread, return_exceptions=True)

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str | None = None,
        room: Any = None,
        **options: Any,
    ) -> None:
        """Emit an event to everybody, a room, several rooms or one client."""
        room = options.pop("to", None) or room
        ours = our_room(room)
        if ours is None:
            await super().emit(event, data, namespace or "/", room, **options)
        else:
            self._bus.publish(Event(event, *ours, orjson.dumps(data)))

    async def _publish(self, data: dict[str, Any]) -> None:
        self._bus.tell_library(orjson.dumps(data))

    async def _listen(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._heard.get()

    def _hear(self, message: bytes) -> None:
        try:
            self._heard.put_nowait(message)
        except asyncio.QueueFull:
            log.warning("what was said through the library came too fast, and is lost")


def our_room(room: object) -> tuple[Room, str] | None:
    """Return which of our rooms the library's name of one means; None if none."""
    kind, _, target = room.partition(":") if isinstance(room, str) else ("", "", "")
    if not target or kind not in _OUR_ROOMS:
        return None
    return _OUR_ROOMS[kind], target
