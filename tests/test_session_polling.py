"""Long polling: a sentence that helps while it is off, the main job when it is on."""

import asyncio
import json
from typing import Any

import pytest

from tests.eventually import is_gone, sessions
from tests.people import WITHIN_S, Person, Town

pytestmark = pytest.mark.one_database

POLLING = pytest.mark.settings(
    realtime={"transports": ["websocket", "polling"]},
    http={"origins": ["https://app.example.com"]},
)
END = "\x1e"


class Poller:
    """One connection over plain HTTP requests."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.url = f"{town.url}/socket.io/?EIO=4&transport=polling"
        self.packets: list[str] = []

    async def get(self) -> list[str]:
        async with self.town.http.get(self.url) as response:
            text = await response.text()
        assert response.status == 200, text
        return text.split(END) if text else []

    async def post(self, packets: str) -> int:
        async with self.town.http.post(self.url, data=packets) as response:
            return response.status

    async def open(self, token: str) -> None:
        (opened,) = await self.get()
        self.sid = json.loads(opened[1:])["sid"]
        self.url += f"&sid={self.sid}"
        assert await self.post("40" + json.dumps({"token": token})) == 200

    async def hears(self, number: int) -> list[Any]:
        """Poll until so many packets are there, and return the events and answers among them."""
        async with asyncio.timeout(WITHIN_S):
            while len(self.packets) < number:
                self.packets += await self.get()
        packets, self.packets = self.packets, []
        assert len(packets) == number
        return [json.loads(packet[packet.index("[") :]) for packet in packets if "[" in packet]


@pytest.mark.settings(http={"origins": ["https://app.example.com"]})
async def test_a_polling_handshake_while_it_is_off_says_what_to_do(town: Town) -> None:
    headers = {"Origin": "https://app.example.com"}
    url = f"{town.url}/socket.io/?EIO=4&transport=polling"
    async with town.http.get(url, headers=headers) as response:
        body = await response.json()

    assert response.status == 400
    assert body["error"]["code"] == "validation_failed"
    sentence = "use transports: ['websocket'] or switch on realtime.transports"
    assert sentence in body["error"]["message"]
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.com"


@POLLING
async def test_two_people_talk_though_one_of_them_polls(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), Poller(town)
    await his.open(bob.token)
    hello = await his.hears(2)
    fields = {"conversation_id": talk["id"], "client_msg_id": "1", "content": "Hello Ada"}

    await his.post("420" + json.dumps(["message:send", fields]))
    event, answer = await his.hears(2)
    said = await ada.says(talk, "Hello Bob")
    (heard,) = await his.hears(1)

    assert [body[0] for body in hello if isinstance(body, list)] == ["session:ready"]
    assert (event[0], answer[0]["ok"]) == ("message:created", True)
    assert (heard[0], heard[1]["message"]["id"]) == ("message:created", said["id"])
    assert await hers.heard_names() == ["message:created", "message:created"]


@POLLING
async def test_who_began_with_polling_can_go_on_with_a_websocket(
    town: Town, ada: Person, bob: Person
) -> None:
    talk = await ada.creates("direct", bob)
    his = Poller(town)
    await his.open(bob.token)
    await his.hears(2)

    poll = asyncio.create_task(his.get())
    async with town.http.ws_connect(his.url.replace("=polling", "=websocket")) as ws:
        await ws.send_str("2probe")
        assert await ws.receive_str() == "3probe"
        assert await poll == ["6"]
        await ws.send_str("5")
        await ada.says(talk, "Are you up?")
        while not (packet := await ws.receive_str()).startswith("42"):
            assert packet in ("2", "6")
        assert json.loads(packet[2:])[0] == "message:created"
        await ws.send_str("42{")
        assert (await ws.receive()).type.name in ("CLOSED", "CLOSE", "ERROR")
    await is_gone(town, "bob")


@POLLING
@pytest.mark.parametrize("payload", ["", "x", f"3{END}", "9", "42{", "bAAAA", "\udcff"])
async def test_a_malformed_payload_hurts_nobody_else(
    town: Town, ada: Person, bob: Person, payload: str
) -> None:
    talk = await ada.creates("direct", bob)
    hers, his = await ada.connects(), Poller(town)
    await his.open(bob.token)
    await his.hears(2)

    raw = payload.encode("utf-8", "surrogateescape")
    async with town.http.post(his.url, data=raw) as response:
        status = response.status

    assert status == 400
    await is_gone(town, "bob")
    await ada.says(talk, "Go on")
    assert await hers.heard_names() == ["message:created"]


@POLLING
async def test_two_connects_at_once_open_one_session(town: Town, bob: Person) -> None:
    his = Poller(town)
    (opened,) = await his.get()
    his.url += f"&sid={json.loads(opened[1:])['sid']}"
    packet = "40" + json.dumps({"token": bob.token})

    await asyncio.gather(his.post(packet), his.post(packet))

    assert sessions(town, "bob") == 1


@pytest.mark.settings(
    realtime={"transports": ["websocket", "polling"]}, limits={"authenticate_s": 2}
)
async def test_a_silent_poller_is_forgotten(town: Town) -> None:
    his = Poller(town)
    (opened,) = await his.get()
    his.url += f"&sid={json.loads(opened[1:])['sid']}"

    last = await his.get()

    assert last == ["6"]
    assert await his.post("40{}") == 400


@POLLING
async def test_a_payload_above_the_bound_is_refused(town: Town, bob: Person) -> None:
    his = Poller(town)
    await his.open(bob.token)
    await his.hears(2)

    assert await his.post("42" + json.dumps(["sync", {"x": "y" * 70_000}])) in (400, 413)


@POLLING
async def test_a_burst_in_one_payload_is_answered_whole(town: Town, bob: Person) -> None:
    his = Poller(town)
    await his.open(bob.token)
    await his.hears(2)

    assert await his.post(burst(16)) == 200
    assert len(await his.hears(16)) == 16
    # One more than there may be, and nothing of it is done.
    assert await his.post(burst(17)) == 400
    await is_gone(town, "bob")


def burst(number: int) -> str:
    return END.join(f'42{id_}["sync",{{}}]' for id_ in range(number))
