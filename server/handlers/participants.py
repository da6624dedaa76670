"""Members."""

from server.actions import participants
from server.dispatch import Request, Route
from server.permissions import KEEPERS
from server.schemas.answers import ParticipantPage, ParticipantsAnswer
from server.schemas.requests import (
    AddParticipants,
    LeaveConversation,
    ListParticipants,
    RemoveParticipant,
    UpdateParticipant,
)

_ALL = "conversations/{conversation_id}/participants/"
_ONE = f"{_ALL}{{user_id}}/"

REQUESTS = (
    Request(
        "participant:list",
        ListParticipants,
        ParticipantPage,
        participants.list_,
        (Route("GET", _ALL, ParticipantPage),),
        on_sockets=False,
    ),
    Request(
        "participant:add",
        AddParticipants,
        ParticipantsAnswer,
        participants.add,
        (Route("POST", _ALL, ParticipantsAnswer),),
        asked_by=KEEPERS,
    ),
    Request(
        "participant:update",
        UpdateParticipant,
        ParticipantsAnswer,
        participants.update,
        (Route("PATCH", _ONE, ParticipantsAnswer),),
        asked_by=KEEPERS,
    ),
    Request(
        "participant:remove",
        RemoveParticipant,
        ParticipantsAnswer,
        participants.remove,
        (Route("DELETE", _ONE, ParticipantsAnswer),),
        asked_by=KEEPERS,
    ),
    Request(
        "participant:leave",
        LeaveConversation,
        ParticipantsAnswer,
        participants.leave,
        (Route("POST", "conversations/{conversation_id}/leave/", ParticipantsAnswer),),
        on_sockets=False,
    ),
)
