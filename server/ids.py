"""New ids: UUIDv7 as text, so that rows made one after another lie next to each other."""

from uuid_utils import uuid7


def new_id() -> str:
    """Return a fresh id of 36 characters."""
    return str(uuid7())
