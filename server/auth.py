"""Tokens: whom to believe. The only place that knows their format and their keys.

The algorithm follows from the configured key and never from the token. Whatever is wrong with a
token, its bearer gets the same answer; the log gets the reason.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import unicodedata
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

import aiohttp
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from server import clock
from server.config import AuthSettings
from server.errors import SettingsError, TokenExpiredError, UnauthorizedError, UnavailableError
from server.schemas.values import KEY_HEADER, KEY_HOLDER, KEY_PREFIX, UserRole

TOKEN_CHARS = 8_192
USER_ID_CHARS = 64
NAME_CHARS = 200
PICTURE_CHARS = 2_000
JWKS_BYTES = 262_144
JWKS_TIMEOUT_S = 5
JWKS_PAUSE_MS = 10_000
JWKS_FIRST_PAUSE_MS = 1_000
JWKS_AGE_MS = 600_000
VERIFIED = 10_000
"""How many tokens are remembered as verified, the most recently used: about 5 MB."""

_RSA_BITS = 2_048
_LAST_SECOND = 253_402_300_799  # the end of the year 9999, after which no date can be written
_BY_RANK = (UserRole.SERVICE, UserRole.ADMIN, UserRole.AGENT, UserRole.CLIENT)
_HEADERS = 256
"""How many first parts of tokens are remembered: one issuer writes the same before each token."""

_log = logging.getLogger(__name__)

# base64's own functions do the same in several steps.
_FROM_URL, _TO_URL = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token says its bearer is; None where it does not say."""

    user_id: str
    name: str | None
    avatar_url: str | None
    role: UserRole | None
    expires_at_ms: int


class _Parts(NamedTuple):
    """A token taken apart, of which nothing is proved."""

    header: Mapping[str, Any]
    signed: bytes
    claims: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the one algorithm that it is used with; ValueError says why it is none.

    Only signatures are left to the library: what they prove is judged by our clock and our rules.
    The library prepares a key for each token anew, which costs more than the signature.
    """

    algorithm: str
    material: PublicKey | str
    _prepared: Any = field(init=False, repr=False, compare=False)
    _verify: Callable[[bytes, Any, bytes], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the key, once."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        try:
            object.__setattr__(self, "_prepared", algorithm.prepare_key(self.material))
        except jwt.PyJWTError as error:
            raise ValueError(str(error)) from error
        verify = _has_sealed if self.algorithm == "HS256" else algorithm.verify
        object.__setattr__(self, "_verify", verify)

    def has_signed(self, signed: bytes, signature: bytes) -> bool:
        """Return whether a signature is by this key and of these bytes."""
        return self._verify(signed, self._prepared, signature)

    @classmethod
    def of(cls, material: object) -> Self:
        """Return the public key with its algorithm; ValueError says why it cannot be used."""
        if isinstance(material, RSAPublicKey):
            if material.key_size < _RSA_BITS:
                raise ValueError(f"an RSA key needs at least {_RSA_BITS} bits")
            return cls("RS256", material)
        if isinstance(material, EllipticCurvePublicKey) and isinstance(material.curve, SECP256R1):
            return cls("ES256", material)
        if isinstance(material, Ed25519PublicKey):
            return cls("EdDSA", material)
        raise ValueError("is not a key for RS256, ES256 (P-256) or EdDSA (Ed25519)")


@dataclass(frozen=True, slots=True)
class _Verified:
    """What a token said whose signature was proved, by which keys, and from when on it is valid."""

    identity: Identity
    begins_ms: int
    edition: int


class Keys(Protocol):
    """Where the key for a token is found."""

    def edition(self) -> int:
        """Return what changes whenever keys do: what was proved before is to be proved again."""

    async def find(self, header: Mapping[str, Any]) -> Key:
        """Return the key that this header asks for, or refuse the token."""

    async def close(self) -> None:
        """Give back what is open."""


class Tokens:
    """Tells from a token who is there."""

    def __init__(self, settings: AuthSettings) -> None:
        """Read the configured key; SettingsError when there is none that can be used."""
        self._settings = settings
        self._keys = _configured_keys(settings)
        # By what the claim may say; where two roles share a word, the higher one counts.
        self._roles = {
            name: role for role in reversed(_BY_RANK) for name in _role_names(settings, role)
        }
        # By the hash of the token, so that no token lies in memory longer than its request; the
        # least recently used first.
        self._verified: dict[bytes, _Verified] = {}

    async def verify(self, token: str) -> Identity:
        """Return whose token this is.

        Raises UnauthorizedError or TokenExpiredError with the cause as `reason`, and
        UnavailableError while the keys cannot be fetched.
        """
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._verified.pop(digest, None)
        if known is not None and self._still_holds(known):
            self._verified[digest] = known
            return known.identity
        parts = _parts(token)
        key = await self._keys.find(parts.header)
        edition = self._keys.edition()
        claims = _signed_claims(parts, key)
        self._check_audience(claims)
        expires_at_ms = self._check_times(claims)
        identity = self._identity(claims, expires_at_ms)
        self._remember(digest, _Verified(identity, _begins_ms(claims), edition))
        return identity

    def _still_holds(self, known: _Verified) -> bool:
        """Return whether a token that was verified would be verified now."""
        now, leeway = clock.now_ms(), self._settings.leeway_s * 1_000
        in_time = known.begins_ms <= now + leeway and now < known.identity.expires_at_ms + leeway
        return in_time and known.edition == self._keys.edition()

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        if len(self._verified) >= VERIFIED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = verified

    async def close(self) -> None:
        """Stop fetching keys."""
        await self._keys.close()

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        """Refuse a token that was issued by or for somebody else, if that is configured."""
        issuer, audience = self._settings.issuer, self._settings.audience
        if issuer and claims.get("iss") != issuer:
            raise UnauthorizedError(reason="the token is from another issuer (iss)")
        meant_for = claims.get("aud")
        if audience and audience not in (meant_for if isinstance(meant_for, list) else [meant_for]):
            raise UnauthorizedError(reason="the token is for another audience (aud)")

    def _check_times(self, claims: Mapping[str, Any]) -> int:
        """Return the end of the token in milliseconds; refuse one that is not valid now."""
        now, leeway = clock.now_ms(), self._settings.leeway_s * 1_000
        for claim in ("nbf", "iat"):
            begins = _time_ms(claims, claim)
            if begins is not None and begins > now + leeway:
                raise UnauthorizedError(reason=f"the token is not valid yet ({claim})")
        ends = _time_ms(claims, "exp")
        if ends is None:
            raise UnauthorizedError(reason="the token has no end (exp)")
        if ends + leeway <= now:
            raise TokenExpiredError(reason=f"the token ended {(now - ends) // 1_000} s ago")
        return ends

    def _identity(self, claims: Mapping[str, Any], expires_at_ms: int) -> Identity:
        names = self._settings.claims
        return Identity(
            user_id=_user_id(_claim(claims, names.id), names.id),
            name=_name(_claim(claims, names.name)),
            avatar_url=_picture(_claim(claims, names.picture)),
            role=self._role(_claim(claims, names.role)),
            expires_at_ms=expires_at_ms,
        )

    def _role(self, value: Any) -> UserRole | None:
        """Return the role of the highest rank that the claim names."""
        given = value if isinstance(value, list) else [value]
        named = {self._roles.get(name) for name in given if isinstance(name, str)}
        return next((role for role in _BY_RANK if role in named), None)


def _has_sealed(signed: bytes, secret: bytes, signature: bytes) -> bool:
    """Return whether a signature is HS256's; in one step, which the library takes in several."""
    return hmac.compare_digest(hmac.digest(secret, signed, "sha256"), signature)


def issue(
    auth: AuthSettings,
    user_id: str,
    *,
    name: str | None = None,
    role: UserRole | None = None,
    ttl_s: int,
) -> str:
    """Return a token for this person, signed with the configured secret."""
    if not auth.secret:
        raise SettingsError("auth.secret: is needed to issue tokens; a public key can only check")
    now_s = clock.now_ms() // 1_000
    try:
        claims = {"iat": now_s, "exp": now_s + ttl_s, auth.claims.id: _user_id(user_id, "id")}
    except UnauthorizedError as error:
        raise SettingsError(f"the token cannot be issued: {error.reason}") from None
    if name is not None:
        claims[auth.claims.name] = name
    if role is not None:
        claims[auth.claims.role] = _role_name(auth, role)
    claims |= {"aud": auth.audience} if auth.audience else {}
    claims |= {"iss": auth.issuer} if auth.issuer else {}
    return jwt.encode(claims, auth.secret, algorithm="HS256")


def _role_names(auth: AuthSettings, role: UserRole) -> Sequence[str]:
    """Return what the role claim may say for this role."""
    configured: dict[str, tuple[str, ...]] = dict(auth.roles)
    return configured[role] if any(configured.values()) else (role.value,)


def _role_name(auth: AuthSettings, role: UserRole) -> str:
    names = _role_names(auth, role)
    if not names:
        raise SettingsError(f"auth.roles.{role}: is empty, so that no token can say this role")
    return names[0]


def _parts(token: str) -> _Parts:
    """Take a token apart; raises UnauthorizedError for what is none."""
    if token.startswith(KEY_PREFIX):
        message = f"A server key is no token: send it as {KEY_HEADER}, over HTTP."
        raise UnauthorizedError(message, reason="a server key in the place of a token")
    if len(token) > TOKEN_CHARS:
        raise UnauthorizedError(reason=f"the token is longer than {TOKEN_CHARS} characters")
    try:
        signed, _, signature = token.encode("ascii").rpartition(b".")
        head, _, claims = signed.partition(b".")
        return _Parts(_header(head), signed, _decoded(claims), _decoded(signature))
    except ValueError as error:
        raise UnauthorizedError(reason=f"this is not a token: {error}") from None


@lru_cache(maxsize=_HEADERS)
def _header(head: bytes) -> Mapping[str, Any]:
    """Return what a token says about its key; ValueError if it says nothing we understand."""
    header = orjson.loads(_decoded(head))
    problem = None
    if not isinstance(header, dict):
        problem = "its header is no object"
    elif "crit" in header or header.get("b64", True) is not True:
        problem = "it asks for extensions (crit)"
    elif not isinstance(header.get("kid", ""), str):
        problem = "its key id (kid) is no text"
    if problem is not None:
        raise ValueError(problem)
    return dict(header)


def _decoded(part: bytes) -> bytes:
    """Return the bytes that a part stands for; ValueError unless it is the way to write them."""
    data = a2b_base64(part.translate(_FROM_URL) + b"=" * (-len(part) % 4))
    written = b2a_base64(data, newline=False).translate(_TO_URL)
    # The decoder leaves out what it does not know.
    if part not in (written.rstrip(b"="), written):
        message = "it is not base64url"
        raise ValueError(message)
    return data


def _signed_claims(parts: _Parts, key: Key) -> dict[str, Any]:
    """Return the claims, once the signature is proved to be by this key."""
    if parts.header.get("alg") != key.algorithm:
        raise UnauthorizedError(reason=f"the token names another algorithm ({key.algorithm})")
    if not key.has_signed(parts.signed, parts.signature):
        raise UnauthorizedError(reason=f"Signature verification failed ({key.algorithm})")
    try:
        # Not by orjson, to which a whole number of more than 64 bits is a fraction.
        claims = json.loads(parts.claims.decode())
    except (ValueError, RecursionError) as error:
        raise UnauthorizedError(reason=f"the claims are no JSON: {error}") from None
    if not isinstance(claims, dict):
        raise UnauthorizedError(reason="the claims are no object")
    return claims


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim of this very name, else what its dots lead to, else None."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _time_ms(claims: Mapping[str, Any], claim: str) -> int | None:
    """Return a time claim in milliseconds; None when it is absent."""
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnauthorizedError(reason=f"{claim} is not a number")
    if not 0 <= value <= _LAST_SECOND:
        raise UnauthorizedError(reason=f"{claim} is not a time in seconds")
    return int(value * 1_000)


def _begins_ms(claims: Mapping[str, Any]) -> int:
    """Return from when on a token is valid, in milliseconds."""
    return max(_time_ms(claims, "nbf") or 0, _time_ms(claims, "iat") or 0)


def _user_id(value: Any, claim: str) -> str:
    """Return the id as text of 1 to 64 characters; a whole number becomes its decimal digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise UnauthorizedError(reason=f"the id ({claim}) is neither text nor a whole number")
    if not 1 <= len(value) <= USER_ID_CHARS or value != value.strip():
        raise UnauthorizedError(reason=f"the id ({claim}) is not 1 to {USER_ID_CHARS} characters")
    if not _is_plain(value) and any(_is_control(character) for character in value):
        raise UnauthorizedError(reason=f"the id ({claim}) has control characters")
    # Else a person called like one could be made a member, and the key would read what they read.
    if value.startswith(KEY_HOLDER):
        raise UnauthorizedError(reason=f"the id ({claim}) begins with {KEY_HOLDER}, a server key's")
    return value


def _is_plain(text: str) -> bool:
    """Return whether a text certainly has no control characters; most have none."""
    return text.isascii() and text.isprintable()


def _is_control(character: str) -> bool:
    """Tell control characters and halves of surrogate pairs, which no database stores."""
    return unicodedata.category(character) in {"Cc", "Cs"}


def _name(value: Any) -> str | None:
    """Return the name in one line, cut to its length; None when there is nothing to show."""
    if not isinstance(value, str):
        return None
    plain = value
    if not _is_plain(value):
        plain = "".join(" " if _is_control(character) else character for character in value)
    return " ".join(plain.split())[:NAME_CHARS].strip() or None


def _picture(value: Any) -> str | None:
    """Return the address of a picture on the web; None for anything else."""
    if not isinstance(value, str) or not 1 <= len(value) <= PICTURE_CHARS:
        return None
    if any(character.isspace() or _is_control(character) for character in value):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return value if parts.scheme in {"http", "https"} and parts.hostname else None


def _configured_keys(settings: AuthSettings) -> Keys:
    if settings.secret:
        return OneKey(_secret_key(settings.secret))
    if settings.jwks_url:
        return FetchedKeys(settings.jwks_url)
    if settings.public_key:
        return OneKey(_public_key(settings.public_key_pem()))
    raise SettingsError("auth.secret: is missing, and no other key is given")


def _secret_key(secret: str) -> Key:
    try:
        return Key("HS256", secret)
    except ValueError as error:
        # Such as a public key in another form than PEM, which everybody may know.
        raise SettingsError(f"auth.secret: cannot be used: {error}") from None


def _public_key(pem: str) -> Key:
    """Return the key of a PEM text."""
    if "PRIVATE KEY" in pem:
        raise SettingsError("auth.public_key: is a private key; give the public half of it only")
    try:
        return Key.of(load_pem_public_key(pem.strip().encode()))
    except (ValueError, TypeError) as error:
        why = str(error) if "key" in str(error) and len(str(error)) < 80 else "is not a PEM key"
        raise SettingsError(f"auth.public_key: {why}") from None


class OneKey:
    """The key that is configured."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def edition(self) -> int:
        """Return always the same."""
        return 0

    async def find(self, header: Mapping[str, Any]) -> Key:
        """Return the key, whatever the header asks for: the signature decides."""
        del header
        return self._key

    async def close(self) -> None:
        """Do nothing: nothing is open."""


class FetchedKeys:
    """The key set at an address: kept, renewed, and kept on while the address does not answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str | None, Key] = {}
        self._asked_at_ms: int | None = None
        self._edition = 0
        self._answered = False
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, header: Mapping[str, Any]) -> Key:
        """Return the key of this `kid`; an unknown one is looked for, but not in every request."""
        key = self._known(header)
        if key is not None:
            self._keep_fresh()
            return key
        await self._renew()
        key = self._known(header)
        if key is not None:
            return key
        if not self._answered:
            raise UnavailableError(reason=f"the keys at {self._url} cannot be fetched")
        raise UnauthorizedError(reason="the token names no key (kid) of the key set")

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])

    def edition(self) -> int:
        """Return how often the keys were replaced; old ones are fetched anew in the background."""
        self._keep_fresh()
        return self._edition

    def _keep_fresh(self) -> None:
        """Fetch keys that are old: one that was withdrawn must not be trusted for ever."""
        if self._age_ms() > JWKS_AGE_MS:
            self._start()

    def _known(self, header: Mapping[str, Any]) -> Key | None:
        """Return the key of this `kid`; without one, the only key that fits the algorithm."""
        kid = header.get("kid")
        if kid is not None:
            return self._keys.get(kid) if isinstance(kid, str) else None
        fitting = [key for key in self._keys.values() if key.algorithm == header.get("alg")]
        return fitting[0] if len(fitting) == 1 else None

    def _age_ms(self) -> int:
        """Return how long ago the address was asked; a clock that was set back counts as long."""
        age = clock.now_ms() - (self._asked_at_ms or 0)
        return age if age >= 0 else JWKS_AGE_MS

    async def _renew(self) -> None:
        """Wait for the fetch under way, or for a new one unless the last was a moment ago."""
        pause = JWKS_PAUSE_MS if self._keys else JWKS_FIRST_PAUSE_MS
        if self._fetch is None and self._age_ms() < pause:
            return
        # Shielded: a caller who gives up must not end the fetch for the others.
        await asyncio.shield(self._start())

    def _start(self) -> "asyncio.Task[None]":
        """Return the fetch under way, which is started if there is none."""
        if self._fetch is None:
            self._asked_at_ms = clock.now_ms()
            self._fetch = asyncio.create_task(self._replace())
            self._fetch.add_done_callback(self._finish)
        return self._fetch

    def _finish(self, _: "asyncio.Task[None]") -> None:
        self._fetch = None

    async def _replace(self) -> None:
        """Take the keys from the address; keep the old ones when it does not answer well."""
        try:
            self._keys = _usable_keys(await _read(self._url))
            self._edition += 1
            self._answered = True
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._answered = False
            _log.warning("auth.jwks_url: %s: %s", self._url, str(error) or type(error).__name__)


async def _read(url: str) -> bytes:
    """Return the body at the address; ValueError for one that is no key set or too large."""
    timeout = aiohttp.ClientTimeout(total=JWKS_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise ValueError(f"the answer has the status {response.status}")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > JWKS_BYTES:
                raise ValueError(f"the answer is larger than {JWKS_BYTES} bytes")
        return bytes(body)


def _usable_keys(body: bytes) -> dict[str | None, Key]:
    """Return the keys of the set that we can check signatures with, by their `kid`."""
    try:
        document = json.loads(body)
    except RecursionError:
        document = None
    entries = document.get("keys") if isinstance(document, dict) else None
    found: dict[str | None, Key] = {}
    for entry in entries if isinstance(entries, list) else []:
        key = _usable_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            kid = entry.get("kid")
            found.setdefault(kid if isinstance(kid, str) else None, key)
    if not found:
        raise ValueError("there is no usable key in the answer")
    return found


def _usable_key(entry: dict[str, Any]) -> Key | None:
    """Return the key, or None for secrets, private keys and keys of another use or algorithm."""
    if entry.get("kty") == "oct" or "d" in entry or entry.get("use", "sig") != "sig":
        return None
    try:
        key = Key.of(jwt.PyJWK(entry).key)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if entry.get("alg", key.algorithm) == key.algorithm else None
