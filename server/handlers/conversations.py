"""Conversations."""

from collections.abc import Mapping
from typing import Any

from server.actions import conversations
from server.dispatch import Request, Route
from server.permissions import KEEPERS, READERS
from server.schemas.answers import (
    ConversationAnswer,
    ConversationCreated,
    ConversationPage,
    MyAnswer,
)
from server.schemas.objects import Conversation, My
from server.schemas.requests import (
    Archive,
    CreateConversation,
    GetConversation,
    ListConversations,
    UpdateConversation,
    UpdateMy,
)

_ONE = "conversations/{conversation_id}/"


def _is_new(reply: Mapping[str, Any]) -> bool:
    return bool(reply["created"])


REQUESTS = (
    Request(
        "conversation:list",
        ListConversations,
        ConversationPage,
        conversations.list_,
        (Route("GET", "conversations/", ConversationPage),),
        on_sockets=False,
    ),
    Request(
        "conversation:create",
        CreateConversation,
        ConversationCreated,
        conversations.create,
        (
            Route(
                "POST",
                "conversations/create_with_participants/",
                Conversation,
                shows="conversation",
                created=_is_new,
            ),
        ),
    ),
    Request(
        "conversation:get",
        GetConversation,
        ConversationAnswer,
        conversations.get,
        (Route("GET", _ONE, Conversation, shows="conversation"),),
        on_sockets=False,
    ),
    Request(
        "conversation:update",
        UpdateConversation,
        ConversationAnswer,
        conversations.update,
        (Route("PATCH", _ONE, Conversation, shows="conversation"),),
        asked_by=KEEPERS,
    ),
    Request(
        "conversation:update_my",
        UpdateMy,
        MyAnswer,
        conversations.update_my,
        asked_by=READERS,
    ),
    Request(
        "conversation:archive",
        Archive,
        MyAnswer,
        conversations.archive,
        (Route("POST", f"{_ONE}archive/", My, shows="my"),),
        on_sockets=False,
    ),
)
