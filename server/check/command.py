"""The command: what was typed becomes a run, what it found is printed."""

import asyncio
import re
import signal
import sys
from typing import TextIO
from urllib.parse import urlsplit

import click

from server.check import report
from server.check.patience import Patience
from server.check.run import Result, Tell, run

_TOKEN = re.compile(r"[\x21-\x7e]+")


def address(text: str) -> str:
    """Return the server's address without a final slash; raises `click.UsageError`."""
    parts = urlsplit(text)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise click.UsageError(f"URL: {text!r} is not written like https://chat.example.com")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise click.UsageError("URL: only the address of the server, without ?, # or a password")
    return text.rstrip("/")


def tokens(given_a: str, given_b: str, stdin: TextIO) -> tuple[str, str]:
    """Return both tokens; `-` takes the next line of standard input."""
    return _token("--token-a", given_a, stdin), _token("--token-b", given_b, stdin)


def _token(option: str, given: str, stdin: TextIO) -> str:
    if given == "-":
        given = (
            click.prompt(option, hide_input=True, err=True) if stdin.isatty() else stdin.readline()
        )
    token = given.strip().removeprefix("Bearer ")
    if not _TOKEN.fullmatch(token):
        # The text may be most of a secret, so it is not repeated.
        raise click.UsageError(f"{option}: is not a token")
    return token


def perform(url: str, pair: tuple[str, str], *, step_s: float, form: str) -> bool:
    """Run the check, print what it finds as `lines` or `json`, and return whether all is well."""
    results: list[Result] = []

    def tell(result: Result) -> None:
        results.append(result)
        if form == "lines":
            click.echo(report.line(result))

    try:
        good = asyncio.run(_interruptible(url, pair, step_s, tell))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("palabre: interrupted a second time; what was sent may still be there", err=True)
        return False
    if form == "json":
        click.echo(report.as_json(url, results))
    return good


async def _interruptible(url: str, pair: tuple[str, str], step_s: float, tell: Tell) -> bool:
    task = asyncio.current_task()
    if task is not None and sys.platform != "win32":
        # As Ctrl-C does: whoever stops the check still gets everything cleaned up.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(url, pair, Patience(step_s), tell)
