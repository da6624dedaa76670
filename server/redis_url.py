"""The address of Redis or Valkey: one server, one found by Sentinels, or a cluster."""

from dataclasses import dataclass, replace
from enum import Enum, auto
from urllib.parse import parse_qsl, unquote, urlsplit

_SERVER_PORT = 6379
_SENTINEL_PORT = 26379
# Valkey's clients write its own name.
_PLAIN = ("redis", "valkey")
_ENCRYPTED = ("rediss", "valkeys")
_PARAMETERS = ("sslrootcert",)
_HOW = "must be written like redis://:PASSWORD@HOST:6379/0"
_HOW_SENTINEL = "must be written like redis+sentinel://HOST:26379,HOST:26379/0/NAME"
_HOW_CLUSTER = "must be written like redis+cluster://HOST:6379,HOST:6379"


class Kind(Enum):
    """How the server of a channel is found."""

    SINGLE = auto()
    SENTINEL = auto()
    CLUSTER = auto()


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where Redis is, and as whom to enter; with Sentinels the hosts are theirs."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None
    database: int
    service: str
    is_encrypted: bool
    authority: str | None

    def of_sentinel(self) -> "RedisUrl":
        """Return how Sentinels themselves are reached, which have accounts of their own."""
        return replace(self, user=None, password=None, database=0)


def parsed(url: str) -> RedisUrl:
    """Return what an address says; ValueError says in a sentence what it has wrong."""
    scheme, colon, rest = url.partition("://")
    engine, _, way = scheme.partition("+")
    kinds = {"": Kind.SINGLE, "sentinel": Kind.SENTINEL, "cluster": Kind.CLUSTER}
    if not colon or engine not in (*_PLAIN, *_ENCRYPTED) or way not in kinds:
        raise ValueError(
            "must begin with redis://, redis+sentinel:// or redis+cluster:// "
            "(rediss with encryption)"
        )
    kind = kinds[way]
    # Several hosts have several ports, which urlsplit does not read.
    whole, _, query = rest.partition("?")
    place, _, path = whole.partition("/")
    account, _, hosts = place.rpartition("@")
    user, _, password = account.partition(":")
    database, service = _path(kind, path)
    return RedisUrl(
        kind,
        _hosts(kind, hosts),
        unquote(user) or None,
        unquote(password) or None,
        database,
        service,
        engine in _ENCRYPTED,
        _authority(query),
    )


def _hosts(kind: Kind, text: str) -> tuple[tuple[str, int], ...]:
    usual = _SENTINEL_PORT if kind is Kind.SENTINEL else _SERVER_PORT
    hosts = []
    for one in text.split(","):
        try:
            parts = urlsplit(f"//{one}")
            host, port = parts.hostname, parts.port or usual
        except ValueError:
            raise ValueError("has a port that is no number up to 65535") from None
        if not host:
            raise ValueError(_how(kind))
        hosts.append((host, port))
    if kind is Kind.SINGLE and len(hosts) > 1:
        raise ValueError("names several hosts; write redis+cluster:// or redis+sentinel://")
    return tuple(hosts)


def _path(kind: Kind, path: str) -> tuple[int, str]:
    """Return the number of the database and the name of Sentinel's service."""
    database, _, service = path.partition("/")
    if kind is Kind.SENTINEL and not service:
        raise ValueError(_how(kind))
    if service and kind is not Kind.SENTINEL:
        raise ValueError(_how(kind))
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError(_how(kind))
    if kind is Kind.CLUSTER and int(database or 0):
        raise ValueError("a cluster has no databases but 0")
    return int(database or 0), unquote(service)


def _how(kind: Kind) -> str:
    return {Kind.SINGLE: _HOW, Kind.SENTINEL: _HOW_SENTINEL, Kind.CLUSTER: _HOW_CLUSTER}[kind]


def _authority(query: str) -> str | None:
    authority = None
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise ValueError(f"the parameter {name} is not known here, only sslrootcert")
        authority = value
    return authority
