"""Where settings come from: every key from the environment, files, their order, their documents."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from server import config
from server.config import Key, Settings

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parent.parent
ONE_OF_THESE = ("auth.secret", "auth.public_key", "auth.jwks_url")
# Another value than the default, for what is not any number or any text.
OTHER = {
    "http.origins": "https://a.example,https://b.example:8443",
    "http.public_url": "https://chat.example",
    "http.trusted_proxies": "10.0.0.0/8,::1",
    "auth.jwks_url": "https://login.example/keys",
    "database.url": "postgresql://palabre@db.example/palabre",
    "redis.url": "redis+sentinel://a.example:1,b.example:2/0/palabre",
    "realtime.transports": "websocket,polling",
    "users.directory": "contacts",
    "log.level": "warning",
    "log.format": "json",
    "metrics.networks": "10.0.0.0/8,192.168.0.0/16",
    "metrics.token": "a token that nobody guesses",
    "web.frame_ancestors": "https://app.example,http://localhost:*",
}
# What is refused without others.
NEEDS = {
    "redis.url": ("database.url",),
    "redis.emitter_channel": ("database.url", "redis.url"),
}
KEYS = list(config.keys())


def other(key: Key) -> tuple[str, Any]:
    """Return a value of this setting as the environment writes it and as it then is."""
    if key.name in OTHER:
        text = OTHER[key.name]
        return text, tuple(text.split(",")) if isinstance(key.default, tuple) else text
    if isinstance(key.default, bool):
        return str(not key.default).lower(), not key.default
    if isinstance(key.default, int | float):
        return str(key.default + 1), key.default + 1
    return ("one,two", ("one", "two")) if isinstance(key.default, tuple) else ("other", "other")


def value(settings: Settings, name: str) -> Any:
    found: Any = settings
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_setting_can_come_from_the_environment(
    key: Key, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    needs = NEEDS.get(key.name, ())
    for one in KEYS:
        if one.name in needs:
            monkeypatch.setenv(one.variable, other(one)[0])
    text, meant = other(key)
    monkeypatch.setenv(key.variable, text)

    settings = config.load(None, {}, demo=True)

    assert value(settings, key.name) == meant != key.default
    changed = [k.name for k in KEYS if value(settings, k.name) != k.default]
    assert changed == [*needs, key.name]


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text("[http]\nport = 1\nhost = 'file'\n[limits]\nmembers = 7")
    monkeypatch.setenv("PALABRE_HTTP__PORT", "2")
    monkeypatch.setenv("PALABRE_HTTP__HOST", "environment")

    settings = config.load(None, {"http.port": 3, "http.host": None}, demo=True)

    assert (settings.http.port, settings.http.host, settings.limits.members) == (
        *(3, "environment"),
        7,
    )


def test_a_list_in_the_environment_may_be_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PALABRE_HTTP__ORIGINS", '["https://a.example"]')
    assert config.load(None, {}, demo=True).http.origins == ("https://a.example",)


def test_the_example_file_holds_every_default_key_by_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "config.toml").read_text()

    written = dict(_flat(tomllib.loads(text)))
    assert written == {
        key.name: json.loads(json.dumps(key.default))
        for key in KEYS
        if key.name not in ONE_OF_THESE
    }
    for name in ONE_OF_THESE:
        assert f"\n# {name.partition('.')[2]} = " in text
    assert config.load(ROOT / "config.toml", {}, demo=True) == Settings()


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    return [
        leaf
        for name, found in tree.items()
        for leaf in (
            _flat(found, f"{prefix}{name}.")
            if isinstance(found, dict)
            else [(prefix + name, found)]
        )
    ]


def test_the_documents_are_what_the_settings_say() -> None:
    check = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, ROOT / "docs" / "generate_configuration.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
