"""What is wrong with a server, as one sentence for an operator and a hint where to look."""

import os
from typing import Any

import aiohttp

_LONGEST = 300

_PROXY = "docs/deploying.md has the lines that a proxy needs"
_NOT_OURS = "a proxy or balancer answered instead of Palabre: is this its address?"
_ELSEWHERE = "give the check the address that this leads to"
_BY_CODE = {
    "unauthorized": "is the token whole, signed with the key of this server, and of its audience?",
    "token_expired": "make a fresh one, as `palabre token USER` does",
    "forbidden": "is this person a read_only member of the conversation, or is the role service?",
    "conversation_closed": "reopen it: PATCH conversations/{id}/ with is_active true",
    "not_found": "does a proxy change the path, or is the server older than this check?",
    "rate_limited": "wait a minute, then run the check again",
    "unavailable": "can the server reach its database? /readyz tells",
    "storage_full": "there is no room on the disk of the server",
    "payload_too_large": "a limit of the server or of a proxy in front is very small",
    "unsupported_media": "does a proxy change the body of requests?",
    "internal": "the log of the server has the stack",
}
_BY_STATUS = {
    401: "something in front of Palabre asks for a login",
    403: "something in front of Palabre refuses this machine",
    404: "does the proxy pass this path on to Palabre?",
    413: "the proxy allows smaller bodies than Palabre does",
    502: "the proxy runs, but does not reach Palabre",
    503: "the proxy runs, but has no Palabre to ask",
    504: "the proxy runs, but Palabre does not answer it",
}


class Problem(Exception):  # noqa: N818 (it is a finding, not a failure of ours)
    """What was expected, what came instead, and where an operator should look."""

    def __init__(self, expected: str, came: str, hint: str = "") -> None:
        """Keep the three, as text that is safe on a terminal."""
        self.expected = printable(expected)
        self.came = printable(came)
        self.hint = printable(hint)
        super().__init__(f"expected {self.expected}, but {self.came}")

    def about(self, what: str) -> "Problem":
        """Return the same problem, found with this."""
        return Problem(f"{self.expected} with {what}", self.came, self.hint)


def printable(text: object) -> str:
    """Return a text on one line; what a foreign server sent must not steer the terminal."""
    line = " ".join(str(text).split())
    shown = "".join(char if char.isprintable() else "?" for char in line)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def of_network(expected: str, error: Exception, *, host: str) -> Problem:
    """Return what it means that a request got no answer at all."""
    came, hint = _network(error, host)
    return Problem(expected, came, hint)


def _network(error: Exception, host: str) -> tuple[str, str]:
    """Return what happened and a hint; the narrower kinds of error go before the wider ones."""
    meanings: tuple[tuple[type[Exception], str, str], ...] = (
        (
            aiohttp.ClientConnectorDNSError,
            f"no machine is called {host.rpartition(':')[0]}",
            "is the address spelled right?",
        ),
        (
            aiohttp.ClientConnectorCertificateError,
            f"the certificate of {host} is not trusted: {_why(error)}",
            "SSL_CERT_FILE names an authority of your own",
        ),
        (
            aiohttp.ClientSSLError,
            f"TLS with {host} failed: {_why(error)}",
            "does this port speak http:// instead?",
        ),
        (
            aiohttp.ClientConnectorError,
            f"{host} takes no connection: {_why(error)}",
            "is the server running, and is this the port it listens on?",
        ),
        (
            OSError,
            f"{host} closed the connection without an answer",
            "does this port speak https:// instead, or did the server just stop?",
        ),
        (
            aiohttp.ServerDisconnectedError,
            f"{host} closed the connection without an answer",
            "does this port speak https:// instead, or did the server just stop?",
        ),
    )
    for kind, came, hint in meanings:
        if isinstance(error, kind):
            return came, hint
    return f"what {host} sent is no answer: {type(error).__name__}", _NOT_OURS


def _why(error: Exception) -> str:
    """Return the innermost reason, in the words of the system or of the TLS library."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    said = getattr(inner, "verify_message", None) or getattr(inner, "reason", None)
    if not said and isinstance(inner, OSError) and inner.errno:
        said = os.strerror(inner.errno)
    return str(said or inner)


def of_refusal(expected: str, error: object) -> Problem:
    """Return what it means that the server answered with an error object."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return Problem(expected, f"an error without a code came: {error!r}", _NOT_OURS)
    came = f"it was refused: {error['code']}: {error.get('message', '')}"
    return Problem(expected, came.removesuffix("."), _BY_CODE.get(error["code"], ""))


def of_answer(expected: str, status: int, content_type: str, location: str) -> Problem:
    """Return what it means that something answered that is not Palabre."""
    if 300 <= status < 400:
        return Problem(expected, f"a redirect ({status}) to {location or '?'} came", _ELSEWHERE)
    came = f"{status} with {content_type or 'nothing'} came"
    return Problem(expected, came, _BY_STATUS.get(status, _NOT_OURS))


def of_upgrade(expected: str, status: int) -> Problem:
    """Return what it means that an HTTP answer came where a WebSocket should have opened."""
    came = f"the WebSocket was not opened, {status} came"
    if status in (200, 400, 426):
        return Problem(expected, came, f"a proxy must pass Upgrade and Connection on; {_PROXY}")
    return Problem(expected, came, _BY_STATUS.get(status, _NOT_OURS))


def of_shape(expected: str, answer: Any) -> Problem:
    """Return what it means that an answer is JSON, but not what the protocol says."""
    return Problem(expected, f"this came: {answer!r}", "is this server older than the check?")
