"""The command line: `palabre` or `python -m server`."""

import os
import re
import secrets
import sys
from pathlib import Path

import click

from server import auth, config, logs
from server.config import Settings
from server.errors import SettingsError
from server.schemas.values import UserRole

if sys.platform != "win32":  # which has no such limits
    import resource

_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_TTL_S = 3_650 * 86_400
_MOST_FILES = 1_048_576
_FILES_OF_OUR_OWN = 64
_MOST_WORKERS = 256

_config_option = click.option(
    "--config", "path", type=click.Path(path_type=Path), help="The settings file [./config.toml]."
)


def main() -> None:
    """Run one command; what is wrong with the settings becomes one line and the status 2."""
    try:
        cli(prog_name="palabre")
    except SettingsError as error:
        print(f"palabre: {error}", file=sys.stderr)
        sys.exit(2)


@click.group()
@click.version_option(package_name="palabre")
def cli() -> None:
    """Palabre, a messaging server that speaks Socket.IO."""


@cli.command("serve")
@_config_option
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=int, help="The port to listen on.")
@click.option("--demo", is_flag=True, help="Bring people and conversations to play with.")
@click.option(
    "--workers",
    type=click.IntRange(1, _MOST_WORKERS),
    default=1,
    help="The processes that share the port, one for each core [1].",
)
@click.option("--worker", type=int, default=0, hidden=True)
def serve_command(  # noqa: PLR0913 - one argument per option
    path: Path | None, host: str | None, port: int | None, *, demo: bool, workers: int, worker: int
) -> None:
    """Serve until it is stopped."""
    settings = config.load(path, {"http.host": host, "http.port": port}, demo=demo)
    if demo:
        settings = config.for_demo(settings, _demo_secret(settings))
    if workers > 1:
        config.require_shareable(settings, demo=demo)
    logs.configure(settings.log.level, settings.log.format)
    _raise_file_limit(settings)
    if workers > 1:
        from server import workers as processes  # noqa: PLC0415 - one process starts without it

        given = {"--config": path, "--host": host, "--port": port}
        words = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
        processes.serve(settings, ["serve", *words], workers)
        return

    from server import app  # noqa: PLC0415 - the other commands start without it

    app.serve(settings, demo=demo, worker=worker)


@cli.command("token")
@click.argument("user")
@click.option("--name", help="The name others see.")
@click.option("--role", type=click.Choice([role.value for role in UserRole]), help="The role.")
@click.option(
    "--ttl", default="30d", show_default=True, help="How long it is valid: 15m, 12h, 30d."
)
@click.option("--demo", is_flag=True, help="Sign for `serve --demo`.")
@_config_option
def token_command(  # noqa: PLR0913 - one argument per option
    user: str, name: str | None, role: str | None, ttl: str, path: Path | None, *, demo: bool
) -> None:
    """Print a token that says its bearer is USER."""
    settings = config.load(path, {}, demo=demo)
    if demo:
        settings = config.for_demo(settings, _demo_secret(settings))
    known = UserRole(role) if role is not None else None
    print(auth.issue(settings.auth, user, name=name, role=known, ttl_s=_seconds(ttl)))


@cli.command("migrate")
@_config_option
@click.option("--new-epoch", is_flag=True, help="Say that this is a restored copy: see below.")
def migrate_command(path: Path | None, *, new_epoch: bool) -> None:
    """Bring the tables up to date.

    After the database was replaced by an older copy of itself, --new-epoch makes every client drop
    what it stored of the time that is gone.
    """
    settings = _for_tables(path)

    from server import app  # noqa: PLC0415 - the other commands start without it

    app.migrate(settings)
    if new_epoch:
        app.begin_epoch(settings)


@cli.group("key")
def key_group() -> None:
    """Make, list and revoke the keys by which programs of yours use REST."""


@key_group.command("create")
@click.argument("name")
@_config_option
def key_create_command(name: str, path: Path | None) -> None:
    """Make the key NAME and print it, once: only a digest of it is kept."""
    from server import keys  # noqa: PLC0415 - the other commands start without it

    print(keys.create(_for_tables(path), name))


@key_group.command("list")
@_config_option
def key_list_command(path: Path | None) -> None:
    """List the keys, when they were made, and when they were last used, to a minute or so."""
    from server import keys  # noqa: PLC0415 - the other commands start without it

    print("\n".join(keys.listed(_for_tables(path))))


@key_group.command("revoke")
@click.argument("name")
@_config_option
def key_revoke_command(name: str, path: Path | None) -> None:
    """Revoke the key NAME: the next request with it is refused."""
    from server import keys  # noqa: PLC0415 - the other commands start without it

    keys.revoke(_for_tables(path), name)
    print(f"{name} is revoked")


@cli.command("check")
@click.argument("url")
@click.option(
    "--token-a", required=True, envvar="CHECK_TOKEN_A", help="One person's token, - reads it."
)
@click.option(
    "--token-b", required=True, envvar="CHECK_TOKEN_B", help="Another's token, - reads it."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    default=10.0,
    show_default=True,
    help="The seconds for one step; all of them get six times that.",
)
@click.option("--json", "form", flag_value="json", default="lines", help="Print one JSON object.")
def check_command(url: str, token_a: str, token_b: str, timeout: float, form: str) -> None:
    """Try a running server out with two people: URL is https://chat.example.com.

    The tokens are also taken from CHECK_TOKEN_A and CHECK_TOKEN_B; - reads a line of standard
    input. The status is 0 when all is well, 1 when something is not, 2 for a wrong command line.
    """
    from server.check import command  # noqa: PLC0415 - the other commands start without it

    pair = command.tokens(token_a, token_b, sys.stdin)
    good = command.perform(command.address(url), pair, step_s=timeout, form=form)
    sys.exit(0 if good else 1)


def _for_tables(path: Path | None) -> Settings:
    """Return the settings for work on tables, which needs no secret."""
    settings = config.load(path, {}, demo=True)
    logs.configure(settings.log.level, settings.log.format)
    return settings


def _seconds(text: str) -> int:
    """Return a span such as 15m, 12h or 30d in seconds."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_TTL_S:
        raise SettingsError(f"--ttl: {text} is not a span like 15m, 12h or 30d, ten years at most")
    return seconds


def _demo_secret(settings: Settings) -> str:
    """Return the secret of the demo: the configured one, else one kept beside the database."""
    if settings.auth.secret:
        return settings.auth.secret
    database = settings.database.file_path() or Path("data/palabre.db")
    file = database.parent / "demo-secret"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _create_secret(file)
        secret = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: cannot be read or written: {error}") from error
    if len(secret) < config.SECRET_BYTES:
        raise SettingsError(f"{file}: holds no secret any more; delete it to get a new one")
    return secret


def _create_secret(file: Path) -> None:
    """Write a fresh secret that only we can read, unless there is one."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="ascii") as opened:
        opened.write(secrets.token_hex(config.SECRET_BYTES))


def _raise_file_limit(settings: Settings) -> None:
    """Allow as many open files as the system lets us, and log what that is enough for."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):  # macOS names a limit that it does not grant
            pass
    files = _MOST_FILES if soft == resource.RLIM_INFINITY else soft
    connections = max(0, files - _FILES_OF_OUR_OWN - settings.database.pool_size)
    logs.get_logger("server").info("open files allowed", files=files, connections=connections)


if __name__ == "__main__":
    main()
