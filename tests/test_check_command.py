"""`palabre check` as an operator types it: what it prints, its exit status, and stopping it."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.__main__ import cli
from server.ids import new_id
from tests.breaking import in_front_of
from tests.people import Person, Town, all_messages
from tests.process import command, finished
from tests.services import LOOPBACK, free_port
from tests.test_check import NAMES, internal_answers, must_leave_nothing, swallows

pytestmark = pytest.mark.one_database

SECRET_WORD = "not-to-be-repeated"


async def test_a_healthy_server_is_ten_lines_and_status_0(
    town: Town, ada: Person, bob: Person, tmp_path: Path
) -> None:
    tokens = {"CHECK_TOKEN_A": ada.token, "CHECK_TOKEN_B": bob.token}
    status, out, err = await finished("check", town.url, cwd=tmp_path, environment=tokens)

    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [re.sub(r" +\d+ ms$", "", line) for line in lines] == [f"ok       {n}" for n in NAMES]
    assert len({len(line) for line in lines}) == 1, "the lines are not aligned"
    await must_leave_nothing(ada, bob)


async def test_tokens_from_standard_input_and_json_for_machines(
    town: Town, ada: Person, bob: Person, tmp_path: Path
) -> None:
    async with in_front_of(town.url, town.http) as proxy:
        internal_answers("/uploads/")(proxy)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server", "check", f"{proxy.url}/", "--json"),
            *("--token-a", "-", "--token-b", "-"),
            cwd=tmp_path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(f"{ada.token}\nBearer {bob.token}\n".encode())

    found = json.loads(out)
    assert process.returncode == 1
    assert (found["url"], found["ok"]) == (proxy.url, False)
    assert [step["name"] for step in found["steps"]] == NAMES
    assert [s["name"] for s in found["steps"] if s["result"] != "ok"] == ["upload and thumbnail"]
    assert found["steps"][7]["hint"] == "the log of the server has the stack"
    assert ada.token not in out.decode()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_who_stops_it_finds_nothing_left(
    town: Town, ada: Person, bob: Person, tmp_path: Path, stop: signal.Signals
) -> None:
    async with in_front_of(town.url, town.http) as proxy:
        swallows("typing:started")(proxy)
        words = ["check", proxy.url, "--token-a", ada.token, "--token-b", bob.token]
        async with command(*words, "--timeout", "60", cwd=tmp_path) as process:
            await process.until(lambda: any("message arrives live" in line for line in process.out))
            process.send(stop)
            status = await process.ended()

    assert (status, process.err) == (1, [])
    assert process.out[6:] == [f"skipped  {name:<20}  (interrupted)" for name in NAMES[6:]]
    talk = await must_leave_nothing(ada, bob)
    assert len([m for m in await all_messages(ada, talk["id"]) if m["type"] != "system"]) == 2


def test_nobody_there_is_a_sentence_and_status_1() -> None:
    url = f"http://{LOOPBACK}:{free_port()}"
    done = CliRunner().invoke(cli, ["check", url, "--token-a", "a", "--token-b", new_id()])

    assert done.exit_code == 1
    assert done.output.count("FAILED") == 2
    assert f"{url.removeprefix('http://')} takes no connection: Connection refused." in done.output
    assert "Hint: is the server running, and is this the port it listens on?\n" in done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["chat.example.com"], "'chat.example.com' is not written like https://chat.example.com"),
        (["ftp://chat.example.com"], "is not written like https://chat.example.com"),
        (["https://"], "is not written like"),
        (["https://chat.example.com:99999"], "is not written like"),
        (["https://chat.example.com/ x"], "is not written like"),
        (["https://chat.example.com/#token=1"], "only the address of the server"),
        (["https://me:word@chat.example.com"], "only the address of the server"),
        (
            ["https://chat.example.com", "--token-b", f"{SECRET_WORD} {SECRET_WORD}"],
            "--token-b: is",
        ),
        (["https://chat.example.com", "--token-a", ""], "--token-a: is not a token"),
        (["https://chat.example.com", "--token-a", "-"], "--token-a: is not a token"),
        (["https://chat.example.com", "--timeout", "0"], "--timeout"),
        ([], "Missing argument 'URL'"),
    ],
)
def test_what_was_mistyped_is_status_2(words: list[str], says: str) -> None:
    tokens = {"CHECK_TOKEN_A": SECRET_WORD, "CHECK_TOKEN_B": SECRET_WORD}
    done = CliRunner().invoke(cli, ["check", *words], env=tokens)

    assert done.exit_code == 2
    assert says in done.output
    assert SECRET_WORD not in done.output


def test_both_tokens_are_asked_for() -> None:
    done = CliRunner().invoke(cli, ["check", "https://chat.example.com", "--token-a", "a"])

    assert done.exit_code == 2
    assert "Missing option '--token-b'" in done.output
