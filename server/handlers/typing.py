"""Who is preparing a message."""

from server.actions import typing
from server.dispatch import Request
from server.permissions import WRITERS
from server.schemas.answers import Nothing
from server.schemas.requests import TypingStart, TypingStop

REQUESTS = (
    Request("typing:start", TypingStart, Nothing, typing.start, asked_by=WRITERS),
    Request("typing:stop", TypingStop, Nothing, typing.stop, asked_by=WRITERS),
)
