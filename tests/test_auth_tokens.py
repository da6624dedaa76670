"""Whom the server believes: hostile tokens, mapped claims, public keys and key sets."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server import app, clock
from server.config import Settings
from server.errors import SettingsError
from tests import conftest
from tests.conftest import SECRET
from tests.people import HOUR_S, Person, Refused, Town

pytestmark = pytest.mark.one_database

OTHER_SECRET = "another secret, which is long enough too"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text: bytes = key.public_key().public_bytes(*form)
    return text.decode()


def now_s() -> int:
    return clock.now_ms() // 1_000


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of a good token with changes; None takes a claim away."""
    good = {"sub": "eve", "name": "Eve", "exp": now_s() + HOUR_S, **changed}
    return {name: value for name, value in good.items() if value is not None}


def signed(
    key: Any = SECRET,
    algorithm: str = "HS256",
    header: dict[str, Any] | None = None,
    **changed: Any,
) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=header)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def hmac_of(header: Any, payload: str | None = None) -> str:
    """Return a token of the right secret, whatever its header and its claims are."""
    head = f"{part(header)}.{part(claims()) if payload is None else payload}"
    return f"{head}.{encoded(hmac.new(SECRET.encode(), head.encode(), hashlib.sha256).digest())}"


def unsigned(algorithm: str) -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}."


def tampered() -> str:
    head, _, signature = signed().split(".")
    return f"{head}.{part(claims(sub='ada'))}.{signature}"


def hmac_with(secret: str, algorithm: str = "HS256") -> str:
    """Return a token signed by a text, be it the text of a public key, as if it were a secret."""
    head = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}"
    kind = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[algorithm]
    digest = hmac.new(secret.encode(), head.encode(), kind).digest()
    return f"{head}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


HOSTILE: dict[str, tuple[Callable[[], str], str, str]] = {
    "another key": (lambda: signed(OTHER_SECRET), "unauthorized", "Signature"),
    "another algorithm": (lambda: hmac_with(SECRET, "HS512"), "unauthorized", "HS256"),
    "no algorithm": (lambda: unsigned("none"), "unauthorized", "HS256"),
    "no algorithm, in capitals": (lambda: unsigned("NONE"), "unauthorized", "HS256"),
    "a signature that is empty": (lambda: unsigned("HS256"), "unauthorized", "Signature"),
    "the claims of somebody else": (tampered, "unauthorized", "Signature"),
    "no end": (lambda: signed(exp=None), "unauthorized", "no end"),
    "an end in words": (lambda: signed(exp="tomorrow"), "unauthorized", "exp is not a number"),
    "an end after all time": (lambda: signed(exp=10**15), "unauthorized", "not a time"),
    "an end that is true": (lambda: signed(exp=True), "unauthorized", "exp is not a number"),
    "its end": (lambda: signed(exp=now_s() - 60), "token_expired", "ended"),
    "a beginning in the future": (lambda: signed(nbf=now_s() + 60), "unauthorized", "nbf"),
    "an issue in the future": (lambda: signed(iat=now_s() + 60), "unauthorized", "iat"),
    "nobody": (lambda: signed(sub=None), "unauthorized", "id (sub)"),
    "an empty id": (lambda: signed(sub=""), "unauthorized", "id (sub)"),
    "an id that is too long": (lambda: signed(sub="x" * 65), "unauthorized", "id (sub)"),
    "an id that is true": (lambda: signed(sub=True), "unauthorized", "id (sub)"),
    "an id that is a list": (lambda: signed(sub=["eve"]), "unauthorized", "id (sub)"),
    "an id with a fraction": (lambda: signed(sub=1.5), "unauthorized", "id (sub)"),
    "an id with a NUL": (lambda: signed(sub="e\x00ve"), "unauthorized", "control"),
    "an id with a space before it": (lambda: signed(sub=" eve"), "unauthorized", "id (sub)"),
    "extensions": (lambda: signed(header={"crit": ["b64"]}), "unauthorized", ""),
    "a payload that is not encoded": (
        lambda: signed(header={"b64": False}),
        "unauthorized",
        "not a token",
    ),
    "a key id that is a number": (
        lambda: hmac_of({"alg": "HS256", "kid": 5}),
        "unauthorized",
        "kid",
    ),
    "a header that is a list": (lambda: hmac_of(["HS256"]), "unauthorized", "header"),
    "a header that is nested deeply": (
        lambda: f"{encoded(b'[' * 4_000)}.{part(claims())}.",
        "unauthorized",
        "not a token",
    ),
    "claims that are nested deeply": (
        lambda: hmac_of({"alg": "HS256"}, encoded(b"[" * 4_000)),
        "unauthorized",
        "claims",
    ),
    "a letter beside the alphabet": (
        lambda: signed().replace(".", ".!", 1),
        "unauthorized",
        "not a token",
    ),
    "a signature written in another way": (
        lambda: signed() + "====",
        "unauthorized",
        "not a token",
    ),
    "letters of another alphabet": (lambda: signed() + "é", "unauthorized", "not a token"),
    "two parts": (lambda: "a.b", "unauthorized", "not a token"),
    "no JSON": (lambda: "!!!.???.###", "unauthorized", "not a token"),
    "letters": (lambda: "letters", "unauthorized", "not a token"),
    "a list for claims": (
        lambda: jwt.api_jws.encode(b"[1]", SECRET, algorithm="HS256"),
        "unauthorized",
        "",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_token_gets_the_same_answer_at_both_doors(
    town: Town, logged: list[dict[str, Any]], what: str
) -> None:
    make, code, reason = HOSTILE[what]
    token = make()
    nobody = town.person("eve", token=token)

    status, answer, headers = await nobody.call("GET", "me/")
    with pytest.raises(Refused) as refused:
        await nobody.connects()

    assert (status, answer["error"]["code"]) == (401, code)
    assert refused.value.error == answer["error"]
    expected = {
        "unauthorized": "A valid token is needed.",
        "token_expired": "The token has expired.",
    }
    assert answer["error"]["message"] == expected[code]
    assert headers["WWW-Authenticate"] == 'Bearer realm="palabre"'
    reasons = [line["why"] for line in logged if "why" in line and "refused" in line["event"]]
    assert len(reasons) == 2
    assert all(reason in why for why in reasons)
    written = json.dumps(logged, default=str)
    assert token not in written
    assert all(len(piece) < 20 or piece not in written for piece in token.split("."))


async def test_a_token_of_too_many_characters_is_not_looked_at(
    town: Town, logged: list[dict[str, Any]]
) -> None:
    with pytest.raises(Refused) as refused:
        await town.person("eve", token=signed(name="x" * 7_000)).connects()

    assert refused.value.code == "unauthorized"
    assert any("longer" in str(line.get("why")) for line in logged)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic {}", "{}", "Token {}", "Bearer {} {}"]
)
async def test_a_header_that_is_no_bearer_is_refused(
    town: Town, ada: Person, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header.replace("{}", ada.token)}
    async with town.http.get(f"{town.url}/api/messaging/me/", headers=headers) as response:
        body = await response.json()

    assert (response.status, body["error"]["code"]) == (401, "unauthorized")


async def test_a_token_in_the_query_is_refused_with_a_sentence(
    logged: list[dict[str, Any]], ada: Person
) -> None:
    status, answer, _ = await ada.call("GET", f"me/?token={ada.token}")

    assert status == 401
    assert "Authorization: Bearer" in answer["error"]["message"]
    assert ada.token not in json.dumps(logged, default=str)


async def test_the_leeway_forgives_clocks_that_differ(town: Town) -> None:
    late = town.person("eve", token=signed(exp=now_s() - 5))
    early = town.person("eve", token=signed(nbf=now_s() + 5, iat=now_s() + 5))

    assert (await late.get("me/"))["id"] == "eve"
    assert (await early.get("me/"))["id"] == "eve"


@pytest.mark.settings(auth={"leeway_s": 0})
async def test_without_leeway_nothing_is_forgiven(town: Town) -> None:
    with pytest.raises(Refused):
        await town.person("eve", token=signed(exp=now_s() - 1)).get("me/")


@pytest.mark.settings(auth={"audience": "chat", "issuer": "https://id.example.com"})
@pytest.mark.parametrize(
    ("audience", "issuer", "good"),
    [
        ("chat", "https://id.example.com", True),
        (["shop", "chat"], "https://id.example.com", True),
        ("shop", "https://id.example.com", False),
        (["shop"], "https://id.example.com", False),
        (None, "https://id.example.com", False),
        ("chat", "https://evil.example.com", False),
        ("chat", None, False),
        (["chat"], ["https://id.example.com"], False),
    ],
)
async def test_audience_and_issuer_are_looked_at_when_configured(
    town: Town, audience: Any, issuer: Any, *, good: bool
) -> None:
    unchecked = {"aud": audience, "iss": issuer}
    body = {**claims(), **{k: v for k, v in unchecked.items() if v is not None}}
    token = jwt.api_jws.encode(json.dumps(body).encode(), SECRET, algorithm="HS256")

    status, _, _ = await town.person("eve", token=token).call("GET", "me/")

    assert (status == 200) is good


@pytest.mark.settings(
    auth={
        "claims": {
            "id": "user.id",
            "name": "full_name",
            "picture": "photo",
            "role": "https://x/roles",
        },
        "roles": {"agent": ["staff", "boss"], "client": ["customer"], "service": ["backend"]},
    }
)
@pytest.mark.parametrize(
    ("roles", "role"),
    [
        ("staff", "agent"),
        (["customer", "boss"], "agent"),
        ("customer", "client"),
        ("agent", None),
        ("admin", None),
        (["backend"], "service"),
        (None, None),
        ({"staff": True}, None),
        (7, None),
    ],
)
async def test_claims_and_roles_are_mapped(town: Town, roles: Any, role: str | None) -> None:
    token = signed(
        sub=None,
        name=None,
        user={"id": 4711},
        full_name="  Eve \n Example ",
        photo="https://cdn.example.com/eve.png",
        **{"https://x/roles": roles},
    )

    me = await town.person("4711", token=token).get("me/")

    assert me == {
        "id": "4711",
        "name": "Eve Example",
        "avatar_url": "https://cdn.example.com/eve.png",
        "role": role,
        "metadata": {},
    }


@pytest.mark.parametrize("id_", [12, "12", 2**53])
async def test_a_whole_number_is_an_id_in_decimal_digits(town: Town, id_: Any) -> None:
    token = jwt.api_jws.encode(json.dumps(claims(sub=id_)).encode(), SECRET, algorithm="HS256")

    assert (await town.person(str(id_), token=token).get("me/"))["id"] == str(id_)


@pytest.mark.parametrize(
    "picture", ["javascript:alert(1)", "data:image/png;base64,AA", "https://", "/a b", 5]
)
async def test_a_picture_that_is_no_address_of_the_web_is_left_out(
    town: Town, picture: Any
) -> None:
    assert (await town.person("eve", token=signed(picture=picture)).get("me/"))[
        "avatar_url"
    ] is None


# Public keys


@pytest.fixture(params=[(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")], ids=lambda one: str(one[1]))
def signer(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """The key of the issuer, whose public half the server has, and its algorithm."""
    pair: tuple[Any, str] = request.param
    return pair


async def test_a_public_key_checks_tokens_by_its_kind(signer: tuple[Any, str], town: Town) -> None:
    key, algorithm = signer

    assert (await town.person("eve", token=signed(key, algorithm)).get("me/"))["id"] == "eve"
    for token in (
        signed(SECRET),
        signed(OTHER_RSA, "RS256"),
        hmac_with(pem(key)),
        f"{unsigned(algorithm)}eA",
        unsigned("none"),
    ):
        status, answer, _ = await town.person("eve", token=token).call("GET", "me/")
        assert (status, answer["error"]["code"]) == (401, "unauthorized")


# Key sets


class KeySet:
    """An address that gives out keys."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.url = ""
        self.status = 200

    def adds(self, kid: str, key: Any, **more: Any) -> None:
        algorithm = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self.keys.append({**algorithm, "kid": kid, **more})

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"keys": self.keys}, status=self.status)


@pytest.fixture
async def key_set() -> AsyncIterator[KeySet]:
    keys = KeySet()
    site = web.Application()
    site.router.add_get("/keys", keys.answer)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    keys.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield keys
    await runner.cleanup()


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, database_url: str, database_kind: str, tmp_path: Path
) -> Settings:
    """The settings of the suite, with the address of the key set where a test has one."""
    made: Settings = conftest.settings.__wrapped__(  # type: ignore[attr-defined]
        request, database_url, tmp_path
    )
    if "signer" in request.fixturenames:
        key, _ = request.getfixturevalue("signer")
        auth = made.auth.model_copy(update={"secret": "", "public_key": pem(key)})
        made = made.model_copy(update={"auth": auth})
    if "key_set" in request.fixturenames:
        url = request.getfixturevalue("key_set").url
        auth = made.auth.model_copy(update={"secret": "", "jwks_url": url})
        made = made.model_copy(update={"auth": auth})
    return made


def by(kid: str | None, key: Any = RSA) -> str:
    return signed(key, "RS256", {"kid": kid} if kid else None)


async def test_keys_are_fetched_once_and_again_for_an_unknown_one(
    monkeypatch: pytest.MonkeyPatch, key_set: KeySet, town: Town
) -> None:
    key_set.adds("one", RSA)
    assert (await town.person("eve", token=by("one")).get("me/"))["id"] == "eve"
    await asyncio.gather(*(town.person("eve", token=by("one")).get("me/") for _ in range(5)))
    assert key_set.asked == 1

    key_set.adds("two", OTHER_RSA)
    later = clock.now_ms() + 11_000
    monkeypatch.setattr(clock, "now_ms", lambda: later)
    await asyncio.gather(
        *(town.person("eve", token=by("two", OTHER_RSA)).get("me/") for _ in range(5))
    )

    assert key_set.asked == 2


async def test_unknown_keys_do_not_make_the_server_ask_in_every_request(
    key_set: KeySet, town: Town
) -> None:
    key_set.adds("one", RSA)
    for number in range(5):
        status, answer, _ = await town.person("eve", token=by(f"x{number}")).call("GET", "me/")
        assert (status, answer["error"]["code"]) == (401, "unauthorized")

    assert key_set.asked == 1


async def test_a_key_of_another_name_or_purpose_does_not_count(key_set: KeySet, town: Town) -> None:
    key_set.adds("one", RSA)
    key_set.adds("encrypts", OTHER_RSA, use="enc")
    for token in (by("one", OTHER_RSA), by("encrypts", OTHER_RSA), signed()):
        status, _, _ = await town.person("eve", token=token).call("GET", "me/")
        assert status == 401


async def test_a_key_that_is_replaced_under_its_name_is_not_believed_any_more(
    key_set: KeySet, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_set.adds("one", RSA)
    old = signed(RSA, "RS256", {"kid": "one"})
    assert (await town.person("eve", token=old).get("me/"))["id"] == "eve"
    key_set.keys.clear()
    key_set.adds("one", OTHER_RSA)
    key_set.adds("two", OTHER_RSA)
    later = clock.now_ms() + 11_000
    monkeypatch.setattr(clock, "now_ms", lambda: later)
    # An unknown key makes the server look for it, and see what else is new.
    two = signed(OTHER_RSA, "RS256", {"kid": "two"}, sub="ann")
    assert (await town.person("ann", token=two).get("me/"))["id"] == "ann"

    fresh = signed(OTHER_RSA, "RS256", {"kid": "one"}, sub="bob")
    assert (await town.person("bob", token=fresh).get("me/"))["id"] == "bob"
    for token in (old, signed(RSA, "RS256", {"kid": "one"}, sub="tom")):
        status, answer, _ = await town.person("eve", token=token).call("GET", "me/")
        assert (status, answer["error"]["code"]) == (401, "unauthorized")
        with pytest.raises(Refused) as refused:
            await town.person("eve", token=token).connects()
        assert refused.value.code == "unauthorized"


async def test_while_the_address_is_down_the_answer_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, key_set: KeySet, town: Town
) -> None:
    key_set.status = 500
    eve = town.person("eve", token=by("one"))

    status, answer, headers = await eve.call("GET", "me/")
    with pytest.raises(Refused) as refused:
        await eve.connects()

    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert headers["Retry-After"] == "1"
    assert refused.value.code == "unavailable"
    key_set.status = 200
    key_set.adds("one", RSA)
    later = clock.now_ms() + 1_500
    monkeypatch.setattr(clock, "now_ms", lambda: later)
    assert (await eve.get("me/"))["id"] == "eve"
    key_set.status = 500
    assert (await eve.get("me/"))["id"] == "eve"


async def test_a_server_without_a_key_does_not_start(settings: Settings) -> None:
    auth = settings.auth.model_copy(update={"secret": ""})

    with pytest.raises(SettingsError, match=r"auth\.secret"):
        async with app.running(settings.model_copy(update={"auth": auth})):
            pass
