"""Who asks over HTTP: the person whose token came in the `Authorization` header, or a server key.

Keys are for REST only. Who connects listens, and those who hold keys are members of nothing: there
is nothing for them to hear, and a connection would outlive the revoking of its key.
"""

from typing import Any

from aiohttp import web

from server.actions import keys, people
from server.actions.keys import Keyring
from server.actions.people import Acquaintances
from server.auth import Identity, Tokens
from server.dispatch import Dispatcher
from server.errors import ForbiddenError, UnauthorizedError, ValidationFailedError
from server.middleware import USER
from server.permissions import Caller
from server.schemas.values import KEY_HEADER


class Bearer:
    """Turns a request's token or server key into its caller."""

    def __init__(
        self, dispatcher: Dispatcher, tokens: Tokens, keyring: Keyring, met: Acquaintances
    ) -> None:
        """Believe what these tokens say, and whoever has one of these keys."""
        self._dispatcher = dispatcher
        self._tokens = tokens
        self._keyring = keyring
        self._met = met

    async def caller(self, http: web.Request) -> Caller:
        """Return whose token or key came with a request, before anything of its body is read.

        Raises `UnauthorizedError`, also for a token in the address, which gets logged on the way.
        """
        if "token" in http.query:
            message = "A token does not belong in the address: send it as Authorization: Bearer."
            raise UnauthorizedError(message, reason="token in the query string")
        if KEY_HEADER in http.headers:
            return await self._holder(http)
        scheme, _, token = http.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthorizedError(reason="no bearer token")
        identity = await self._tokens.verify(token.strip())
        profile = self._met.find(identity) or await self._recognised(identity)
        caller = people.caller(identity, profile)
        http[USER] = caller.user_id
        return caller

    async def _holder(self, http: web.Request) -> Caller:
        given = http.headers.getall(KEY_HEADER)
        if "Authorization" in http.headers:
            problem = "is given beside Authorization; send one of the two"
            raise ValidationFailedError.of(KEY_HEADER, problem)
        if len(given) > 1:
            raise ValidationFailedError.of(KEY_HEADER, "is given twice")
        # No preflight allows the header; this is for a page of our own origin, which asks none.
        if "Origin" in http.headers:
            message = "A server key belongs to a server: no web page may use one."
            raise ForbiddenError(message, reason="a server key in a request of a web page")
        holder = self._keyring.holder(given[0])
        outcome = await self._dispatcher.run(holder, what="server key")
        caller = keys.caller(outcome.reply["user_id"])
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
