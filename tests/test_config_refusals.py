"""What is wrong with the settings stops the start: status 2 and one sentence that names the key."""

import socket
from pathlib import Path
from typing import Any

import pytest

from server import __main__ as command_line
from tests.conftest import SECRET
from tests.process import finished
from tests.services import LOOPBACK

pytestmark = pytest.mark.one_database

GIVEN = {"PALABRE_AUTH__SECRET": SECRET}

# What the environment and config.toml say, and what the sentence must name.
CASES: dict[str, tuple[dict[str, str], str, tuple[str, ...]]] = {
    "unknown key": (GIVEN, "[http]\nprot = 1", ("config.toml", "http.prot", "http.port")),
    "unknown section": (GIVEN, "[htp]\nport = 1", ("config.toml", "htp.port", "http.port")),
    "unknown key at the top": (GIVEN, "port = 1", ("config.toml", "port")),
    "section as a value": (GIVEN, "http = 1", ("config.toml", "http", "section")),
    "not TOML": (GIVEN, "[http", ("config.toml", "not TOML")),
    "unknown variable": (
        {**GIVEN, "PALABRE_LIMITS__MEMBER": "3"},
        "",
        ("PALABRE_LIMITS__MEMBER:", "PALABRE_LIMITS__MEMBERS"),
    ),
    "missing secret": ({}, "", ("auth.secret", "PALABRE_AUTH__SECRET")),
    "empty secret": ({"PALABRE_AUTH__SECRET": ""}, "", ("auth.secret", "missing")),
    "short secret": ({"PALABRE_AUTH__SECRET": "sesame" * 5}, "", ("auth.secret", "too short")),
    "padded secret": ({"PALABRE_AUTH__SECRET": f"{SECRET}\n"}, "", ("auth.secret", "white space")),
    "two keys": (
        {**GIVEN, "PALABRE_AUTH__PUBLIC_KEY": "key.pem"},
        "",
        ("auth.public_key", "auth.secret"),
    ),
    "unreadable key": (
        {"PALABRE_AUTH__PUBLIC_KEY": "no/key.pem"},
        "",
        ("auth.public_key", "no/key.pem"),
    ),
    "no address of keys": ({"PALABRE_AUTH__JWKS_URL": "file:///k"}, "", ("auth.jwks_url",)),
    "several nodes on SQLite": (
        {**GIVEN, "PALABRE_REDIS__URL": "redis://r"},
        "",
        ("redis.url", "SQLite", "database.url"),
    ),
    "no address of Redis": (
        {**GIVEN, "PALABRE_REDIS__URL": "http://r"},
        "",
        ("redis.url", "redis+sentinel://"),
    ),
    "two servers of Redis": (
        {**GIVEN, "PALABRE_REDIS__URL": "redis://a,b"},
        "",
        ("redis.url", "redis+cluster://"),
    ),
    "Sentinels without a name": (
        {**GIVEN, "PALABRE_REDIS__URL": "redis+sentinel://a:1,b:2/0"},
        "",
        ("redis.url", "/0/NAME"),
    ),
    "a cluster with databases": (
        {**GIVEN, "PALABRE_REDIS__URL": "redis+cluster://a/1"},
        "",
        ("redis.url", "no databases"),
    ),
    "a port that is none": (
        {**GIVEN, "PALABRE_REDIS__URL": "redis://a:70000"},
        "",
        ("redis.url", "65535"),
    ),
    "a parameter of Redis": (
        {**GIVEN, "PALABRE_REDIS__URL": "redis://a/0?socket_timeout=5"},
        "",
        ("redis.url", "socket_timeout"),
    ),
    "an authority of Redis that is not there": (
        {**GIVEN, "PALABRE_REDIS__URL": "rediss://a/0?sslrootcert=no/ca.pem"},
        "",
        ("redis.url", "no/ca.pem"),
    ),
    "an odd prefix": (
        {**GIVEN, "PALABRE_REDIS__PREFIX": "a:b"},
        "",
        ("redis.prefix", "letters"),
    ),
    "an emitter without Redis": (
        {**GIVEN, "PALABRE_REDIS__EMITTER_CHANNEL": "socketio"},
        "",
        ("redis.emitter_channel", "redis.url"),
    ),
    "an emitter on our own channels": (
        {
            **GIVEN,
            "PALABRE_REDIS__URL": "redis://r",
            "PALABRE_REDIS__EMITTER_CHANNEL": "palabre:c:1",
        },
        "",
        ("redis.emitter_channel", "palabre:"),
    ),
    "contradiction": (
        {**GIVEN, "PALABRE_LIMITS__PAGE": "200"},
        "",
        ("limits.page", "limits.page_max"),
    ),
    "a stop that takes too long": (
        {**GIVEN, "PALABRE_DRAIN__SPREAD_S": "8"},
        "",
        ("drain.spread_s", "drain.finish_s", "13 seconds"),
    ),
    "a listening that takes too long": (
        {**GIVEN, "PALABRE_DRAIN__NOTICE_S": "7"},
        "",
        ("drain.notice_s", "drain.finish_s"),
    ),
    "a token that can be guessed": (
        {**GIVEN, "PALABRE_METRICS__TOKEN": "sesame"},
        "",
        ("metrics.token", "too short"),
    ),
    "metrics at the port of everything": (
        {**GIVEN, "PALABRE_METRICS__PORT": "8000"},
        "",
        ("metrics.port", "http.port"),
    ),
    "files too large to be held": (
        {**GIVEN, "PALABRE_FILES__UNSENT_BYTES": "1000"},
        "",
        ("limits.attachment_bytes", "files.unsent_bytes"),
    ),
    "more files than may be held": (
        {**GIVEN, "PALABRE_FILES__UNSENT_FILES": "9"},
        "",
        ("limits.attachments_per_message", "files.unsent_files"),
    ),
    "one person before everybody": (
        {**GIVEN, "PALABRE_FILES__UPLOADS_PER_USER": "101"},
        "",
        ("files.uploads_per_user", "files.uploads_at_once"),
    ),
    "images larger than memory": (
        {**GIVEN, "PALABRE_LIMITS__IMAGE_PIXELS": "100000000"},
        "",
        ("limits.image_pixels", "files.image_memory_bytes"),
    ),
    "computing for longer than waiting": (
        {**GIVEN, "PALABRE_FILES__IMAGE_CPU_S": "30"},
        "",
        ("files.image_cpu_s", "files.image_timeout_s"),
    ),
    "number in words": ({**GIVEN, "PALABRE_HTTP__PORT": "many"}, "", ("http.port", "number")),
    "number as text": (GIVEN, '[http]\nport = "8000"', ("http.port", "number")),
    "out of range": ({**GIVEN, "PALABRE_HTTP__PORT": "70000"}, "", ("http.port", "65535")),
    "every origin": ({**GIVEN, "PALABRE_HTTP__ORIGINS": "*"}, "", ("http.origins",)),
    "unknown word": ({**GIVEN, "PALABRE_LOG__LEVEL": "loud"}, "", ("log.level", "'debug'")),
    "one value, two roles": (
        GIVEN,
        "[auth.roles]\nagent = ['x']\nadmin = ['x']",
        ("auth.roles", '"x"'),
    ),
    "unknown database": (
        {**GIVEN, "PALABRE_DATABASE__URL": "mysql://m"},
        "",
        ("database.url", "postgresql://"),
    ),
    "unknown parameter": (
        {**GIVEN, "PALABRE_DATABASE__URL": "postgresql://p/d?ssl=1"},
        "",
        ("database.url", "ssl"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_said_in_one_sentence(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    environment, toml, named = CASES[name]
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text(toml)
    for variable, text in environment.items():
        monkeypatch.setenv(variable, text)
    monkeypatch.setattr("sys.argv", ["palabre", "serve"])

    with pytest.raises(SystemExit) as stopped:
        command_line.main()

    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (2, "")
    must_be_a_sentence(err.removesuffix("\n"), *named)


def must_be_a_sentence(text: str, *named: str) -> None:
    assert text.startswith("palabre: ")
    assert "\n" not in text
    for secret in (SECRET, "sesame"):
        assert secret not in text
    for word in named:
        assert word in text, text


async def stopped(tmp_path: Path, *arguments: str, **environment: str) -> str:
    """Start a server that cannot start, and return its last sentence."""
    given = {**GIVEN, **environment}
    status, out, err = await finished("serve", *arguments, cwd=tmp_path, environment=given)
    *log, sentence = err.splitlines()
    assert (status, out) == (2, "")
    assert all(line.startswith("{") for line in log), err
    return sentence


async def test_a_taken_port_names_the_way_out(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        sentence = await stopped(tmp_path, "--port", str(port))
    must_be_a_sentence(sentence, "http.port", f"{port} is in use", f"make run PORT={port + 1}")


async def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    must_be_a_sentence(await stopped(tmp_path, "--host", "203.0.113.9"), "http.host", "203.0.113.9")


async def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    must_be_a_sentence(await stopped(tmp_path, "--config", "mine.toml"), "mine.toml")


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    sentence = await stopped(tmp_path, PALABRE_DATABASE__URL="sqlite://taken/palabre.db")
    must_be_a_sentence(sentence, "database.url", "taken/palabre.db")


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear Sir or Madam, " * 100)
    sentence = await stopped(tmp_path, PALABRE_DATABASE__URL="sqlite://letter.db")
    must_be_a_sentence(sentence, "database.url")


async def test_a_postgres_that_does_not_answer_is_refused_without_its_password(
    tmp_path: Path,
) -> None:
    url = f"postgresql://palabre:sesame@{LOOPBACK}:1/palabre"
    must_be_a_sentence(await stopped(tmp_path, PALABRE_DATABASE__URL=url), "database.url")


async def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
    keys: dict[str, Any] = {"PALABRE_AUTH__SECRET": "", "PALABRE_AUTH__PUBLIC_KEY": "key.pem"}
    must_be_a_sentence(await stopped(tmp_path, **keys), "auth.public_key")


async def test_the_demo_is_not_signed_by_somebody_else(tmp_path: Path) -> None:
    keys = {"PALABRE_AUTH__SECRET": "", "PALABRE_AUTH__JWKS_URL": "https://login.example/keys"}
    must_be_a_sentence(await stopped(tmp_path, "--demo", **keys), "auth.jwks_url", "--demo")
