# ruff: noqa: INP001, T201 - a program, not a package
"""Write docs/configuration.md and config.toml from the settings themselves.

`python docs/generate_configuration.py` writes both; with `--check` it writes nothing and ends with
1 when one of them is not what it would write.
"""

import itertools
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from server import config  # noqa: E402 - found through the line above

_WIDTH = 100
# Exactly one of these is given, so that their empty defaults would only be in the way.
_COMMENTED_OUT = {
    "auth.secret": "at least 32 random bytes",
    "auth.public_key": "keys/public.pem",
    "auth.jwks_url": "https://login.example.com/.well-known/jwks.json",
}
_TOML_HEAD = """\
# Every setting with its default; only a key in [auth] must be given. Unknown ones stop the start.
# Each can come from the environment instead, which goes first: PALABRE_HTTP__PORT=9000 is port in
# [http]. Relative paths are from the working directory. Made by docs/generate_configuration.py.
"""
_MARKDOWN_HEAD = """\
# Configuration

<!-- Made by docs/generate_configuration.py from server/config.py: change it there. -->

`palabre serve` reads `config.toml` in the working directory, or the file that `--config` names.
Everything has a default except the key that tokens are checked with: one of `auth.secret`,
`auth.public_key` and `auth.jwks_url` must be given (`--demo` makes a secret of its own).

- A value comes from the command line (`--host`, `--port`), else from the environment, else from
  the file, else it is the default.
- The environment's name of a setting is in the tables. Lists are written with commas
  (`PALABRE_HTTP__ORIGINS=https://a.example,https://b.example`) or as JSON, booleans as `true` and
  `false`.
- An unknown key, an unknown `PALABRE_*` variable, a value of the wrong type and a contradiction
  stop the start with one sentence that names the setting.
- Relative paths are from the working directory.
- On Kubernetes a Service called `palabre` puts variables like `PALABRE_SERVICE_HOST` into every
  pod: set `enableServiceLinks: false` in the pod's spec, or give the Service another name.
"""


def config_toml() -> str:
    """Return the text of config.toml."""
    blocks = [_TOML_HEAD]
    for section, keys in _sections():
        blocks.append(f"\n{_comment(_meaning(section))}[{section}]\n")
        for key in keys:
            name = key.name.rpartition(".")[2]
            line = f"{name} = {json.dumps(key.default)}\n"
            if key.name in _COMMENTED_OUT:
                line = f"# {name} = {json.dumps(_COMMENTED_OUT[key.name])}\n"
            blocks.append(_comment(key.meaning) + line)
    return "".join(blocks)


def configuration_md() -> str:
    """Return the text of docs/configuration.md."""
    blocks = [_MARKDOWN_HEAD]
    for section, keys in _sections():
        blocks.append(f"\n## {section}\n\n{_meaning(section)}\n\n")
        blocks.append("| Key | Default | Meaning | Environment |\n|---|---|---|---|\n")
        for key in keys:
            default, meaning = json.dumps(key.default), key.meaning.replace("|", "\\|")
            name = key.name.rpartition(".")[2]
            blocks.append(f"| `{name}` | `{default}` | {meaning} | `{key.variable}` |\n")
    return "".join(blocks)


def stale() -> list[Path]:
    """Return the files that are not what they would be now."""
    return [
        path
        for path, text in _files()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def _files() -> list[tuple[Path, str]]:
    return [
        (ROOT / "config.toml", config_toml()),
        (ROOT / "docs" / "configuration.md", configuration_md()),
    ]


def _sections() -> Iterator[tuple[str, Iterator[config.Key]]]:
    return itertools.groupby(config.keys(), key=lambda key: key.name.rpartition(".")[0])


def _meaning(section: str) -> str:
    """Return the sentence about a section."""
    model: Any = config.Settings
    for name in section.split("."):
        model = model.model_fields[name].annotation
    return " ".join(str(model.__doc__).split())


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def main(arguments: list[str]) -> int:
    """Write the files, or with --check say which are stale."""
    if arguments == ["--check"]:
        for path in stale():
            print(f"{path.relative_to(ROOT)} is stale: run python docs/generate_configuration.py")
        return 1 if stale() else 0
    if arguments:
        print("usage: python docs/generate_configuration.py [--check]", file=sys.stderr)
        return 2
    for path, text in _files():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
