"""Every request there is, complete and right, so that a test can ask for all of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from server.dispatch import Request, Route
from server.handlers import registry
from tests.people import Person

REQUESTS: dict[str, Request[Any]] = registry().requests
BY_SOCKET = [name for name, request in REQUESTS.items() if request.on_sockets]
BY_REST = [name for name, request in REQUESTS.items() if request.routes]


@dataclass(frozen=True)
class About:
    """What the requests are about."""

    conversation_id: str
    message_id: str
    user_id: str = "cleo"


def complete(name: str, about: About) -> dict[str, Any]:
    """Return the payload of a request that has everything it needs."""
    talk, message, user = about.conversation_id, about.message_id, about.user_id
    in_talk, of_message = {"conversation_id": talk}, {"message_id": message}
    payloads: dict[str, dict[str, Any]] = {
        "auth:refresh": {"token": "not a token"},
        "sync": {"cursors": {talk: 0}},
        "conversation:list": {},
        "conversation:create": {"type": "group", "participant_ids": [user]},
        "conversation:get": in_talk,
        "conversation:update": {**in_talk, "title": "Another title"},
        "conversation:update_my": {**in_talk, "is_pinned": True},
        "conversation:archive": {**in_talk, "archived": True},
        "conversation:mark_read": {**in_talk, "up_to_seq": 1},
        "participant:list": in_talk,
        "participant:add": {**in_talk, "user_ids": [user]},
        "participant:update": {**in_talk, "user_id": user, "role": "read_only"},
        "participant:remove": {**in_talk, "user_id": user},
        "participant:leave": in_talk,
        "message:send": {**in_talk, "client_msg_id": "asked", "content": "Asked"},
        "message:list": in_talk,
        "message:edit": {**of_message, "content": "Edited"},
        "message:delete": of_message,
        "message:search": {},
        "message:get": of_message,
        "message:read_by": of_message,
        "message:history": of_message,
        "message:mark_read": of_message,
        "receipt:delivered": {"items": [{**in_talk, "up_to_seq": 1}]},
        "receipt:read": {**in_talk, "up_to_seq": 1},
        "typing:start": in_talk,
        "typing:stop": in_talk,
        "presence:subscribe": {"user_ids": [user]},
        "presence:unsubscribe": {"user_ids": [user]},
        "presence:set": {"status": "away"},
        "file:sign": {"ids": [user]},
        "me:get": {},
        "me:unread": {},
        "user:list": {},
        "user:put": {"user_id": user, "name": "Somebody"},
    }
    assert payloads.keys() == REQUESTS.keys()
    return payloads[name]


def in_path(route: Route) -> list[str]:
    return [part[1:-1] for part in route.path.split("/") if part.startswith("{")]


def in_address(route: Route) -> bool:
    """Tell whether the fields of a route travel in its address."""
    return route.method in ("GET", "DELETE")


def over_rest(name: str, payload: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield method, path and body of a request for each of its routes."""
    for route in REQUESTS[name].routes:
        path = route.path.format(**payload)
        rest = {key: value for key, value in payload.items() if key not in in_path(route)}
        if in_address(route):
            yield route.method, f"{path}?{urlencode(rest)}", None
        else:
            yield route.method, path, rest


async def asks_over_rest(person: Person, name: str, payload: dict[str, Any]) -> list[Any]:
    """Ask by every route and return each one's status, body and headers."""
    return [await person.call(*request) for request in over_rest(name, payload)]
