"""What a balancer asks: whether this node is to be sent anybody, and if not, what it lacks."""

import asyncio
from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[None]]

_ANSWER_S = 2.0
"""How long a part of the node has to answer; a balancer waits not much longer for us."""


class Readiness:
    """Named checks of the parts of a node; each raises when its part does not answer."""

    def __init__(self) -> None:
        """Begin with nothing to check."""
        self.is_draining = False
        self._needed: dict[str, Check] = {}
        self._told: dict[str, Check] = {}

    def need(self, name: str, check: Check) -> None:
        """Add a part without which the node cannot serve."""
        self._needed[name] = check

    def tell(self, name: str, check: Check) -> None:
        """Add a part that is told of, and without which the node serves all the same."""
        self._told[name] = check

    async def report(self) -> tuple[bool, dict[str, str | bool]]:
        """Return whether the node is ready, and what is to be said about it."""
        checks = {**self._needed, **self._told}
        answers = await asyncio.gather(*map(_answers, checks.values()))
        parts = dict(zip(checks, answers, strict=True))
        serves = all(parts[name] for name in self._needed)
        status = "draining" if self.is_draining else "ok" if serves else "unavailable"
        body: dict[str, str | bool] = {"status": status, **parts, "draining": self.is_draining}
        return status == "ok", body


async def _answers(check: Check) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_S):
            await check()
    except Exception:  # noqa: BLE001 (whatever it is, the part is not there)
        return False
    return True
