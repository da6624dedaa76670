"""Who takes part in a check, and what they know so far."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from server.check.api import Api
from server.check.connection import Connection
from server.check.patience import Patience
from server.ids import new_id

EXTERNAL_ID = "palabre-check"
MARK = f"{EXTERNAL_ID}-"
"""How the `client_msg_id` of everything begins that any check ever sent."""


@dataclass
class Person:
    """One of the two, with what their token is for."""

    letter: str
    token: str
    api: Api
    id: str = ""
    role: str = ""
    socket: Connection | None = None

    @property
    def connection(self) -> Connection:
        """Return the socket, which steps that need it find open."""
        if self.socket is None:
            message = f"{self.letter} has no socket"
            raise AttributeError(message)
        return self.socket

    async def hang_up(self) -> None:
        """Close the socket, if there is one."""
        if self.socket is not None:
            socket, self.socket = self.socket, None
            await socket.close()


class Scene:
    """The two people, their one conversation, and what was said in it."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        tokens: tuple[str, str],
        patience: Patience,
    ) -> None:
        """Let the bearers of two tokens meet at a server."""
        self.http = http
        self.url = url
        self.patience = patience
        self.a, self.b = (
            Person(letter, token, Api(http, url, token, patience))
            for letter, token in zip("AB", tokens, strict=True)
        )
        self.keeper: Person | None = None
        self.conversation_id = ""
        self.last_seq = 0
        self.run = MARK + new_id()[-12:]
        self._said = 0

    @property
    def people(self) -> tuple[Person, Person]:
        """Return both."""
        return (self.a, self.b)

    def words(self, content: str, **more: Any) -> dict[str, Any]:
        """Return the fields of a new message that can be recognised as this run's."""
        self._said += 1
        return {"client_msg_id": f"{self.run}-{self._said}", "content": content, **more}

    async def says(self, content: str, **more: Any) -> dict[str, Any]:
        """Let A send a message over REST and return it."""
        path = f"conversations/{self.conversation_id}/send/"
        message = await self.a.api.post(path, self.words(content, **more))
        self.last_seq = max(self.last_seq, message["seq"])
        return message

    async def connect(self, person: Person, **memory: Any) -> Connection:
        """Open a person's socket, with what it remembers of an earlier one."""
        auth = {"token": person.token, **memory}
        person.socket = await Connection.open(self.http, self.url, auth, self.patience)
        return person.socket
