"""The server stops and starts again: what each door says, and who comes back by themselves."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from server import app
from server.config import Settings
from tests.doors import WAYS, PlainDevice, PythonDevice, ScriptDevice, Talk, fields, script
from tests.people import Device, Person, Town
from tests.services import free_port
from tests.test_session_polling import Poller

pytestmark = pytest.mark.one_database

Clients = list[PythonDevice | ScriptDevice]


@pytest.mark.settings(realtime={"transports": ["websocket", "polling"]})
async def test_everybody_is_told_that_the_server_stops_and_clients_come_back(
    settings: Settings, logged: list[dict[str, Any]]
) -> None:
    http = settings.http.model_copy(update={"port": free_port()})
    settings = settings.model_copy(update={"http": http})
    async with AsyncExitStack() as all_the_time:
        session = await all_the_time.enter_async_context(aiohttp.ClientSession())
        async with app.running(settings) as node:
            town = Town(settings, f"http://127.0.0.1:{node.port}", session)
            ada, bob = await town.known("ada"), await town.known("bob")
            talk = await ada.creates("direct", bob)
            clients = await official_clients(all_the_time, bob)
            plain, raw, poll = await those_who_write_it_down(ada, talk)
            late = asyncio.create_task(statuses_of_late_comers(town, plain))
        assert (plain.code, plain.reason) == (1001, "The server stops; connect again.")
        assert (raw._ws.close_code, await poll) == (1000, ["6"])
        assert await late == [503, 503]

        await all_the_time.enter_async_context(app.running(settings))
        for client in clients:
            await client._until(lambda client=client: bool(client.ready))
        assert await ada.says(talk, "Here we are again")
        for client in clients:
            await client.hears("message:created")


async def official_clients(stack: AsyncExitStack, person: Person) -> Clients:
    """Connect the clients that come back, each by each of its ways."""
    running = await stack.enter_async_context(script())
    clients: Clients = [
        *(PythonDevice(person, way) for way in WAYS.values()),
        *(ScriptDevice(person, way, running) for way in WAYS.values()),
    ]
    for client in clients:
        client.comes_back = True
        await client.open(fields(person))
        stack.push_async_callback(client.close)
        client.ready = {}
    return clients


async def those_who_write_it_down(
    person: Person, talk: Talk
) -> tuple[PlainDevice, Device, asyncio.Task[list[str]]]:
    """Connect somebody by each door, who looks at what is said there."""
    plain, raw, poller = PlainDevice(person, talk["id"]), Device(person), Poller(person.town)
    await plain.open(fields(person))
    await raw.open(fields(person))
    await poller.open(person.token)
    await poller.hears(2)
    poll = asyncio.create_task(poller.get())
    # Somebody with unread words makes the server wait; while they come in, the poll has begun.
    await Poller(person.town).open(person.token)
    return plain, raw, poll


async def statuses_of_late_comers(town: Town, plain: PlainDevice) -> list[int]:
    """Knock while the server is stopping already, over connections that were open before."""
    await plain.ended()
    statuses = []
    for path in (f"/ws/messaging/chat/{plain.about}/", "/socket.io/?EIO=4&transport=websocket"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await town.http.ws_connect(town.url + path)
        statuses.append(refused.value.status)
    return statuses
