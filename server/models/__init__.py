"""The tables, one noun per file, and the one helper for reads in plain SQL."""

from server.models.attachment import Attachment
from server.models.conversation import Conversation
from server.models.installation import Installation
from server.models.key import ServerKey
from server.models.message import HiddenMessage, Message, MessageVersion
from server.models.participant import Participant
from server.models.presence import Presence
from server.models.user import User

__all__ = [
    "Attachment",
    "Conversation",
    "HiddenMessage",
    "Installation",
    "Message",
    "MessageVersion",
    "Participant",
    "Presence",
    "ServerKey",
    "User",
]
