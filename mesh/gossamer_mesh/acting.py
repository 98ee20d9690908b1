"""As whom an agent comes to its mesh: with credentials of its own, or vouched for by the owner."""

from __future__ import annotations

import time

import msgspec

from gossamer_mesh.access import Access
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity.claims import User, peek
from gossamer_mesh.identity.nkey import KeyPair


def as_agent(access: Access, name: str, site: str) -> Access:
    """Return the access of agent `name` of `site`: made now where `access` is the owner's.

    `ConfigError` where it is somebody else's: a client's, or an agent's of another name or site.
    """
    if not access.jwt:
        return access
    claims = peek(access.jwt, User)
    if access.issuer:
        # Slow to import, and of no use to an agent with credentials of its own.
        from gossamer_mesh.identity.authority import Issuer  # noqa: PLC0415  see above

        pair = KeyPair.new("user")
        issuer = Issuer("agent", KeyPair.from_seed(access.issuer), claims.nats.issuer_account)
        jwt = issuer.vouch(name, pair.public, int(time.time()), site=site)
        return msgspec.structs.replace(access, jwt=jwt, seed=pair.seed, issuer="", file="")
    if claims.role != "agent":
        raise ConfigError(
            f"these are the credentials of {claims.role} {claims.name!r}, and an agent needs its "
            "own: ask for a token (gossamer invite agent), then gossamer agent join TOKEN",
            value=claims.name,
        )
    for what, told, ours in (("name", claims.name, name), ("site", claims.site, site)):
        if told != ours:
            raise ConfigError(
                f"this agent is to have the {what} {ours!r}, but its credentials are for "
                f"{told!r}: use that one, or join again",
                value=ours,
            )
    return access
