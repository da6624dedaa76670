"""The REST door, as a client sees it: an answer of the protocol, or the problem."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from yarl import URL

from server.check import problem
from server.check.patience import Patience

BASE = "/api/messaging/"
_LARGEST = 16 * 1_048_576


class Api:
    """Asks on behalf of one person."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, token: str, patience: Patience
    ) -> None:
        """Ask the server at this address, with this token."""
        self._http = http
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._patience = patience

    async def get(self, path: str) -> dict[str, Any]:
        """Return the object that a GET answers."""
        return await self._object("GET", path, (200,))

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the object that a POST of this body answers."""
        headers = {"Content-Type": "application/json"}
        return await self._object(
            "POST", path, (200, 201), data=orjson.dumps(body), headers=headers
        )

    async def delete(self, path: str) -> dict[str, Any]:
        """Return the object that a DELETE answers."""
        return await self._object("DELETE", path, (200,))

    async def upload(self, name: str, content: bytes, content_type: str) -> dict[str, Any]:
        """Upload a file and return its attachment."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name, content_type=content_type)
        return await self._object("POST", "uploads/", (201,), data=form)

    async def fetch(self, address: str) -> tuple[str, bytes]:
        """Return type and content of what an address of the server (`/api/…`) holds."""
        expected = f"the bytes of {address}"
        status, headers, content = await self._ask("GET", address, expected)
        if status != 200:
            raise _refused(expected, status, headers, content)
        return headers.get("Content-Type", "").partition(";")[0], content

    async def _object(
        self, method: str, path: str, wanted: tuple[int, ...], **options: Any
    ) -> dict[str, Any]:
        expected = f"{' or '.join(map(str, wanted))} from {method} {path.partition('?')[0]}"
        status, headers, content = await self._ask(method, BASE + path, expected, **options)
        if status not in wanted:
            raise _refused(expected, status, headers, content)
        answer = _json(content)
        if not isinstance(answer, dict):
            raise problem.of_answer(expected, status, headers.get("Content-Type", ""), "")
        return answer

    async def _ask(
        self, method: str, address: str, expected: str, **options: Any
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = URL(self._url + address, encoded=True)
        headers = {**self._headers, **options.pop("headers", {})}
        try:
            async with (
                self._patience.awaits(expected),
                self._http.request(
                    method, url, headers=headers, allow_redirects=False, **options
                ) as response,
            ):
                return response.status, response.headers, await _read(response)
        except (aiohttp.ClientError, OSError) as error:
            raise problem.of_network(expected, error, host=url.authority) from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, of which no foreign server can make more than there is room for."""
    content = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        content += chunk
        if len(content) > _LARGEST:
            raise aiohttp.ClientPayloadError
    return bytes(content)


def _refused(
    expected: str, status: int, headers: Mapping[str, str], content: bytes
) -> problem.Problem:
    answer = _json(content)
    if isinstance(answer, dict) and "error" in answer:
        return problem.of_refusal(expected, answer["error"])
    given = headers.get("Content-Type", ""), headers.get("Location", "")
    return problem.of_answer(expected, status, *given)


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
