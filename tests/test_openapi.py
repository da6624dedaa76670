"""The description of the REST door: complete, and made from what validates."""

import pytest
from aiohttp import web

from server.errors import SettingsError
from server.handlers import registry
from server.openapi import document, require_described
from server.rest import BASE
from tests.people import Town

pytestmark = pytest.mark.one_database

FIXED = {
    "conversations/": "get",
    "conversations/{conversation_id}/": "get",
    "conversations/{conversation_id}/messages/": "get",
    "conversations/{conversation_id}/send/": "post",
    "conversations/{conversation_id}/mark_read/": "post",
    "conversations/{conversation_id}/archive/": "post",
    "conversations/create_with_participants/": "post",
    "messages/": "get",
    "messages/{message_id}/mark_read/": "post",
}


async def test_the_nine_fixed_paths_are_described(town: Town) -> None:
    async with town.http.get(f"{town.url}/openapi.json") as response:
        described = await response.json()

    assert described["openapi"] == "3.1.0"
    for path, method in FIXED.items():
        assert method in described["paths"][BASE + path]


def test_a_route_without_a_schema_stops_the_start() -> None:
    async def anything(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get(f"{BASE}secret/", anything)

    with pytest.raises(SettingsError, match="secret/: this route has no schema"):
        require_described(app, document(registry()))
