"""One connection to one server of Redis, without the library's own reconnecting.

redis-py would come back by itself and say nothing, and what was published meanwhile would be
missing without anybody looking for it. So every connection here lives once.
"""

import asyncio
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from server.redis_url import RedisUrl

Server = tuple[str, int]
"""Host and port."""

Command = Sequence[str | bytes | int]

CONNECT_S = 1.0
"""How long opening a connection may take, greeting included."""

ANSWER_S = 2.0
"""How long an answer may take before the server counts as gone."""

FAILURES = (RedisError, OSError, TimeoutError, EOFError)
"""What a connection can end with."""


class Wire:
    """A connection: commands go out, answers and messages come in."""

    def __init__(self, url: RedisUrl, server: Server, *, password: str | None) -> None:
        """Be about to connect."""
        options: dict[str, Any] = {
            "host": server[0],
            "port": server[1],
            "db": url.database,
            "username": url.user,
            "password": password,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": CONNECT_S,
            "driver_info": None,
            "client_name": "palabre",
        }
        if url.is_encrypted:
            self._connection: Connection = SSLConnection(ssl_ca_certs=url.authority, **options)
        else:
            self._connection = Connection(**options)

    async def open(self) -> None:
        """Connect and say who we are."""
        async with asyncio.timeout(CONNECT_S):
            await self._connection.connect()  # type: ignore[no-untyped-call] # it has no types

    def cut(self) -> None:
        """End the connection now; whoever reads or writes fails."""
        writer = self._connection._writer  # noqa: SLF001 (what the library closes waits first)
        if writer is not None:
            writer.transport.abort()

    async def close(self) -> None:
        """End the connection."""
        self.cut()
        with suppress(*FAILURES):
            await self._connection.disconnect(nowait=True)

    async def send(self, commands: Iterable[Command]) -> None:
        """Send commands in one write."""
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)

    async def read(self) -> Any:
        """Return the next answer or message, however long it takes; raises what was refused."""
        return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)

    async def ask(self, *command: str | bytes | int) -> Any:
        """Return the answer to one command."""
        async with asyncio.timeout(ANSWER_S):
            await self.send([command])
            return await self.read()


def is_refusal(error: BaseException) -> bool:
    """Return whether a server understood what was asked and said no."""
    return isinstance(error, ResponseError | AuthenticationError)
