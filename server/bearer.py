"""Who asks over HTTP: the person whose token came in the `Authorization` header."""

from aiohttp import web

from server.actions import people
from server.auth import Tokens
from server.dispatch import Dispatcher
from server.errors import UnauthorizedError
from server.middleware import USER
from server.permissions import Caller


class Bearer:
    """Turns a request's token into its caller."""

    def __init__(self, dispatcher: Dispatcher, tokens: Tokens) -> None:
        """Believe what these tokens say."""
        self._dispatcher = dispatcher
        self._tokens = tokens

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
        told_in = self._dispatcher.settings.limits.broadcast_members
        recognised = people.recognise(identity, told_in=told_in)
        outcome = await self._dispatcher.run(recognised, what="token")
        caller = people.caller(identity, outcome.reply["user"])
        http[USER] = caller.user_id
        return caller
