"""Every setting: its name, type, default and meaning; where it comes from; what contradicts what.

Settings are frozen and handed on as arguments; nothing else reads the environment. A value comes
from the command line, else from a `PALABRE_SECTION__KEY` variable, else from config.toml, else it
is the default. The text under each field is its documentation: config.toml and
docs/configuration.md are generated from it.
"""

import difflib
import ipaddress
import json
import os
import re
import ssl
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from server import redis_url
from server.errors import SettingsError

PREFIX = "PALABRE_"
DEFAULT_PATH = Path("config.toml")
SECRET_BYTES = 32

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_LOOPBACK_ANY_PORT = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\]):\*")
_REDIS_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BYTES_PER_PIXEL = 12
_DRAINED_S = 11
_TOKEN_CHARS = 16
_DEFAULT_PORTS = {"http": 80, "https": 443}
_POSTGRES_KINDS = ("postgresql", "postgres")
_SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
_POSTGRES_PARAMETERS = (
    "application_name",
    "host",
    "password",
    "port",
    "sslmode",
    "sslrootcert",
    "user",
)


def _origin(text: str) -> str:
    """Return the origin, or say how it is written."""
    if text == "*":
        raise ValueError('"*" lets every site in; name each origin')
    if _LOOPBACK_ANY_PORT.fullmatch(text):
        return text
    if not _ORIGIN.fullmatch(text):
        raise ValueError(f'"{text}" is not an origin; write it like https://chat.example.com')
    port = urlsplit(text).port
    if port is not None and port == _DEFAULT_PORTS.get(text.partition(":")[0]):
        raise ValueError(f'"{text}" names the usual port, which browsers leave out; drop ":{port}"')
    return text


def _public_url(text: str) -> str:
    """Return the address without a final slash; it is an origin of the web or empty."""
    bare = text.removesuffix("/")
    if bare and not (bare.startswith(("http://", "https://")) and _ORIGIN.fullmatch(bare)):
        raise ValueError("must be written like https://chat.example.com, without a path")
    return bare


def _network(text: str) -> str:
    """Return the network as it was written, if it is one."""
    ipaddress.ip_network(text)
    return text


def _long_enough(text: str) -> str:
    """Return the token, which is empty or cannot be guessed."""
    if text and len(text) < _TOKEN_CHARS:
        raise ValueError(f"is too short; it takes at least {_TOKEN_CHARS} characters")
    return text


def _web_address(text: str) -> str:
    """Return the address, which is empty or one of the web with a host."""
    parts = urlsplit(text)
    if text and (parts.scheme not in _DEFAULT_PORTS or not parts.hostname):
        raise ValueError("must be an address that begins with https:// or http://")
    return text


def _redis_address(text: str) -> str:
    """Return the address, which is empty or one of Redis."""
    authority = redis_url.parsed(text).authority if text else None
    if authority and not Path(authority).is_file():
        raise ValueError(f"sslrootcert {authority} is no file")
    return text


def _redis_prefix(text: str) -> str:
    """Return the prefix, in which nothing means anything to Redis or to us."""
    if not _REDIS_PREFIX.fullmatch(text):
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes and underscores")
    return text


Count = Annotated[int, Field(ge=1)]
OrNone = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], Field(strict=False)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(strict=False)]
Transports = Annotated[
    tuple[Literal["websocket", "polling"], ...], Field(strict=False, min_length=1)
]


class Section(BaseModel):
    """What all sections share: frozen, closed and strict."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class HttpSettings(Section):
    """Where the server listens and which browsers may use it."""

    host: Text = "127.0.0.1"
    """The address to listen on; 0.0.0.0 lets other machines in."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The TCP port to listen on; 0 takes any free one."""
    origins: Origins = ()
    """The browser origins, beside our own, whose pages may use this server, such as
    https://app.example.com; a local one may leave its port open: http://localhost:*."""
    public_url: Annotated[str, AfterValidator(_public_url)] = ""
    """The address under which people reach this server behind a proxy, such as
    https://chat.example.com; empty takes the Host header of each request."""
    trusted_proxies: Networks = ()
    """The networks (CIDR) whose forwarded headers are believed, because anybody else can write
    them too."""

    def allows_origin(self, origin: str) -> bool:
        """Tell whether `origins` lists this origin; our own one is the caller's affair."""
        host, colon, port = origin.rpartition(":")
        named = f"{host}:*" if colon and port.isascii() and port.isdigit() else f"{origin}:*"
        return "*" not in origin and (origin in self.origins or named in self.origins)

    def proxy_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """Return the trusted networks in a form that can be asked `address in network`."""
        return tuple(ipaddress.ip_network(text) for text in self.trusted_proxies)


class ClaimNames(Section):
    """Which claim of a token says what about its person; a dot steps into an object: user.id."""

    id: Text = "sub"
    """The claim that holds the person's id, a string or a whole number."""
    name: Text = "name"
    """The claim that holds the name others see."""
    picture: Text = "picture"
    """The claim that holds the address of the person's picture."""
    role: Text = "role"
    """The claim that holds the role, as one string or a list of them."""


class RoleValues(Section):
    """Which values of the role claim mean which role; all empty: they are called as ours are."""

    client: Texts = ()
    """The values that mean client."""
    agent: Texts = ()
    """The values that mean agent, who sees everybody in the directory."""
    admin: Texts = ()
    """The values that mean admin, who acts as owner wherever they are a member."""
    service: Texts = ()
    """The values that mean service, the backend that provides people and conversations."""

    @model_validator(mode="after")
    def _say_one_thing(self) -> Self:
        seen: dict[str, str] = {}
        for role, values in self:
            for value in values:
                if seen.setdefault(value, role) != role:
                    raise ValueError(f'auth.roles: "{value}" means both {seen[value]} and {role}')
        return self


class AuthSettings(Section):
    """Whose tokens are trusted: exactly one of secret, public_key and jwks_url is given."""

    secret: str = Field("", repr=False)
    """The secret of at least 32 bytes that signs tokens (HS256), shared with the application that
    issues them; better in the environment than in a file."""
    public_key: str = ""
    """The public key that checks tokens (RS256, ES256 or EdDSA, by its kind), as PEM text or as
    the path of a PEM file."""
    jwks_url: Annotated[str, AfterValidator(_web_address)] = ""
    """The address of the key set (JWKS) that checks tokens, fetched again when an unknown key is
    named."""
    audience: str = ""
    """The audience (aud) that tokens must be meant for; empty does not look."""
    issuer: str = ""
    """The issuer (iss) that tokens must come from; empty does not look."""
    leeway_s: Annotated[int, Field(ge=0, le=300)] = 10
    """The seconds by which the clocks of issuer and server may differ."""
    claims: ClaimNames = ClaimNames()
    """Which claim says what about the person."""
    roles: RoleValues = RoleValues()
    """Which values of the role claim mean which role."""

    def key_sources(self) -> list[str]:
        """Return the names of the key settings that are given."""
        return [key for key in ("secret", "public_key", "jwks_url") if getattr(self, key)]

    def public_key_pem(self) -> str:
        """Return the public key's PEM text, read from its file if `public_key` is a path."""
        if "-----BEGIN" in self.public_key:
            return self.public_key
        try:
            return Path(self.public_key).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not PEM text"
            raise SettingsError(
                f"auth.public_key: {self.public_key} cannot be read: {why}"
            ) from error

    @model_validator(mode="after")
    def _have_one_source(self) -> Self:
        given = self.key_sources()
        if len(given) > 1:
            raise ValueError(f"auth.{given[1]}: auth.{given[0]} is given too; keep one of them")
        return self


class KeysSettings(Section):
    """What holds for server keys, which programs present instead of a token: palabre key create."""

    most: Annotated[int, Field(ge=0, le=1_000)] = 100
    """The keys that may exist at a time; 0 lets none be made."""
    rate: OrNone = 100
    """The requests per second one node takes from one key, in the long run; 0 sets no limit."""
    burst: Count = 200
    """The requests it takes from one key at once after a pause."""


class DatabaseSettings(Section):
    """Where everything is kept."""

    url: Text = Field("sqlite://data/palabre.db", repr=False)
    """The database: sqlite://PATH (sqlite:///PATH for an absolute one, one process only) or
    postgresql://USER:PASSWORD@HOST:PORT/NAME, with ?host=/DIRECTORY for a Unix socket and
    ?sslmode= for encryption."""
    migrate_on_start: bool = True
    """Whether the tables are brought up to date at every start; without it use palabre migrate."""
    pool_size: Count = 10
    """The connections that one process opens to PostgreSQL at most, beside up to four that store
    what is sent and four that only read; SQLite has its own."""
    require_durable: bool = True
    """Whether the start is refused on a PostgreSQL that may lose what it has confirmed, because its
    fsync, full_page_writes or synchronous_commit is off."""
    waiting_sends: Count = 10_000
    """The sends that may wait to be stored; more are answered `unavailable` until there is room."""
    waiting_bytes: Count = 67_108_864
    """The bytes of text that may wait to be stored, in the same way."""

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, else it is PostgreSQL."""
        return self.url.startswith("sqlite:")

    def file_path(self) -> Path | None:
        """Return the SQLite file, or None in memory and on PostgreSQL."""
        path = self.url.removeprefix("sqlite://")
        return Path(path) if self.is_sqlite and path != ":memory:" else None

    def postgres_session(self) -> dict[str, Any]:
        """Return what asyncpg takes for one connection; ValueError on SQLite."""
        return _postgres_credentials(self.url)

    def tortoise_connection(self) -> dict[str, Any]:
        """Return the engine and the credentials as Tortoise takes them."""
        if not self.is_sqlite:
            credentials = _postgres_credentials(self.url)
            credentials |= {"maxsize": self.pool_size, "reset": _keep_session}
            return {"engine": "tortoise.backends.asyncpg", "credentials": credentials}
        credentials = {
            "file_path": self.url.removeprefix("sqlite://"),
            "journal_mode": "WAL",
            "synchronous": "FULL",
            "foreign_keys": "ON",
            "busy_timeout": 5000,
            # A log that keeps its size is written over in place: no blocks are given out for a
            # commit, and what many commits change in one page goes to the file once.
            "wal_autocheckpoint": 4_000,
            "journal_size_limit": 67_108_864,
        }
        return {"engine": "tortoise.backends.sqlite", "credentials": credentials}

    @model_validator(mode="after")
    def _be_usable(self) -> Self:
        kind, _, rest = self.url.partition("://")
        if kind == "sqlite":
            path, _, parameter = rest.partition("?")
            if parameter:
                raise ValueError(
                    f"database.url: SQLite takes no parameter {parameter.partition('=')[0]}"
                )
            if not path:
                raise ValueError("database.url: names no file; try sqlite://data/palabre.db")
        elif kind in _POSTGRES_KINDS:
            _postgres_credentials(self.url)
        else:
            raise ValueError(
                "database.url: must begin with sqlite:// or postgresql://; "
                "no other database is supported"
            )
        return self


class RedisSettings(Section):
    """What connects several nodes; all of one installation are given the same."""

    url: Annotated[str, AfterValidator(_redis_address), Field(repr=False)] = ""
    """The address of Redis or Valkey: redis://:PASSWORD@HOST:PORT/0 for one server,
    redis+sentinel://HOST:PORT,HOST:PORT/0/NAME for one that Sentinels name,
    redis+cluster://HOST:PORT,HOST:PORT for a cluster (rediss with encryption, with
    ?sslrootcert= for an authority of your own). Empty: this node is alone."""
    sentinel_password: str = Field("", repr=False)
    """The password of the Sentinels themselves, if they ask for one."""
    prefix: Annotated[str, AfterValidator(_redis_prefix)] = "palabre"
    """What the names of channels and keys begin with; each installation that shares a Redis with
    others, a copy for tests among them, has its own."""
    emitter_channel: Annotated[str, Field(max_length=128)] = ""
    """The channel on which other processes may tell something with python-socketio's write-only
    manager, which calls its own `socketio`; whoever can publish there can show `app:` events to
    people. Empty: nobody listens."""
    waiting_events: Count = 10_000
    """The events that may wait to be published; what more comes is found in the database by those
    who were to hear it, within two seconds."""
    waiting_bytes: Count = 33_554_432
    """The bytes of events that may wait to be published, in the same way."""
    unpublished: Count = 10_000
    """The conversations and people of which is remembered, while Redis is away, that others have
    not heard of their last change, so that they are told to look as soon as it is back."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.emitter_channel and not self.url:
            raise ValueError(
                "redis.emitter_channel: needs Redis; give its address as redis.url, "
                "or leave the channel empty"
            )
        if self.emitter_channel.startswith(f"{self.prefix}:"):
            raise ValueError(
                f"redis.emitter_channel: begins like our own channels, with {self.prefix}:; "
                "choose another name"
            )
        return self

    def address(self) -> redis_url.RedisUrl:
        """Return what the address says; ValueError when it is empty."""
        return redis_url.parsed(self.url)


class RealtimeSettings(Section):
    """How sockets are kept."""

    transports: Transports = ("websocket",)
    """How clients may connect: websocket, and polling for networks that block it."""
    ping_interval_s: Seconds = 25
    """The seconds between two pings, which find dead connections and keep proxies from closing
    quiet ones."""
    ping_timeout_s: Seconds = 20
    """The seconds a client has to answer a ping before it is cut."""
    stall_s: Seconds = 30
    """The seconds after which a client is cut that takes nothing of what waits to be sent to it,
    even if it answers pings."""
    strangers: OrNone = 1_000
    """The connections that may be open at a time without having said who they are; 0 sets no
    limit."""
    strangers_per_address: OrNone = 100
    """The same for one network address, behind which a whole office may be; behind a proxy it is
    the address that http.trusted_proxies report. 0 sets no limit."""
    coalesce_ms: Annotated[int, Field(ge=0, le=1_000)] = 5
    """The milliseconds from the end of writing to a busy conversation until it is written to again:
    what is said meanwhile leaves together. A quiet conversation is written to at once."""


class DrainSettings(Section):
    """What a server does that is told to end (SIGTERM); it is gone within 15 seconds."""

    notice_s: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0
    """The seconds for which it goes on listening at least, so that a balancer that asks /readyz
    sees that it is to send nobody here any more; as long as anybody is connected it does anyway."""
    spread_s: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 4
    """The seconds over which those who are connected are asked to come back, each at a moment of
    its own, so that wherever they come to is not run over."""
    finish_s: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 5
    """The seconds that remain after that for what was accepted, such as a slow request or an upload
    that is under way."""

    @model_validator(mode="after")
    def _be_gone_in_time(self) -> Self:
        for name in ("notice_s", "spread_s"):
            seconds = getattr(self, name) + self.finish_s
            if seconds > _DRAINED_S:
                raise ValueError(
                    f"drain.{name}: with drain.finish_s it is {seconds:g} seconds, "
                    f"more than the {_DRAINED_S} that a server has to be gone in time"
                )
        return self


class UsersSettings(Section):
    """Who people are to each other."""

    accept_unknown: bool = True
    """Whether a participant whom nobody has seen yet becomes an empty profile, else such an id is
    refused."""
    directory: Literal["role", "everyone", "contacts", "nobody"] = "role"
    """Whom the directory shows: role (agents see everyone, clients the people they share a
    conversation with), everyone, contacts or nobody. The presence of people one shares a
    conversation with is seen in any case, that of others if they are shown here."""


class LogSettings(Section):
    """What is written to standard error; never the content of messages, never a token."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines to write: debug, info, warning or error."""
    format: Literal["auto", "words", "json"] = "auto"
    """The form of a line: words for people, json for collectors, auto for words on a terminal and
    json elsewhere."""


class MetricsSettings(Section):
    """What operators read at /metrics, in the form of Prometheus."""

    enabled: bool = True
    """Whether there is such a page."""
    token: Annotated[str, AfterValidator(_long_enough)] = Field("", repr=False)
    """The bearer token that whoever reads it must show, wherever they are; empty: `networks`
    decides."""
    networks: Networks = ("127.0.0.0/8", "::1/128")
    """The networks (CIDR) that may read it when there is no token. Who comes through a proxy counts
    as where http.trusted_proxies say that they are, and through any other proxy as a stranger."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """A port for the metrics alone, at http.host; 0 has them at http.port. Of several workers
    (--workers) the first has this one, each further one the next, and without it none has any."""

    def reader_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """Return the networks in a form that can be asked `address in network`."""
        return tuple(ipaddress.ip_network(text) for text in self.networks)


class WebSettings(Section):
    """What is served beside the interfaces."""

    page: bool = True
    """Whether the chat page is served at /."""
    frame_ancestors: Origins = ()
    """The origins, beside our own, whose pages may show the chat page in a frame, such as
    https://app.example.com; a local one may leave its port open: http://localhost:*."""


class FilesSettings(Section):
    """Where files are kept, and what receiving one may take; see also the sizes in [limits]."""

    folder: Text = "data/files"
    """The folder of the files; it is made if need be, belongs to one database and is part of a
    backup. Nodes that share a database share it."""
    keep_free_bytes: OrNone = 104_857_600
    """The bytes of the disk that uploads leave to everybody else; 0 fills it up."""
    upload_timeout_s: Annotated[float, Field(gt=0, le=1_800, allow_inf_nan=False)] = 300
    """The seconds in which the bytes of one upload must have arrived."""
    uploads_per_user: Count = 10
    """The uploads of one person that are received at a time."""
    uploads_at_once: Count = 100
    """The uploads of everybody that one node receives at a time."""
    downloads_per_user: Count = 50
    """The files that are sent to one person at a time."""
    download_stall_s: Seconds = 30
    """The seconds a reader may take for 64 KiB of a file before the connection is cut."""
    unsent_files: Count = 100
    """The files one person may have uploaded and not sent."""
    unsent_bytes: Count = 536_870_912
    """The bytes of the files one person may have uploaded and not sent."""
    unsent_hours: Count = 24
    """The hours after which an uploaded file that nobody sent is removed."""
    sweep_s: Seconds = 300
    """The seconds between two looks for files to remove."""
    image_workers: Count = 1
    """The processes that decode images; each starts with the first image it is needed for."""
    image_timeout_s: Seconds = 20
    """The seconds one image may take; then its process is killed and replaced."""
    image_cpu_s: Count = 10
    """The seconds of processor time one image may take."""
    image_memory_bytes: Annotated[int, Field(ge=268_435_456)] = 1_073_741_824
    """The memory of one such process, its address space."""
    image_frames: Count = 100
    """The frames of an animated image; four times `limits.image_pixels` bounds all of them."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.uploads_per_user > self.uploads_at_once:
            raise ValueError(
                f"files.uploads_per_user: {self.uploads_per_user} is more than "
                f"files.uploads_at_once, which is {self.uploads_at_once}"
            )
        if self.image_cpu_s > self.image_timeout_s:
            raise ValueError(
                f"files.image_cpu_s: {self.image_cpu_s} seconds of processor time are more than "
                f"files.image_timeout_s allows in all, which is {self.image_timeout_s:g}"
            )
        return self


class LimitsSettings(Section):
    """How much anybody may do; clients find the same names in session:ready.limits."""

    message_chars: Count = 10_000
    """The characters of a message's text."""
    message_metadata_bytes: OrNone = 4_096
    """The bytes of a message's metadata as JSON."""
    conversation_metadata_bytes: OrNone = 16_384
    """The bytes of a conversation's metadata as JSON."""
    event_bytes: Annotated[int, Field(ge=1_024)] = 65_536
    """The bytes of one request on a socket; a connection that sends more is cut."""
    attachment_bytes: Count = 26_214_400
    """The bytes of one file."""
    attachments_per_message: Annotated[int, Field(ge=0, le=100)] = 10
    """The files of one message; 0 takes none."""
    image_pixels: Count = 50_000_000
    """The pixels of an image that is still decoded, because small files can hold huge images."""
    members: Annotated[int, Field(ge=2)] = 256
    """The people in one conversation."""
    broadcast_members: OrNone = 100
    """The people in a conversation up to which receipts, typing and profiles are announced, since
    their number grows with the square."""
    edit_seconds: OrNone = 900
    """The seconds in which members may edit their messages; admins always may."""
    delete_seconds: OrNone = 600
    """The seconds in which members may delete their messages for everyone; admins always may."""
    typing_interval_ms: Count = 2_000
    """The milliseconds between two announcements that the same person is typing."""
    typing_expiry_ms: Count = 6_000
    """The milliseconds after which typing ends by itself."""
    presence_lease_s: Count = 30
    """The seconds for which a node vouches that somebody is there."""
    presence_away_s: Count = 300
    """The seconds without activity after which somebody is away."""
    presence_ids: Count = 200
    """The people one request may subscribe to."""
    presence_subscriptions: Count = 500
    """The people one connection may be subscribed to, since each of them is remembered for it."""
    send_rate: OrNone = 10
    """The messages a person may send per second, in the long run; 0 sets no limit."""
    send_burst: Count = 30
    """The messages a person may send at once after a pause."""
    event_rate: OrNone = 20
    """The requests a connection may make per second, in the long run; 0 sets no limit."""
    event_burst: Count = 40
    """The requests a connection may make at once after a pause."""
    sockets_per_user: Count = 20
    """The connections one person may have at a time."""
    page: Count = 50
    """The entries of a page when the request does not say."""
    page_max: Count = 100
    """The entries of a page at most."""
    sync_messages: Count = 200
    """The messages of one conversation in a sync answer."""
    sync_total: Count = 1_000
    """The messages of all conversations in a sync answer."""
    sync_bytes: Count = 524_288
    """The bytes of a sync answer or a page of messages, so that no answer blocks a connection."""
    sync_changes: Count = 2_000
    """The changes a client may have missed before it starts over with the newest page."""
    unread_max: Count = 999
    """The number up to which unread messages are counted exactly."""
    token_warning_s: OrNone = 60
    """The seconds before a token's end at which its connection is told."""
    token_grace_s: OrNone = 30
    """The seconds after a token's end at which its connection is closed."""
    authenticate_s: Count = 5
    """The seconds a new connection has to say who it is."""
    output_bytes: Count = 1_048_576
    """The bytes waiting for one slow connection before it is cut."""
    inbox: Count = 32
    """The requests of one connection that may wait."""
    joined: Count = 200
    """The conversations one socket hears at a time."""

    def to_wire(self) -> dict[str, int]:
        """Return the limits as `session:ready.limits` shows them."""
        return {key: getattr(self, key) for key in type(self).model_fields}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for low, high in (
            ("page", "page_max"),
            ("sync_messages", "sync_total"),
            ("message_chars", "event_bytes"),
            ("message_metadata_bytes", "event_bytes"),
            ("conversation_metadata_bytes", "event_bytes"),
            ("event_bytes", "output_bytes"),
            ("event_bytes", "sync_bytes"),
            ("sync_bytes", "output_bytes"),
            ("typing_interval_ms", "typing_expiry_ms"),
            ("presence_ids", "presence_subscriptions"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"limits.{low}: {getattr(self, low)} is more than "
                    f"limits.{high}, which is {getattr(self, high)}"
                )
        return self


class Settings(Section):
    """Everything the server is told before it starts."""

    http: HttpSettings = HttpSettings()
    auth: AuthSettings = AuthSettings()
    keys: KeysSettings = KeysSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    drain: DrainSettings = DrainSettings()
    users: UsersSettings = UsersSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    web: WebSettings = WebSettings()
    files: FilesSettings = FilesSettings()
    limits: LimitsSettings = LimitsSettings()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        files, limits = self.files, self.limits
        if self.redis.url and self.database.is_sqlite:
            raise ValueError(
                "redis.url: connects several nodes, and SQLite serves one; give PostgreSQL's "
                "address as database.url, or leave redis.url empty"
            )
        if self.metrics.port and self.metrics.port == self.http.port:
            raise ValueError(
                f"metrics.port: {self.metrics.port} is http.port too; 0 has the metrics there"
            )
        if limits.attachment_bytes > files.unsent_bytes:
            raise ValueError(
                f"limits.attachment_bytes: {limits.attachment_bytes} is more than "
                f"files.unsent_bytes, which is {files.unsent_bytes}"
            )
        if limits.attachments_per_message > files.unsent_files:
            raise ValueError(
                f"limits.attachments_per_message: {limits.attachments_per_message} is more than "
                f"files.unsent_files, which is {files.unsent_files}"
            )
        # Decoding holds a few copies of four bytes a pixel, beside the program itself.
        if limits.image_pixels * _BYTES_PER_PIXEL > files.image_memory_bytes:
            raise ValueError(
                f"limits.image_pixels: {limits.image_pixels} pixels do not fit into "
                f"files.image_memory_bytes, which is {files.image_memory_bytes}"
            )
        return self


@dataclass(frozen=True, slots=True)
class Key:
    """One setting as its documentation shows it."""

    name: str
    default: Any
    meaning: str
    annotation: Any

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper().replace(".", "__")


def keys(section: type[Section] = Settings, prefix: str = "") -> Iterator[Key]:
    """Yield every setting, in the order of the documentation."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            meaning = " ".join((field.description or "").split())
            yield Key(prefix + name, field.get_default(), meaning, kind)


_NAMES = tuple(key.name for key in keys())


def load(path: Path | None, overrides: Mapping[str, Any], *, demo: bool = False) -> Settings:
    """Read and check all settings, or raise SettingsError with a sentence that names the key.

    `path` None means ./config.toml if there is one. `overrides` may be nested or dotted
    (`{"http.port": 8001}`); None in it means not given. `demo` does not ask for keys.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for key, value in _from_file(path).items():
        values[key], sources[key] = value, key
    for key, variable, value in _from_environment():
        values[key], sources[key] = value, f"{variable} ({key})"
    for key, value in _flat(overrides).items():
        _require_known(key)
        if value is not None:
            values[key], sources[key] = value, key
    try:
        settings = Settings.model_validate(_nested(values))
    except ValidationError as error:
        raise SettingsError(_sentence(error, sources)) from None
    if not demo:
        _check_keys(settings.auth)
    return settings


def for_demo(settings: Settings, secret: str) -> Settings:
    """Return the settings of the demo: this secret signs, pages on this machine may connect."""
    for key in settings.auth.key_sources():
        if key != "secret":
            raise SettingsError(
                f"auth.{key}: the demo signs its own tokens; leave it empty or serve without --demo"
            )
    local = ("http://localhost:*", "http://127.0.0.1:*")
    origins = tuple(dict.fromkeys((*settings.http.origins, *local)))
    return settings.model_copy(
        update={
            "auth": settings.auth.model_copy(update={"secret": secret}),
            "http": settings.http.model_copy(update={"origins": origins}),
            # Whoever stops it at a terminal waits for it.
            "drain": settings.drain.model_copy(update={"spread_s": 0.0}),
        }
    )


def require_shareable(settings: Settings, *, demo: bool) -> None:
    """Refuse what several processes cannot share, or cannot do without."""
    if demo:
        raise SettingsError("--workers: the demo is one process; serve without --demo")
    if settings.database.is_sqlite:
        raise SettingsError(
            "database.url: several workers need PostgreSQL, because SQLite serves one process"
        )
    if not settings.redis.url:
        raise SettingsError(
            "redis.url: several workers need Redis or Valkey, through which they tell each other "
            "what happens"
        )
    if not settings.http.port:
        raise SettingsError("http.port: several workers share one port, so that it must be named")
    if "polling" in settings.realtime.transports:
        raise SettingsError(
            "realtime.transports: several workers share one port, and each poll would come to "
            "another one; leave websocket alone, or run nodes behind a sticky balancer"
        )


def _from_file(path: Path | None) -> dict[str, Any]:
    """Return what the file sets, by dotted key."""
    if path is None and not DEFAULT_PATH.exists():
        return {}
    path = path or DEFAULT_PATH
    try:
        values = _flat(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: cannot be read: it is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    for key in values:
        _require_known(key, f"{path}: ")
    return values


def _from_environment() -> Iterator[tuple[str, str, Any]]:
    """Yield key, variable and value of each setting that the environment holds."""
    known = {key.variable: key for key in keys()}
    for variable in sorted(name for name in os.environ if name.startswith(PREFIX)):
        if variable not in known:
            hint = _nearest(variable, known, PREFIX)
            raise SettingsError(f"{variable}: there is no such setting{hint}")
        key = known[variable]
        yield key.name, variable, _from_text(key.annotation, os.environ[variable])


def _from_text(annotation: Any, text: str) -> Any:
    """Return what a variable's text means for this type; what means nothing stays text."""
    try:
        if get_origin(annotation) is tuple:
            if text.lstrip().startswith("["):
                return json.loads(text)
            return [item.strip() for item in text.split(",") if item.strip()]
        if annotation in (bool, int, float):
            return TypeAdapter(annotation).validate_python(text.strip(), strict=False)
    except ValueError:
        pass
    return text


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the tree as one table of dotted keys; only unknown empty tables stay."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = prefix + name
        if isinstance(value, Mapping) and (value or _is_section(key)):
            flat |= _flat(value, f"{key}.")
        else:
            flat[key] = value
    return flat


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dotted keys as a tree."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = value
    return tree


def _is_section(key: str) -> bool:
    return any(name.startswith(f"{key}.") for name in _NAMES)


def _require_known(key: str, where: str = "") -> None:
    """Refuse a key that is none, naming the nearest one that is."""
    if key in _NAMES:
        return
    if _is_section(key):
        raise SettingsError(f"{where}{key}: is a section, its keys are written under [{key}]")
    raise SettingsError(f"{where}{key}: there is no such setting{_nearest(key, _NAMES)}")


def _nearest(name: str, names: Collection[str], prefix: str = "") -> str:
    """Return a question about the known name that is most alike, not counting the prefix."""
    known = [one.removeprefix(prefix) for one in names]
    found = difflib.get_close_matches(name.removeprefix(prefix), known, n=1, cutoff=0.5)
    return f"; did you mean {prefix}{found[0]}?" if found else ""


def _sentence(error: ValidationError, sources: Mapping[str, str]) -> str:
    """Return the first problem as one sentence that names the setting, and never its value."""
    problem = error.errors()[0]
    text = problem["msg"].removeprefix("Value error, ")
    key = ".".join(part for part in problem["loc"] if isinstance(part, str))
    own, colon, rest = text.partition(": ")
    if problem["type"] == "value_error" and colon and own in (*_NAMES, "auth.roles"):
        return f"{sources.get(own, own)}: {rest}"
    return f"{sources.get(key, key)}: {_plain(problem['type'], problem.get('ctx', {})) or text}"


def _plain(kind: str, context: Mapping[str, Any]) -> str:
    """Return what a rule of pydantic asks for, in our words."""
    kind = kind.removesuffix("_parsing").removesuffix("_type")
    return {
        "int": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float": "must be a number",
        "finite_number": "must be a number",
        "bool": "must be true or false",
        "string": "must be text",
        "tuple": "must be a list",
        "string_too_short": "must not be empty",
        "string_too_long": f"must be at most {context.get('max_length')} characters long",
        "too_short": "must not be empty",
        "literal_error": f"must be {context.get('expected')}",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "less_than_equal": f"must be at most {context.get('le')}",
        "greater_than": f"must be more than {context.get('gt')}",
    }.get(kind, "")


def _check_keys(auth: AuthSettings) -> None:
    """Refuse to start without a key, or with one that can be guessed or not be read."""
    if not auth.key_sources():
        raise SettingsError(
            f"auth.secret: is missing; set {PREFIX}AUTH__SECRET to {SECRET_BYTES} random bytes or "
            "more, or give auth.public_key or auth.jwks_url"
        )
    if auth.public_key:
        auth.public_key_pem()
    if "-----BEGIN" in auth.secret:
        raise SettingsError("auth.secret: is a PEM key; a public one belongs into auth.public_key")
    if auth.secret != auth.secret.strip():
        raise SettingsError("auth.secret: begins or ends with white space, surely by mistake")
    if auth.secret and len(auth.secret.encode(errors="surrogatepass")) < SECRET_BYTES:
        raise SettingsError(f"auth.secret: is too short; it takes at least {SECRET_BYTES} bytes")


async def _keep_session(_: object) -> None:
    """Give a connection back as it is: nothing we do stays in a session, and asking costs a way."""


def _postgres_credentials(url: str) -> dict[str, Any]:
    """Return what asyncpg takes; ValueError says in a sentence what the address has wrong."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"database.url: is not an address: {error}") from None
    if parts.fragment or "@" in parts.query:
        raise ValueError("database.url: must write # ? / @ in a password as %23 %3F %2F %40")
    given = _postgres_parameters(parts.query)
    try:
        port = int(given["port"]) if "port" in given else parts.port or 5432
    except ValueError:
        raise ValueError("database.url: has a port that is no number up to 65535") from None
    host = given.get("host") or unquote(_postgres_host(parts.netloc)) or None
    if host and "," in host:
        raise ValueError("database.url: must name one host, not several")
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise ValueError("database.url: must name one database after the host, like /palabre")
    return {
        "user": given.get("user") or unquote(parts.username or "") or None,
        "password": given.get("password") or unquote(parts.password or "") or None,
        "host": host,
        "port": port,
        "database": name,
        "timeout": 5,
        "ssl": _postgres_ssl(given, is_local=host is not None and host.startswith("/")),
        "server_settings": {
            "application_name": given.get("application_name", "palabre"),
            "statement_timeout": "5000",
            "lock_timeout": "3000",
            # A node whose machine died says no goodbye; nobody waits longer for what it had locked.
            "idle_in_transaction_session_timeout": "3000",
            # Compiling a statement that reads one page takes longer than running it.
            "jit": "off",
        },
    }


def _postgres_host(netloc: str) -> str:
    """Return the host as written: urlsplit would make the path of a socket lower case."""
    host = netloc.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _postgres_parameters(query: str) -> dict[str, str]:
    """Return the parameters after the question mark, each known and given once."""
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _POSTGRES_PARAMETERS:
            hint = _nearest(name, _POSTGRES_PARAMETERS)
            raise ValueError(f"database.url: PostgreSQL's parameter {name} is not known here{hint}")
        if name in given:
            raise ValueError(f"database.url: gives the parameter {name} twice")
        given[name] = value
    return given


def _postgres_ssl(given: Mapping[str, str], *, is_local: bool) -> ssl.SSLContext | str | bool:
    """Return what asyncpg's `ssl` means by libpq's `sslmode`; a Unix socket is never encrypted.

    The contexts are ours because asyncpg would look into the home directory for certificates and
    refuse `verify-full` without one there; ours trusts the system's authorities.
    """
    mode = given.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        raise ValueError(f"database.url: sslmode must be one of {', '.join(_SSL_MODES)}")
    if mode == "disable" or is_local:
        return False
    root = given.get("sslrootcert")
    if mode == "prefer":
        return mode
    try:
        context = ssl.create_default_context(cafile=root or None)
    except OSError as error:
        raise ValueError(f"database.url: sslrootcert {root} cannot be read: {error}") from None
    context.check_hostname = mode == "verify-full"
    if mode == "require" and not root:
        context.verify_mode = ssl.CERT_NONE
    return context
