"""People with devices: every request goes through the wire, every frame is written down."""

import asyncio
import json
from itertools import count
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from server import auth
from server.ids import new_id
from server.schemas.values import KEY_HEADER, KEY_HOLDER, UserRole
from tests.contract import Contract
from tests.reference import BY_VIEWER, Reference

if TYPE_CHECKING:
    from server.config import Settings

WITHIN_S = 15.0
"""How long anybody waits for what must come, on a machine that is busy with other tests."""

Frame = tuple[str, dict[str, Any]]

HOUR_S = 3_600


class Refused(Exception):  # noqa: N818 (it reads as a sentence in a test)
    """The server said no."""

    def __init__(self, error: dict[str, Any], status: int = 0) -> None:
        super().__init__(error)
        self.error = error
        self.code: str = error["code"]
        self.status = status

    @property
    def fields(self) -> list[str]:
        return [detail["field"] for detail in self.error.get("details", [])]


class Person:
    """Somebody with a token, who can use REST and connect any number of devices."""

    def __init__(
        self,
        town: "Town",
        user_id: str,
        *,
        name: str | None = None,
        role: UserRole | None = None,
        token: str | None = None,
    ) -> None:
        self.town = town
        self.id = user_id
        self.name = user_id.title() if name is None else name
        self.role = role
        self.token = self.fresh_token() if token is None else token
        self.devices: list[Device] = []

    def fresh_token(self, ttl_s: int = HOUR_S) -> str:
        settings = self.town.settings.auth
        return auth.issue(settings, self.id, name=self.name, role=self.role, ttl_s=ttl_s)

    # REST

    @property
    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def call(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """Make a request and return status, body and headers; the body is held against openapi."""
        headers = {**self.credentials, **options.pop("headers", {})}
        address = self.town.url + ("/api/messaging/" + path if path[0] != "/" else path)
        if isinstance(body, aiohttp.FormData):
            options["data"] = body
        elif body is not None:
            options["data"] = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        async with self.town.http.request(
            method, URL(address, encoded=True), headers=headers, **options
        ) as response:
            text = await response.read()
            answer = json.loads(text) if text else None
            await self.town.contract(method, path, response.status, answer)
            return response.status, answer, dict(response.headers)

    async def _must(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        status, answer, _ = await self.call(method, path, body, **options)
        if status >= 400:
            raise Refused(answer["error"], status)
        return answer

    async def get(self, path: str, **options: Any) -> Any:
        return await self._must("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self._must("POST", path, body, **options)

    async def patch(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self._must("PATCH", path, body, **options)

    async def put(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self._must("PUT", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Any:
        return await self._must("DELETE", path, **options)

    async def creates(self, kind: str, *others: "Person", **fields: Any) -> dict[str, Any]:
        body = {"type": kind, "participant_ids": [other.id for other in others], **fields}
        created: dict[str, Any] = await self.post("conversations/create_with_participants/", body)
        return created

    async def says(self, conversation: dict[str, Any], content: str, **more: Any) -> Any:
        """Send by REST."""
        body = {"content": content, **more}
        return await self.post(f"conversations/{conversation['id']}/send/", body)

    # Files

    async def upload(self, data: bytes, name: str = "note.txt", *, field: str = "file") -> Any:
        """Upload a file and return its attachment; raises `Refused`."""
        return await self.post("uploads/", form((field, data, name)))

    async def sends_files(
        self, conversation: dict[str, Any], *files: tuple[bytes, str], **fields: Any
    ) -> Any:
        """Send files with a message in one request; raises `Refused`."""
        body = form(*(("files", data, name) for data, name in files), **fields)
        return await self.post(f"conversations/{conversation['id']}/send/", body)

    # Socket.IO

    async def connects(self, **auth_fields: Any) -> "Device":
        """Connect a device that starts from nothing, unless told otherwise."""
        fields = {"token": self.token, "cursors": {}, "user_seq": 0, **auth_fields}
        device = Device(self)
        await device.open(fields)
        return device


class Program(Person):
    """A program of the embedding application with a server key, which it uses for REST."""

    def __init__(self, town: "Town", name: str, key: str) -> None:
        super().__init__(town, f"{KEY_HOLDER}{name}", name=name, token=key)

    @property
    def credentials(self) -> dict[str, str]:
        return {KEY_HEADER: self.token}


def form(*files: tuple[str, bytes, str], **fields: Any) -> aiohttp.FormData:
    """Return a form with these fields and then these files, each a field, bytes and a name."""
    # As browsers write it: names are not in percent.
    body = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
    for name, value in fields.items():
        body.add_field(name, value if isinstance(value, str) else json.dumps(value))
    for name, data, filename in files:
        body.add_field(name, data, filename=filename)
    return body


class Device:
    """One socket of a person: raw frames over a WebSocket, with a reference client behind it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.reference = Reference(person.id)
        self.frames: list[Frame] = []
        self.ready: dict[str, Any] = {}
        self.raw: list[str] = []
        self.closed = asyncio.Event()
        self.is_checked = True
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    # Opening

    async def open(self, auth_fields: dict[str, Any] | None) -> None:
        """Connect; raises `Refused` with what `connect_error` carried."""
        await self.reach()
        await self.send_raw("40" + ("" if auth_fields is None else json.dumps(auth_fields)))
        await self._until(lambda: bool(self.ready) or any(f[:2] == "44" for f in self.raw))
        for packet in self.raw:
            if packet[:2] == "44":
                await self.close()
                body = json.loads(packet[2:])
                raise Refused(body["data"] if isinstance(body["data"], dict) else body)
        self.person.devices.append(self)

    async def reach(self, **options: Any) -> None:
        """Open the WebSocket and say nothing yet."""
        town = self.person.town
        url = f"{town.url}/socket.io/?EIO=4&transport=websocket"
        self._ws = await town.http.ws_connect(url, autoping=False, max_msg_size=0, **options)
        town.devices.append(self)
        self._reader = asyncio.create_task(self._read())
        await self._until(lambda: bool(self.raw))

    async def send_raw(self, packet: str) -> None:
        await self._ws.send_str(packet)

    async def _read(self) -> None:
        async for message in self._ws:
            packet = message.data
            if packet == "2":
                await self._ws.send_str("3")
                continue
            self.raw.append(packet)
            if packet[:2] == "42":
                self._heard(*json.loads(packet[2:]))
            elif packet[:2] == "43":
                start = packet.index("[")
                future = self._answers.pop(int(packet[2:start]))
                if not future.done():
                    future.set_result(json.loads(packet[start:])[0])
            self._news.set()
        self.closed.set()
        self._news.set()

    def _heard(self, name: str, data: dict[str, Any]) -> None:
        self.person.town.contract.heard(name, data)
        if name == "session:ready":
            self.ready = data
            self.reference.ready(data)
        else:
            self.frames.append((name, data))
            self.reference.hear(name, data)

    async def _until(self, happened: Any) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not happened():
                if self.closed.is_set():
                    raise ConnectionError("the server closed the connection")
                self._news.clear()
                await self._news.wait()

    async def reconnects(self, **auth_fields: Any) -> "Device":
        """Come back with what this device remembers, as after a lost connection."""
        if not self.closed.is_set():
            await self.close()
        reference = self.reference
        back = Device(self.person)
        back.reference = reference
        fields = {
            "token": self.person.token,
            "epoch": reference.epoch,
            "cursors": reference.cursors(),
            "user_seq": reference.user_cursor,
            **auth_fields,
        }
        await back.open(fields)
        return back

    async def close(self) -> None:
        await self._ws.close()
        await self.finish()

    async def cut(self) -> None:
        """Lose the network: no close frame, no goodbye."""
        connection = self._ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()
        await self.finish()

    async def finish(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self.closed.set()
        self.is_checked = False

    # Asking

    async def answer(self, name: str, data: Any = None) -> dict[str, Any]:
        """Send a request and return its whole acknowledgement."""
        number = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        packet = [name] if data is None else [name, data]
        await self.send_raw(f"42{number}{json.dumps(packet)}")
        answer: dict[str, Any] = await asyncio.wait_for(future, WITHIN_S)
        self.person.town.contract.answered(name, answer)
        return answer

    async def asks(self, name: str, **data: Any) -> dict[str, Any]:
        """Send a request and return its data; raises `Refused`."""
        answer = await self.answer(name, data)
        if not answer["ok"]:
            raise Refused(answer["error"])
        reply: dict[str, Any] = answer["data"]
        return reply

    async def says(self, conversation: dict[str, Any], content: str, **more: Any) -> dict[str, Any]:
        """Send a message and return it."""
        fields = {
            "conversation_id": conversation["id"],
            "client_msg_id": more.pop("client_msg_id", new_id()),
            "content": content,
            **more,
        }
        reply = await self.asks("message:send", **fields)
        message: dict[str, Any] = reply["message"]
        return message

    # Hearing

    async def settles(self) -> None:
        """Wait until everything that was sent to this device before now has arrived.

        Frames are queued before the answer to what caused them, and a queue keeps its order.
        """
        await self.answer("nobody:answers")

    async def heard(self) -> list[Frame]:
        """Return everything heard since the last look, and forget it."""
        await self.settles()
        frames, self.frames = self.frames, []
        return frames

    async def heard_names(self) -> list[str]:
        return [name for name, _ in await self.heard()]

    async def hears(self, name: str) -> dict[str, Any]:
        """Wait for the next frame, which must have this name, and return its data."""
        await self._until(lambda: bool(self.frames))
        first, data = self.frames.pop(0)
        assert first == name, f"heard {first} instead of {name}: {data}"
        return data

    async def hears_nothing(self) -> None:
        frames = await self.heard()
        assert frames == [], f"{self.person.id} should have heard nothing, but: {frames}"

    # The reference client

    async def catches_up(self) -> None:
        """Ask `sync` until nothing that was heard is missing."""
        await self.reference.catch_up(lambda name, data: self.asks(name, **data))

    async def must_agree(self) -> None:
        """Hold what this device believes against a fresh fetch."""
        await self.settles()
        await self.catches_up()
        reference = self.reference
        listed = await all_conversations(self.person)
        if reference.fetches_list:
            reference.take_list(listed)
        believed = {id_ for id_, talk in reference.talks.items() if talk.is_member}
        assert believed == set(listed), f"{self.person.id} is in other conversations"
        for id_ in believed & reference.seated:
            await self._must_agree_on(id_, listed[id_])

    async def _must_agree_on(self, id_: str, fresh: dict[str, Any]) -> None:
        reference, talk = self.reference, self.reference.talks[id_]
        # What was said before this device came is fetched when somebody scrolls up: now.
        for page in await pages_of(self.person, id_):
            page["results"] = [m for m in page["results"] if m["event_seq"] <= talk.start]
            reference.apply_page(id_, page)
        shown = [_shared(m) for m in await all_messages(self.person, id_)]
        believed = [_shared(m) for m in reference.shown_messages(id_)]
        assert believed == shown, f"{self.person.id} sees other messages"
        assert talk.cursor == fresh["head"], f"{self.person.id} is at {talk.cursor}, not the head"
        assert _own_fields(talk.conversation) == _own_fields(fresh)
        members = {m["user"]["id"]: m for m in await all_members(self.person, id_)}
        present = {u: p for u, p in talk.participants.items() if p["is_active"]}
        assert present.keys() == members.keys(), f"{self.person.id} sees other members"
        large = fresh["participants_count"] > self.person.town.settings.limits.broadcast_members
        for user_id, member in members.items():
            mine = present[user_id]
            assert (mine["role"], mine["event_seq"]) == (member["role"], member["event_seq"])
            if large and user_id != self.person.id:
                # Nobody is told of others' marks and cards there.
                continue
            assert talk.read[user_id] == member["read_seq"], f"read mark of {user_id}"
            assert talk.delivered[user_id] == member["delivered_seq"], f"delivered of {user_id}"
            assert reference.users[user_id] == member["user"]
        my = fresh["my"]
        assert reference.unread(id_) == my["unread_count"], f"unread of {self.person.id}"
        for name in ("is_archived", "is_pinned", "muted_until", "marked_unread", "user_seq"):
            assert talk.my[name] == my[name], f"my {name} of {self.person.id} in {id_}"


def _shared(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without what differs by viewer and by when the sender's card was read."""
    return {k: v for k, v in message.items() if k not in (*BY_VIEWER, "sender")}


def _own_fields(conversation: dict[str, Any]) -> dict[str, Any]:
    moving = (
        *("my", "participants", "last_message", "participants_count"),
        *("last_seq", "head"),
    )
    return {k: v for k, v in conversation.items() if k not in moving}


async def pages_of(person: Person, conversation_id: str) -> list[dict[str, Any]]:
    pages, after = [], 0
    while True:
        path = f"conversations/{conversation_id}/messages/?after_seq={after}&limit=100"
        page = await person.get(path)
        pages.append(page)
        if not page["has_more_after"]:
            return pages
        after = page["results"][-1]["seq"]


async def all_messages(person: Person, conversation_id: str) -> list[dict[str, Any]]:
    pages = await pages_of(person, conversation_id)
    return [message for page in pages for message in page["results"]]


async def all_conversations(person: Person) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for archived in ("false", "true"):
        path: str | None = f"conversations/?limit=100&archived={archived}"
        while path is not None:
            page = await person.get(path)
            found |= {body["id"]: body for body in page["results"]}
            path = page["next"] and page["next"].removeprefix(person.town.url)
    return found


async def all_members(person: Person, conversation_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    path: str | None = f"conversations/{conversation_id}/participants/?limit=100"
    while path is not None:
        page = await person.get(path)
        found += page["results"]
        path = page["next"] and page["next"].removeprefix(person.town.url)
    return found


class Town:
    """A server with the people who use it."""

    def __init__(self, settings: "Settings", url: str, http: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.url = url
        self.http = http
        self.contract = Contract(http, url)
        self.devices: list[Device] = []
        self.node: Any = None

    def person(self, user_id: str, **more: Any) -> Person:
        return Person(self, user_id, **more)

    async def known(self, user_id: str, **more: Any) -> Person:
        """Return a person whom the server has met, so that no profile changes under a test."""
        person = Person(self, user_id, **more)
        await person.get("me/")
        return person

    async def quiet(self) -> None:
        """Let everybody look at what they heard so far: the scene is set."""
        for device in self.devices:
            if not device.closed.is_set():
                await device.heard()

    async def must_agree(self) -> None:
        """Hold everybody's idea of the world against the database, and every frame against a look.

        A frame that no test looked at is a frame nobody compared.
        """
        for device in self.devices:
            if device.is_checked and device.ready and not device.closed.is_set():
                await device.settles()
                unseen = [name for name, _ in device.frames]
                assert unseen == [], f"{device.person.id} heard what nobody compared: {unseen}"
        for device in self.devices:
            if device.is_checked and device.ready and not device.closed.is_set():
                await device.must_agree()

    async def close(self) -> None:
        for device in self.devices:
            if device._reader is not None:
                await device.close()
