"""What others have signed: ID tokens, checked by the keys that their issuer publishes. Pure.

A key has one algorithm, which follows from what kind of key it is; what a token says of itself
chooses among keys and decides nothing. So `none`, and a public key taken for a shared secret, are
not forbidden here but impossible. With `token`, the only door to PyJWT.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from gossamer_mesh.errors import ConfigError, EnrolmentError

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
MOST_TOKEN: Final = 16 * 1024
"""Characters of an ID token."""

MOST_KEYS: Final = 64
_RSA_BITS: Final = range(2048, 8192 + 1)
_PUBLIC: Final = ("kty", "crv", "n", "e", "x", "y")
_PRIVATE: Final = ("d", "k")
_PEM_END: Final = "-----END PUBLIC KEY-----"

_READERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
_jws: Final = jwt.PyJWS(algorithms=list(ALGORITHMS))


class Key(NamedTuple):
    """A public key. `kid` "": it has no name, and may be any token's."""

    kid: str
    algorithm: str
    public: Any


class Head(msgspec.Struct, frozen=True):
    """What a token says of itself."""

    alg: str = ""
    kid: str = ""
    typ: str = "JWT"
    crit: tuple[str, ...] | None = None


class _Jwks(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class Signed(NamedTuple):
    """What somebody has signed. `digest`: of exactly that, whatever the signature looks like."""

    claims: Mapping[str, Any]
    digest: str


class Unread(NamedTuple):
    """A token, taken apart and not believed."""

    head: Head
    issuer: str
    text: str


_head: Final = msgspec.json.Decoder(Head)
_jwks: Final = msgspec.json.Decoder(_Jwks)
_claims: Final = msgspec.json.Decoder(dict[str, Any])


def unread(text: str) -> Unread:
    """Take an ID token apart; `EnrolmentError` if it is none. Nothing of it is believed yet."""
    if len(text) > MOST_TOKEN:
        raise _no(f"an ID token of {len(text)} characters: allowed are {MOST_TOKEN}")
    parts = text.split(".")
    if len(parts) != 3:  # noqa: PLR2004  head, claims and signature
        raise _cut_off(text)
    try:
        head, claims, _ = map(_exactly, parts)
        said, issuer = _head.decode(head), _claims.decode(claims).get("iss")
    except (ValueError, RecursionError) as error:
        raise _cut_off(text) from error
    return Unread(said, issuer if isinstance(issuer, str) else "", text)


def candidates(keys: Sequence[Key], head: Head) -> list[Key]:
    """Return the keys that can have signed a token that says this of itself."""
    named = [key for key in keys if not head.kid or key.kid in {"", head.kid}]
    return [key for key in named if key.algorithm == head.alg]


def read(token: Unread, keys: Sequence[Key]) -> Signed:
    """Return what one of `keys` has signed; `EnrolmentError` with a `reason` if none has.

    Whose keys they are, and what time it is, is not looked at.
    """
    head = token.head
    if head.alg not in ALGORITHMS:
        raise _no(
            f"an ID token signed with {head.alg[:20]!r}: allowed are {', '.join(ALGORITHMS)}: have "
            "the issuer sign with one of these"
        )
    if head.crit is not None or head.typ.upper() != "JWT":
        raise _no(f"this is no ID token, but a {head.typ[:40]!r}: give the issuer's ID token")
    tried = candidates(keys, head)
    if not tried:
        raise EnrolmentError(
            f"this ID token was signed with a key ({head.kid[:80]!r}, {head.alg}) that its issuer "
            "does not publish: get a new one; if it is refused too, ask who runs the issuer",
            reason="unknown-key",
        )
    for key in tried:
        try:
            payload = _jws.decode(token.text, key.public, algorithms=[key.algorithm])
        except (jwt.InvalidTokenError, jwt.InvalidKeyError):
            continue
        signed = token.text.rpartition(".")[0].encode()
        return Signed(_claims.decode(payload), hashlib.sha256(signed).hexdigest())
    raise _no(
        "this ID token was cut off or altered, or another than its issuer has signed it: copy it "
        "again, whole, or get a new one"
    )


def published(data: bytes) -> tuple[Key, ...]:
    """Return the keys of a JWKS that can sign ID tokens; `ValueError` if it is none.

    Keys of other kinds are passed over.
    """
    found = [_key(each) for each in _jwks.decode(data).keys[:MOST_KEYS]]
    return tuple([key for key in found if key is not None])


def given(text: str, path: str) -> tuple[Key, ...]:
    """Return the keys in a file of public keys, a JWKS or PEM; `ConfigError` if it has none."""
    try:
        private = "PRIVATE KEY" in text or _has_private(text)
        found = () if private else _from_pem(text) if _PEM_END in text else published(text.encode())
    except (ValueError, RecursionError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} is no file of public keys ({error}): give a JWKS, or keys in PEM", path=path
        ) from error
    if private:
        raise ConfigError(
            f"{path} has a private key in it: who has that vouches for everybody. Give the public "
            "keys alone",
            path=path,
        )
    if not found:
        raise ConfigError(
            f"{path} has no key that can sign ID tokens: allowed are RSA of {_RSA_BITS[0]} bits or "
            "more, P-256 and Ed25519",
            path=path,
        )
    return found


def _has_private(text: str) -> bool:
    if _PEM_END in text:
        return False
    listed = _jwks.decode(text.encode()).keys
    return any(name in each for each in listed for name in _PRIVATE)


def _from_pem(text: str) -> tuple[Key, ...]:
    blocks = [block + _PEM_END for block in text.split(_PEM_END)[:-1]]
    found = [_of(load_pem_public_key(block.strip().encode())) for block in blocks[:MOST_KEYS]]
    return tuple([key for key in found if key is not None])


def _key(jwk: Mapping[str, Any]) -> Key | None:
    """Return a published key, or None where it is of another kind, or for something else."""
    kind = str(jwk.get("kty"))
    if kind not in _READERS or jwk.get("use", "sig") != "sig":
        return None
    public = {name: jwk[name] for name in _PUBLIC if name in jwk}
    try:
        found = _of(_READERS[kind](public))
    except (jwt.InvalidKeyError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if found is None or jwk.get("alg", found.algorithm) != found.algorithm:
        return None
    return found._replace(kid=str(jwk.get("kid", ""))[:256])


def _of(public: object) -> Key | None:
    match public:
        case rsa.RSAPublicKey() if public.key_size in _RSA_BITS:
            return Key("", "RS256", public)
        case ec.EllipticCurvePublicKey() if isinstance(public.curve, ec.SECP256R1):
            return Key("", "ES256", public)
        case ed25519.Ed25519PublicKey():
            return Key("", "EdDSA", public)
        case _:
            return None


def _exactly(part: str) -> bytes:
    """Decode base64url; `ValueError` for a spelling that only means the same."""
    data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(data).decode().rstrip("=") != part:
        raise ValueError("not base64url")
    return data


def _no(message: str) -> EnrolmentError:
    return EnrolmentError(message, reason="id-token")


def _cut_off(text: str) -> EnrolmentError:
    return _no(
        f"this ID token of {len(text)} characters was cut off or altered: it is three words of "
        "base64url with dots between. Copy it again, whole, or get a new one"
    )
