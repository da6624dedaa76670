"""What a client says when it connects; unlike elsewhere, what is unknown here is ignored."""

from pydantic import BaseModel, ConfigDict

from server.schemas.values import Seq, Token


class Handshake(BaseModel):
    """The `auth` of a connection: who comes, and what they have already."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    token: Token | None = None
    """A JSON Web Token, a fresh one at every attempt; or `Authorization: Bearer` instead."""
    protocol: int = 1
    cursors: dict[str, Seq | None] | None = None
    """The event_seq up to which the client has each conversation; null: begin at its head."""
    user_seq: Seq | None = None
    """The same for the person's own list; 0 on a new device."""
    epoch: str | None = None
    """The one that cursors and user_seq belong to."""
