"""The doors' list of requests, one noun per file: a name, a schema, an action."""

from functools import cache

from server.dispatch import Registry, Request
from server.handlers import (
    conversations,
    files,
    messages,
    participants,
    people,
    presence,
    receipts,
    sync,
    typing,
)

_ALL: tuple[tuple[Request, ...], ...] = (  # type: ignore[type-arg]
    sync.REQUESTS,
    conversations.REQUESTS,
    participants.REQUESTS,
    messages.REQUESTS,
    receipts.REQUESTS,
    typing.REQUESTS,
    presence.REQUESTS,
    files.REQUESTS,
    people.REQUESTS,
)


@cache
def registry() -> Registry:
    """Return all requests that this server answers."""
    known = Registry()
    for requests in _ALL:
        for request in requests:
            known.add(request)
    return known
