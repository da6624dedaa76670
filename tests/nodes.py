"""Several nodes of one installation in one process: each a whole server, with people of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

import aiohttp

from server import app
from server.config import Settings
from server.realtime.bus import RedisBus
from tests.people import Town


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[app.Node]:
    """Run a node in a context of its own, because that is where the database's connections are."""
    started: asyncio.Future[app.Node] = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()

    async def live() -> None:
        try:
            async with app.running(settings) as node:
                started.set_result(node)
                await ended.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    living = asyncio.create_task(live(), context=Context())
    try:
        yield await started
    finally:
        ended.set()
        await living


@asynccontextmanager
async def town(settings: Settings) -> AsyncIterator[Town]:
    """Run a node with the people who use it."""
    async with running(settings) as node, aiohttp.ClientSession() as http:
        here = Town(settings, f"http://127.0.0.1:{node.port}", http)
        here.node = node
        try:
            yield here
        finally:
            await here.close()


def bus(town: Town) -> RedisBus:
    """Return what a node hears the others by."""
    found: RedisBus = town.node.bus
    return found


def connected(settings: Settings, url: str, **redis: Any) -> Settings:
    """Return the settings of a node that is not alone."""
    section = {**settings.redis.model_dump(), "url": url, **redis}
    return Settings.model_validate({**settings.model_dump(), "redis": section})
