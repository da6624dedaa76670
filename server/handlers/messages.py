"""Messages."""

from collections.abc import Mapping
from typing import Any

from server.actions import messages
from server.dispatch import Request, Route
from server.permissions import READERS, WRITERS, Asker
from server.schemas.answers import (
    History,
    HistoryPage,
    MessageAnswer,
    MessageSent,
    ReadBy,
    SearchPage,
    Versions,
)
from server.schemas.objects import Message
from server.schemas.requests import (
    DeleteMessage,
    EditMessage,
    GetMessage,
    ListMessages,
    SearchMessages,
    SendMessage,
)

_ONE = "messages/{message_id}/"


def _is_new(reply: Mapping[str, Any]) -> bool:
    return not reply["duplicate"]


REQUESTS = (
    Request(
        "message:send",
        SendMessage,
        MessageSent,
        messages.send,
        (
            Route(
                "POST",
                "conversations/{conversation_id}/send/",
                Message,
                shows="message",
                created=_is_new,
                makes_id=True,
                takes_files=True,
            ),
        ),
        draft=messages.draft,
        sends=True,
        asked_by=(*WRITERS, Asker.SERVICE),
    ),
    Request(
        "message:list",
        ListMessages,
        History,
        messages.page,
        (
            Route(
                "GET",
                "conversations/{conversation_id}/messages/",
                HistoryPage,
                renamed={"messages": "results"},
            ),
        ),
        asked_by=READERS,
    ),
    Request(
        "message:edit",
        EditMessage,
        MessageAnswer,
        messages.edit,
        (Route("PATCH", _ONE, Message, shows="message"),),
        asked_by=(Asker.AUTHOR,),
    ),
    Request(
        "message:delete",
        DeleteMessage,
        MessageAnswer,
        messages.delete,
        (Route("DELETE", _ONE, Message, shows="message"),),
        asked_by=(Asker.AUTHOR, Asker.OWNER, Asker.ADMIN),
    ),
    Request(
        "message:search",
        SearchMessages,
        SearchPage,
        messages.search,
        (Route("GET", "messages/", SearchPage),),
        on_sockets=False,
    ),
    Request(
        "message:get",
        GetMessage,
        MessageAnswer,
        messages.get,
        (Route("GET", _ONE, Message, shows="message"),),
        on_sockets=False,
    ),
    Request(
        "message:read_by",
        GetMessage,
        ReadBy,
        messages.read_by,
        (Route("GET", f"{_ONE}read_by/", ReadBy),),
        on_sockets=False,
    ),
    Request(
        "message:history",
        GetMessage,
        Versions,
        messages.history,
        (Route("GET", f"{_ONE}history/", Versions),),
        on_sockets=False,
    ),
)
