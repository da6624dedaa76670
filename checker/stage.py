"""What a run stands on: PostgreSQL, Valkey, nodes, and a network of ours before each of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import asyncpg

from checker import mutants
from checker.nodes import Bus, Node, Services
from tests.proxy import Proxy
from tests.services import LOOPBACK, Postgres, Valkey
from tests.valkeys import Cluster, cluster

# As in production: a fault here takes what was not flushed, and the server must not know better.
_DURABLE = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",
}
_MEMBERS = 2
_RECORD = Path(__file__).with_name("record.sql")


class Balancer(Proxy):
    """Sends each connection to a node drawn by lot, as what stands before nodes does."""

    def __init__(self, nodes: Sequence[Node], chance: Random) -> None:
        """Choose among these nodes."""
        super().__init__(0)
        self._nodes = nodes
        self._chance = chance

    def target(self) -> int:
        """Return the door of a node."""
        return self._chance.choice(self._nodes).door.port


class Stage:
    """Everything that runs, and the ways to reach it that no fault touches."""

    def __init__(self, postgres: Postgres, database_url: str) -> None:
        """Begin with a database."""
        self.postgres = postgres
        self.database_url = database_url
        self.valkey: Valkey | None = None
        self.cluster: Cluster | None = None
        self.nodes: list[Node] = []
        self.balancer = Balancer(self.nodes, Random(0))  # noqa: S311 (a lot, not a secret)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        """Give a connection to the database that goes through no network of ours."""
        connection = await asyncpg.connect(self.database_url, timeout=20)
        try:
            yield connection
        finally:
            await connection.close()

    async def serves(self) -> None:
        """Wait until every node takes connections."""
        await asyncio.gather(*(node.serves() for node in self.nodes))


@asynccontextmanager
async def built(count: int, folder: Path, design: str, bus: Bus) -> AsyncIterator[Stage]:
    """Run so many nodes on a new database."""
    async with AsyncExitStack() as stack:
        postgres = await asyncio.to_thread(Postgres(_DURABLE).__enter__)
        stack.push_async_callback(asyncio.to_thread, postgres.__exit__, None, None, None)
        stage = Stage(postgres, await postgres.create_database("town"))
        bus_url = ""
        if bus is Bus.SINGLE:
            stage.valkey = await asyncio.to_thread(Valkey().__enter__)
            stack.push_async_callback(asyncio.to_thread, stage.valkey.__exit__, None, None, None)
            bus_url = stage.valkey.url
        elif bus is Bus.CLUSTER:
            stage.cluster = await stack.enter_async_context(cluster(_MEMBERS))
            bus_url = stage.cluster.url
        services = Services(stage.database_url, bus_url, bus)
        for number in range(1, count + 1):
            node = Node(f"node-{number}", folder, services, design)
            stage.nodes.append(node)
            stack.push_async_callback(node.close)
            await node.open()
        stack.push_async_callback(stage.balancer.close)
        await stage.balancer.open()
        await stage.serves()
        async with stage.connected() as connection:
            await connection.execute(_RECORD.read_text())
            await mutants.spoil_database(design, connection)
        yield stage
