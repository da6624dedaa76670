"""How an operator writes where Redis is, and what it means."""

import pytest

from server.redis_url import Kind, RedisUrl, parsed

pytestmark = pytest.mark.one_database


def url(kind: Kind = Kind.SINGLE, **fields: object) -> RedisUrl:
    given: dict[str, object] = {
        "kind": kind,
        "hosts": (("r.example", 6379),),
        "user": None,
        "password": None,
        "database": 0,
        "service": "",
        "is_encrypted": False,
        "authority": None,
        **fields,
    }
    return RedisUrl(**given)  # type: ignore[arg-type] # they are those of the class


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("redis://r.example", url()),
        ("valkey://r.example/", url()),
        ("redis://r.example:7000/3", url(hosts=(("r.example", 7000),), database=3)),
        ("rediss://r.example", url(is_encrypted=True)),
        ("valkeys://r.example", url(is_encrypted=True)),
        ("redis://[::1]:7000", url(hosts=(("::1", 7000),))),
        ("redis://:p%40ss@r.example/0", url(password="p@ss")),
        ("redis://me:p%2Fss@r.example", url(user="me", password="p/ss")),
        (
            "rediss://r.example/0?sslrootcert=/etc/ca.pem",
            url(is_encrypted=True, authority="/etc/ca.pem"),
        ),
        (
            "rediss://r.example?sslrootcert=/etc/ca.pem",
            url(is_encrypted=True, authority="/etc/ca.pem"),
        ),
        (
            "redis+sentinel://:secret@a,b:7/2/main",
            url(
                Kind.SENTINEL,
                hosts=(("a", 26379), ("b", 7)),
                password="secret",
                database=2,
                service="main",
            ),
        ),
        ("redis+cluster://a,b:7/0", url(Kind.CLUSTER, hosts=(("a", 6379), ("b", 7)))),
    ],
)
def test_an_address_means_what_operators_know_it_to_mean(text: str, meant: RedisUrl) -> None:
    assert parsed(text) == meant
