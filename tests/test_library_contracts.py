"""What we take from the insides of libraries; red here means: read their changes.

pyproject.toml pins the libraries to the minor, so that only a deliberate step can bring this.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
from aiohttp import web
from aiohttp._websocket.helpers import websocket_mask
from engineio.async_socket import AsyncSocket
from engineio.payload import Payload
from redis.asyncio.connection import Connection
from socketio.async_pubsub_manager import AsyncPubSubManager

from server.listener import Listener
from server.realtime.bus import MemoryBus
from server.realtime.engine import Engine, Manager
from server.realtime.handshake import TAKEN, accepted, take_over
from server.realtime.websocket import MalformedError, Turn, WebSocket, framed
from tests.eventually import becomes
from tests.wire import CLOSE, TEXT, Wire, frame

pytestmark = pytest.mark.one_database


class Echo:
    """Says everything back."""

    def __init__(self) -> None:
        self.wire = WebSocket(self, Turn(), limit=100)
        self.events: list[str] = []

    def heard(self, text: bytearray) -> None:
        self.events.append(text.decode())
        self.wire.write(framed(bytes(text)))

    def ponged(self) -> None:
        self.events.append("pong")

    def malformed(self, error: MalformedError) -> None:
        self.events.append(str(error))
        self.wire.abort()

    def slowed(self) -> None:
        self.events.append("slowed")

    def quickened(self) -> None:
        self.events.append("quickened")

    def goodbye(self) -> None:
        self.events.append("goodbye")

    def gone(self) -> None:
        self.events.append("gone")


ECHOES = web.AppKey("echoes", list[Echo])


@pytest.fixture
async def runner() -> AsyncIterator[web.AppRunner]:
    """An aiohttp server that gives each connection away to an `Echo`."""
    app = web.Application()
    app[ECHOES] = []

    async def give_away(request: web.Request) -> web.StreamResponse:
        echo = Echo()
        app[ECHOES].append(echo)
        take_over(request, echo.wire, accepted(request))
        return TAKEN

    app.router.add_get("/", give_away)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner
    await runner.cleanup()


async def test_aiohttp_lets_a_connection_go_and_keeps_nothing_of_it(runner: web.AppRunner) -> None:
    wire = await Wire.to(f"http://127.0.0.1:{runner.addresses[0][1]}")
    before = len(asyncio.all_tasks())

    # Behind the request, in the same segment: a frame and half of the next.
    late = frame("second")
    asked = (
        b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    wire.puts(asked + frame("first") + late[:3])
    status, headers = await wire._heads()
    assert (status, headers["sec-websocket-accept"]) == (101, "s3pplmbitxaq9kygzzhzrbk+xoo=")
    assert await wire.next() == (TEXT, b"first")
    wire.puts(late[3:])
    assert await wire.next() == (TEXT, b"second")

    assert runner.server is not None
    assert runner.server.connections == []
    assert len(asyncio.all_tasks()) < before  # what waited for the request has ended
    (echo,) = runner.app[ECHOES]
    wire.puts(frame((1000).to_bytes(2), CLOSE))
    assert (await wire.next())[0] == CLOSE
    await wire.ended()
    assert echo.events == ["first", "second", "goodbye", "gone"]


async def test_a_transport_says_at_once_that_it_holds_too_much(runner: web.AppRunner) -> None:
    wire = await Wire.to(f"http://127.0.0.1:{runner.addresses[0][1]}", receive_bytes=4_096)
    assert await wire.upgrades("/") == 101
    (echo,) = runner.app[ECHOES]
    transport: Any = echo.wire.transport
    assert transport.max_size == 65_536
    assert type(transport).max_size == 262_144

    assert transport.get_write_buffer_limits() == (0, 0)

    sent = 0
    while not transport.get_write_buffer_size():
        assert echo.events == []
        transport.write(b"x" * 500)
        sent += 500
    assert echo.events == ["slowed"]
    with pytest.raises(BlockingIOError):
        echo.wire.send(b"too many")
    await wire.reader.readexactly(sent)
    assert echo.events == ["slowed", "quickened"]
    wire.cut()


async def test_below_a_transport_is_the_socket_itself(runner: web.AppRunner) -> None:
    wire = await Wire.to(f"http://127.0.0.1:{runner.addresses[0][1]}")
    assert await wire.upgrades("/") == 101
    (echo,) = runner.app[ECHOES]

    assert echo.wire.send(framed(b"past the transport")) == 20
    assert await wire.next() == (TEXT, b"past the transport")
    wire.cut()


class Kitchen:
    """An application behind our listener; `/slow` is served when somebody says so."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.may_serve = asyncio.Event()
        self.cooks: list[str] = []
        app = web.Application()
        app.router.add_route("*", "/{dish}", self._serve)
        self.runner = Listener(app, lambda others: others, access_log=None, shutdown_timeout=0.1)

    @property
    def server(self) -> web.Server:
        assert self.runner.server is not None
        return self.runner.server

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        dish = request.match_info["dish"]
        task: Any = asyncio.current_task()
        self.cooks.append(task.get_coro().__name__)
        if dish == "slow":
            try:
                await self.may_serve.wait()
            except asyncio.CancelledError:
                self.served.append("cancelled")
                raise
        self.served.append(dish)
        return web.Response(body=await request.read() or dish.encode())


@pytest.fixture
async def kitchen() -> AsyncIterator[Kitchen]:
    kitchen = Kitchen()
    await kitchen.runner.setup()
    await web.TCPSite(kitchen.runner, "127.0.0.1", 0).start()
    yield kitchen
    await kitchen.runner.cleanup()


async def orders(kitchen: Kitchen) -> Wire:
    wire = await Wire.to(f"http://127.0.0.1:{kitchen.runner.addresses[0][1]}")
    assert await wire.answered("GET", "/hello") == (200, "hello")
    return wire


async def test_aiohttp_lets_a_request_be_answered_beside_its_own_task(kitchen: Kitchen) -> None:
    wire = await orders(kitchen)
    kitchen.cooks.clear()
    idle = len(asyncio.all_tasks())

    for _ in range(2):
        assert await wire.answered("GET", "/soup") == (200, "soup")
        body = {"Content-Length": "5"}
        assert await wire.answered("POST", "/other", [b"sa", b"uce"], **body) == (200, "sauce")
    assert len(asyncio.all_tasks()) == idle
    assert kitchen.cooks == ["_answer", "_handle_request"] * 2

    # While one is prepared the next ones come, and are served in line.
    wire.puts(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n")
    await becomes(lambda: kitchen.server.requests_count == 6)
    wire.puts(b"GET /b HTTP/1.1\r\nHost: here\r\n\r\n")
    wire.puts(b"GET /c HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    (connection,) = kitchen.server.connections
    await becomes(lambda: len(connection._messages) == 2)
    kitchen.may_serve.set()
    for dish in (b"slow", b"b", b"c"):
        status, headers = await wire._heads()
        said = await wire.reader.readexactly(int(headers["content-length"]))
        assert (status, said) == (200, dish)
    await wire.ended()
    assert kitchen.server.connections == []


async def test_what_is_asked_is_given_up_with_the_server_but_not_with_whoever_asks(
    kitchen: Kitchen,
) -> None:
    server = kitchen.server
    leaves, stays = await orders(kitchen), await orders(kitchen)
    for wire in (leaves, stays):
        wire.puts(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n")
    await becomes(lambda: server.requests_count == 4)

    leaves.cut()
    await becomes(lambda: [bool(one.transport) for one in server.connections].count(True) == 1)
    assert kitchen.served == ["hello", "hello"]
    await kitchen.runner.cleanup()

    await stays.ended()
    await becomes(lambda: kitchen.served[2:] == ["cancelled", "cancelled"])


def test_the_mask_is_taken_off_where_it_is() -> None:
    data = bytearray(b"abcde")
    websocket_mask(b"\x01\x02\x03\x04", data)
    assert data == bytes((0x60, 0x60, 0x60, 0x60, 0x64))


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (Engine, "handle_request", None),
        (Engine, "_service_task", []),
        (AsyncSocket, "check_ping_timeout", []),
        (AsyncSocket, "close", ["wait", "abort", "reason"]),
        (AsyncSocket, "send", ["pkt"]),
        (socketio.AsyncServer, "_handle_eio_connect", ["eio_sid", "environ"]),
        (socketio.AsyncServer, "_handle_eio_message", ["eio_sid", "data"]),
        (socketio.AsyncServer, "_handle_eio_disconnect", ["eio_sid", "reason"]),
        (socketio.AsyncServer, "_handle_connect", ["eio_sid", "namespace", "data"]),
        (socketio.AsyncServer, "_handle_event", ["eio_sid", "namespace", "id", "data"]),
        (socketio.AsyncServer, "_handle_ack", ["eio_sid", "namespace", "id", "data"]),
        (socketio.AsyncManager, "connect", ["sid", "namespace"]),
        (AsyncPubSubManager, "_publish", ["data"]),
        (AsyncPubSubManager, "_listen", []),
        (AsyncPubSubManager, "_thread", []),
        (
            AsyncPubSubManager,
            "emit",
            ["event", "data", "namespace", "room", "skip_sid", "callback", "to", "kwargs"],
        ),
        (Connection, "connect", []),
        (Connection, "disconnect", None),
        (Connection, "send_packed_command", ["command", "check_health"]),
        (
            Connection,
            "read_response",
            ["disable_decoding", "timeout", "disconnect_on_error", "push_request"],
        ),
    ],
)
def test_the_libraries_call_what_we_put_in_their_place(
    owner: type, name: str, parameters: list[str] | None
) -> None:
    method = getattr(owner, name)
    assert inspect.iscoroutinefunction(method)
    if parameters is not None:
        assert list(inspect.signature(method).parameters)[1:] == parameters


def test_a_connection_of_redis_is_not_opened_again_by_itself() -> None:
    connection = Connection(protocol=2, driver_info=None)
    assert connection._writer is None
    assert connection.retry._retries == 0


def test_a_payload_holds_as_many_packets_for_the_library_as_for_us() -> None:
    assert Payload.max_decode_packets == 16


class Ears:
    """A socket, as the library's server knows it."""

    closed = closing = False

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def send(self, packet: Any) -> None:
        self.heard.append(packet.encode())


async def test_what_is_sent_through_the_library_reaches_those_it_is_for() -> None:
    """Everybody, rooms, several rooms without repeating, and one alone, who has no room."""
    server = socketio.AsyncServer(client_manager=Manager(MemoryBus()), async_mode="aiohttp")
    ears = [Ears() for _ in range(3)]
    sids = []
    for number, one in enumerate(ears):
        server.eio.sockets[f"e{number}"] = one
        sids.append(await server.manager.connect(f"e{number}", "/"))
    await server.enter_room(sids[0], "odd")
    await server.enter_room(sids[2], "odd")

    for number, to in enumerate((None, "odd", sids[1], ["odd", sids[1], sids[2]], "nowhere")):
        await server.emit("said", number, to=to)
    await server.emit("said", 5, to="odd", skip_sid=sids[0])
    assert (server.rooms(sids[0]), server.rooms(sids[1])) == ([sids[0], "odd"], [sids[1]])
    assert set(server.manager.rooms["/"]) == {None, "odd"}
    await server.close_room("odd")
    await server.emit("said", 6, to="odd")
    await server.manager.disconnect(sids[1], "/", ignore_queue=True)
    await server.emit("said", 7, to=sids[1])

    heard = [[int(each[9:-1].strip('",')) for each in one.heard] for one in ears]
    assert heard == [[0, 1, 3], [0, 2, 3], [0, 1, 3, 5]]
    assert server.manager.eio_sid_from_sid(sids[1], "/") is None
