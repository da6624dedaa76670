"""The ways into the server: each is a kind of device, so that all can live one story."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import socketio
from aiohttp import ClientSession, WSMsgType

from tests.people import WITHIN_S, Device, Person, Refused
from tests.programs import FOLDER
from tests.services import node

Talk = dict[str, Any]
Enter = Callable[[Person, Talk], Awaitable[Device]]
"""How somebody comes in by a door, to hear at least one conversation."""


class _OtherDevice(Device):
    """A device that does not speak Socket.IO by itself."""

    # Whether the official clients connect again when the server went away.
    comes_back = False

    def another(self) -> "_OtherDevice":
        raise NotImplementedError

    async def reconnects(self, **auth_fields: Any) -> "_OtherDevice":
        if not self.closed.is_set():
            await self.close()
        back = self.another()
        back.reference = self.reference
        fields = {
            "token": self.person.token,
            "epoch": self.reference.epoch,
            "cursors": self.reference.cursors(),
            "user_seq": self.reference.user_cursor,
            **auth_fields,
        }
        await back.open(fields)
        return back

    async def close(self) -> None:
        self.closed.set()
        self.is_checked = False

    async def answer(self, name: str, data: Any = None) -> dict[str, Any]:
        answer = await asyncio.wait_for(self._ask(name, data), WITHIN_S)
        self.person.town.contract.answered(name, answer)
        return answer

    async def _ask(self, name: str, data: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _heard(self, name: str, data: dict[str, Any]) -> None:
        super()._heard(name, data)
        self._news.set()

    def _came_in(self) -> None:
        self.person.devices.append(self)
        self.person.town.devices.append(self)


class PlainDevice(_OtherDevice):
    """A client of the plain WebSocket, written by hand."""

    def __init__(self, person: Person, conversation_id: str) -> None:
        super().__init__(person)
        self.about = conversation_id
        self.code: int | None = None
        self.reason: str | None = None

    def another(self) -> "PlainDevice":
        return PlainDevice(self.person, self.about)

    async def reach(self, **options: Any) -> None:
        town = self.person.town
        path = options.pop("path", f"/ws/messaging/chat/{self.about}/")
        self._ws = await town.http.ws_connect(
            town.url + path, autoping=False, max_msg_size=0, **options
        )
        self._reader = asyncio.create_task(self._read())
        town.devices.append(self)

    async def open(self, auth_fields: dict[str, Any] | None) -> None:
        """Come in by an `auth` frame; raises `Refused` with its answer."""
        await self.reach()
        answer = await self.answer("auth", auth_fields)
        if not answer["ok"]:
            await self.ended()
            raise Refused(answer["error"])
        await self._until(lambda: bool(self.ready))
        self.person.devices.append(self)

    async def send_raw(self, packet: str) -> None:
        await self._ws.send_str(packet)

    async def _read(self) -> None:
        while (message := await self._ws.receive()).type not in _OVER:
            if message.type is WSMsgType.PING:
                await self._ws.pong(message.data)
                continue
            self.raw.append(message.data)
            frame = json.loads(message.data)
            if "event" in frame:
                self.person.town.contract.framed(frame)
                self._heard(frame["event"], frame["data"])
            else:
                self._answers.pop(frame.pop("id")).set_result(frame)
            self._news.set()
        self.code, self.reason = self._ws.close_code, message.extra
        self.closed.set()
        self._news.set()

    async def _ask(self, name: str, data: Any) -> dict[str, Any]:
        number = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        frame = {"event": name, "id": number, **({} if data is None else {"data": data})}
        await self.send_raw(json.dumps(frame))
        answer: dict[str, Any] = await future
        self.person.town.contract.framed({"id": number, **answer}, name)
        return answer

    async def ended(self) -> int | None:
        """Wait until the server has closed the connection, and return the code."""
        await asyncio.wait_for(self.closed.wait(), WITHIN_S)
        self.is_checked = False
        return self.code

    async def close(self) -> None:
        await Device.close(self)

    async def must_agree(self) -> None:
        self.reference.seated &= {self.about}
        await super().must_agree()


_OVER = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class _Patient(socketio.AsyncClient):  # type: ignore[misc]
    """A client that grants a busy machine more than a second to answer, also when it comes back."""

    async def connect(self, *where: Any, **options: Any) -> None:
        await super().connect(*where, **options, wait_timeout=WITHIN_S)


class PythonDevice(_OtherDevice):
    """The official Python client."""

    def __init__(self, person: Person, transports: list[str]) -> None:
        super().__init__(person)
        self._transports = transports

    def another(self) -> "PythonDevice":
        return PythonDevice(self.person, self._transports)

    async def open(self, auth_fields: dict[str, Any] | None) -> None:
        self._http = ClientSession()
        self._client = _Patient(
            reconnection=self.comes_back,
            reconnection_delay=0.05,
            reconnection_delay_max=0.2,
            randomization_factor=0,
            http_session=self._http,
        )
        self._client.on("*", self._heard)
        await self._client.connect(
            self.person.town.url, auth=auth_fields, transports=self._transports
        )
        assert self._client.transport() == self._transports[-1]
        await self._until(lambda: bool(self.ready))
        self._came_in()

    async def _ask(self, name: str, data: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self._client.call(name, data, timeout=WITHIN_S)
        return answer

    async def close(self) -> None:
        await self._client.shutdown()
        await self._http.close()
        await super().close()


class Script:
    """Node with sockets of the official JavaScript client; the program is tests/js/door.mjs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = count()
        self.devices: dict[int, ScriptDevice] = {}

    def join(self, device: "ScriptDevice") -> int:
        number = next(self._numbers)
        self.devices[number] = device
        return number

    def order(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            self.devices[said.pop("socket")].take(said)


@asynccontextmanager
async def script() -> AsyncIterator[Script]:
    """Run a program that holds sockets; at the end nothing of it is left."""
    process = await asyncio.create_subprocess_exec(
        node(),
        "door.mjs",
        cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
        start_new_session=True,
    )
    running = Script(process)
    reader = asyncio.create_task(running.read())
    try:
        yield running
    finally:
        process.kill()
        await process.wait()
        await reader


class ScriptDevice(_OtherDevice):
    """The official JavaScript client."""

    def __init__(self, person: Person, transports: list[str], script: Script) -> None:
        super().__init__(person)
        self._transports = transports
        self._script = script
        self._number = script.join(self)
        self._transport = ""

    def another(self) -> "ScriptDevice":
        return ScriptDevice(self.person, self._transports, self._script)

    async def open(self, auth_fields: dict[str, Any] | None) -> None:
        options = {
            "transports": self._transports,
            "auth": auth_fields,
            "reconnection": self.comes_back,
            "reconnectionDelay": 50,
            "reconnectionDelayMax": 200,
        }
        self._order("connect", url=self.person.town.url, options=options)
        await self._until(lambda: bool(self.ready and self._transport))
        assert self._transport == self._transports[-1]
        self._came_in()

    def _order(self, do: str, **order: Any) -> None:
        self._script.order(do=do, socket=self._number, **order)

    def take(self, said: dict[str, Any]) -> None:
        if "event" in said:
            self._heard(said["event"], said["data"])
        elif "answer" in said:
            self._answers.pop(said["id"]).set_result(said["answer"])
        elif "transport" in said:
            self._transport = said["transport"]
        elif not self.comes_back:
            self.closed.set()
        self._news.set()

    async def _ask(self, name: str, data: Any) -> dict[str, Any]:
        number = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        self._order("ask", id=number, request=[name] if data is None else [name, data])
        answer: dict[str, Any] = await future
        return answer

    async def close(self) -> None:
        self.comes_back = False
        self._order("close")
        await super().close()


WAYS = {
    "websocket": ["websocket"],
    "polling": ["polling"],
    "upgrade": ["polling", "websocket"],
}
DOORS = ("plain", *(f"{client} {way}" for client in ("python", "javascript") for way in WAYS))


def fields(person: Person) -> dict[str, Any]:
    """Return what somebody says at the door who starts from nothing."""
    return {"token": person.token, "cursors": {}, "user_seq": 0}


@asynccontextmanager
async def door(name: str) -> AsyncIterator[Enter]:
    """Open a door: what it yields lets people in."""
    client, _, way = name.partition(" ")

    async def let_in(device: Device) -> Device:
        await device.open(fields(device.person))
        return device

    if client == "plain":
        yield lambda person, talk: let_in(PlainDevice(person, talk["id"]))
    elif client == "python":
        yield lambda person, _: let_in(PythonDevice(person, WAYS[way]))
    else:
        async with script() as running:
            yield lambda person, _: let_in(ScriptDevice(person, WAYS[way], running))
