"""Who asks over HTTP: the person whose token came in the `Authorization` header."""

from typing import Any

from aiohttp import web

from server.actions import people
from server.actions.people import Acquaintances
from server.auth import Identity, Tokens
from server.dispatch import Dispatcher
from server.errors import UnauthorizedError
from server.middleware import USER
from server.permissions import Caller


class Bearer:
    """Turns a request's token into its caller."""

    def __init__(self, dispatcher: Dispatcher, tokens: Tokens, met: Acquaintances) -> None:
        """Believe what these tokens say."""
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._met = met

    async def caller(self, http: web.Request) -> Caller:
        """Return whose token came with a request, before anything of its body is read.

        Raises `UnauthorizedError`, also for a token in the address, which gets logged on the way.
        """
        if "token" in http.query:
            message = "A token does not belong in the address: send it as Authorization: Bearer."
            raise UnauthorizedError(message, reason="token in the query string")
        scheme, _, token = http.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthorizedError(reason="no bearer token")
        identity = await self._tokens.verify(token.strip())
        profile = self._met.find(identity) or await self._recognised(identity)
        caller = people.caller(identity, profile)
        http[USER] = caller.user_id
        return caller

    async def _recognised(self, identity: Identity) -> dict[str, Any]:
        edition = self._met.edition
        told_in = self._dispatcher.settings.limits.broadcast_members
        recognised = people.recognise(identity, told_in=told_in)
        outcome = await self._dispatcher.run(recognised, what="token")
        profile: dict[str, Any] = outcome.reply["user"]
        self._met.keep(identity, profile, edition=edition)
        return profile
