"""Keys in Redis, written and read many at a time; nothing is kept there that cannot be lost.

One connection for each server, opened when it is needed. Whatever fails gives all of them up, and
whoever asked decides what to do without an answer.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from server.config import RedisSettings
from server.realtime.bus.layout import Finder, Layout, NoServerError
from server.realtime.bus.wire import ANSWER_S, FAILURES, Command, Server, Wire


class AwayError(Exception):
    """Redis did not answer."""


class Keys:
    """What reads and writes keys."""

    def __init__(self, settings: RedisSettings) -> None:
        """Be about to connect."""
        self._finder = Finder(settings)
        self._layout: Layout | None = None
        self._wires: dict[Server, Wire] = {}
        self._turn = asyncio.Lock()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answer to each command, whose second word is a key; raises `AwayError`."""
        async with self._turn:
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await self._ask(commands)
            except (*FAILURES, NoServerError) as error:
                await self.close()
                raise AwayError(str(error) or repr(error)) from error
            except BaseException:
                # Somebody may have stopped waiting for an answer that is on its way.
                await self.close()
                raise

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        if self._layout is None:
            self._layout = await self._finder.find()
        places: dict[Server, list[int]] = {}
        for place, command in enumerate(commands):
            server = self._layout.server_of(str(command[1]).encode())
            if server is None:
                message = "nobody serves this key"
                raise NoServerError(message)
            places.setdefault(server, []).append(place)
        answers: list[Any] = [None] * len(commands)
        for server, mine in places.items():
            wire = await self._wire(server)
            await wire.send([commands[place] for place in mine])
            for place in mine:
                answers[place] = await wire.read()
        return answers

    async def _wire(self, server: Server) -> Wire:
        wire = self._wires.get(server)
        if wire is None:
            wire = self._finder.wire(server)
            await wire.open()
            self._wires[server] = wire
        return wire

    async def close(self) -> None:
        """Give all connections up."""
        wires, self._wires, self._layout = self._wires, {}, None
        for wire in wires.values():
            await wire.close()
