"""The frames that people expect, put together from the contract alone."""

from typing import Any

from tests.people import Frame


def durable(name: str, talk: dict[str, Any], number: int, actor_id: str, /, **body: Any) -> Frame:
    """Return a durable event of a conversation that follows on the one before it."""
    numbers = {"event_seq": number, "prev_event_seq": number - 1}
    return name, {"conversation_id": talk["id"], **numbers, "actor_id": actor_id, **body}


def personal(name: str, number: int, /, **body: Any) -> Frame:
    """Return a durable event of a person's own that follows on the one before it."""
    return name, {"user_seq": number, "prev_user_seq": number - 1, **body}


def spoken(message: dict[str, Any]) -> Frame:
    """Return the announcement of a message that somebody holds in their hands."""
    shared = {key: value for key, value in message.items() if key not in ("status", "is_read")}
    talk = {"id": message["conversation_id"]}
    number, sender = message["event_seq"], message["sender"]["id"]
    return durable("message:created", talk, number, sender, message=shared)
