"""Credentials that a mesh gives nobody: all subjects are theirs. Only its owner can make them."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

from gossamer_mesh import access as access_file
from gossamer_mesh.access import Access
from gossamer_mesh.identity import token
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import NO_LIMIT, User, UserPart
from gossamer_mesh.identity.nkey import KeyPair


def anybody(access: Path, name: str = "anybody") -> Access:
    """Return the access of one who may say and hear all on the mesh whose owner's file is given."""
    account = Authority.load(access.parent / "keys.json").account
    pair = KeyPair.new("user")
    part = UserPart(subs=NO_LIMIT, data=NO_LIMIT, payload=NO_LIMIT)
    now = int(time.time()) - 60
    claims = User(iss=account.public, sub=pair.public, name=name, iat=now, jti="0", nats=part)
    return Access(access_file.load(access).url, jwt=token.sign(claims, account), seed=pair.seed)


def as_user(jwt: str, seed: str) -> dict[str, Any]:
    """Return what nats-py is to be told to connect as a user."""
    pair = KeyPair.from_seed(seed)
    return {
        "user_jwt_cb": jwt.encode,
        "signature_cb": lambda nonce: base64.b64encode(pair.sign(nonce.encode())),
    }
