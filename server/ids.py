"""New ids: UUIDv7 as text, so that rows made one after another lie next to each other; and secrets.

Randomness is asked of the system for many secrets at once, since each asking is a system call.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from secrets import token_bytes

from uuid_utils import uuid7

_SECRET_BYTES = 15
_AT_ONCE = 256


def new_id() -> str:
    """Return a fresh id of 36 characters."""
    return str(uuid7())


def secret_id() -> str:
    """Return 20 fresh characters that nobody can guess, plain in JSON and in addresses."""
    return next(_SECRETS)


def _secrets() -> Iterator[str]:
    length = _SECRET_BYTES * 4 // 3
    while True:
        drawn = urlsafe_b64encode(token_bytes(_SECRET_BYTES * _AT_ONCE)).decode()
        yield from (drawn[at : at + length] for at in range(0, len(drawn), length))


_SECRETS = _secrets()
