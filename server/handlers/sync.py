"""Catching up, and staying connected."""

from server import clock
from server.actions import sync
from server.dispatch import Request, Route
from server.errors import UnauthorizedError, UnavailableError
from server.events import Outcome
from server.permissions import Call
from server.schemas.answers import SyncAnswer, TokenAccepted
from server.schemas.requests import AuthRefresh, Sync


async def catch_up(call: Call, request: Sync) -> Outcome:
    """Seat the connection first and read afterwards, so that nothing falls in between."""
    if call.connection is None:
        answer, _ = await sync.answer(call, request)
        return Outcome(answer)
    heads: dict[str, int] = {}
    try:
        await call.connection.seat(list(request.cursors))
        answer, heads = await sync.answer(call, request)
    finally:
        unseated = call.connection.settle(heads)
    if call.connection.is_adrift:
        # The seats are gone that the answer would let the client believe it has.
        raise UnavailableError(reason="an epoch began during a sync")
    return Outcome({**answer, "unseated": unseated})


async def refresh(call: Call, request: AuthRefresh) -> Outcome:
    """Let the connection live on with a fresh token."""
    if call.connection is None:
        raise UnauthorizedError
    expires_at = await call.connection.renew(request.token)
    return Outcome({"token_expires_at": clock.to_text(expires_at)})


REQUESTS = (
    Request("auth:refresh", AuthRefresh, TokenAccepted, refresh),
    Request("sync", Sync, SyncAnswer, catch_up, (Route("POST", "sync/", SyncAnswer),)),
)
