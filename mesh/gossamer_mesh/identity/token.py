"""Signed claims as they travel: JWTs signed with a NATS key. With `foreign`, the door to PyJWT.

Who reads one says whom it trusts; a signature says who vouches, never that it is true for now:
times are for the reader to compare, with its own idea of now.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final, TypeVar, cast

import jwt
import msgspec
from jwt.algorithms import Algorithm

from gossamer_mesh.errors import CredentialsError
from gossamer_mesh.identity.claims import peek
from gossamer_mesh.identity.nkey import KeyPair, verifies

ALGORITHM: Final = "ed25519-nkey"
T = TypeVar("T")


class _Nkey(Algorithm):
    """Ed25519 with the key in NATS's form: a pair signs, a public key verifies."""

    def prepare_key(self, key: KeyPair | str) -> KeyPair | str:
        return key

    def sign(self, msg: bytes, key: KeyPair) -> bytes:
        return key.sign(msg)

    def verify(self, msg: bytes, key: str, sig: bytes) -> bool:
        return verifies(key, msg, sig)

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> Any:  # noqa: FBT001, FBT002  as PyJWT has it
        del key_obj, as_dict
        raise CredentialsError("a key of NATS is not written as a JWK: give its own form")

    @staticmethod
    def from_jwk(jwk: Any) -> Any:
        del jwk
        raise CredentialsError("a key of NATS is not written as a JWK: give its own form")


_jws: Final = jwt.PyJWS(algorithms=[])
_jws.register_algorithm(ALGORITHM, _Nkey())


def sign(claims: msgspec.Struct, key: KeyPair) -> str:
    """Return `claims` as a JWT signed by `key`. Its `iss` is to be that key's public half."""
    payload = msgspec.json.encode(claims)
    # PyJWT knows its own kinds of keys; ours goes through to our algorithm as it is.
    return _jws.encode(payload, cast("Any", key), ALGORITHM, {"typ": "JWT"})


def read(token: str, kind: type[T], trusted: Container[str], what: str = "token") -> T:
    """Return the claims of a token signed by one of `trusted`, else `CredentialsError`.

    `what` names it in the error. Whether it has expired is not looked at.
    """
    claims = peek(token, kind, what)
    issuer: str = getattr(claims, "iss", "")
    if issuer not in trusted:
        raise CredentialsError(f"this {what} was not signed by this mesh, but by {issuer[:60]!r}")
    try:
        _jws.decode(token, issuer, algorithms=[ALGORITHM])
    except jwt.InvalidTokenError as error:
        raise CredentialsError(f"this {what} was altered: its signature is wrong") from error
    return claims
