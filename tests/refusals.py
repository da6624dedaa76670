"""Being told no."""

from collections.abc import Awaitable
from typing import Any

import pytest

from tests.people import Refused


async def refused(work: Awaitable[Any]) -> Refused:
    """Wait for the refusal that must come, and return it."""
    with pytest.raises(Refused) as refusal:
        await work
    return refusal.value
