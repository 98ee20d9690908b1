"""An issuer of ID tokens, asked: what it says of itself, and its keys. Blocks; see `web`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity import foreign
from gossamer_mesh.identity.foreign import Key
from gossamer_mesh.vouching import web

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_FOUND: Final = 200


class Discovered(NamedTuple):
    """Where an issuer does what; "": it does not."""

    keys: str
    device: str
    token: str


def discover(issuer: str) -> Discovered:
    """Return where this issuer does what; `EnrolmentError`, "issuer-down" or "issuer"."""
    url = issuer.rstrip("/") + _WELL_KNOWN
    reply = web.ask(url)
    if reply.status != _FOUND or not reply.said:
        raise web.down(url, f"it answers {reply.status}, and does not say what it offers")
    named = reply.said.get("issuer")
    if named != issuer:
        raise EnrolmentError(
            f"at {issuer} there is an issuer that calls itself {named!r}: name it so, exactly",
            reason="issuer",
        )
    return Discovered(
        keys=_place(issuer, reply.said, "jwks_uri"),
        device=_place(issuer, reply.said, "device_authorization_endpoint"),
        token=_place(issuer, reply.said, "token_endpoint"),
    )


def keys(issuer: str) -> tuple[Key, ...]:
    """Return the keys that this issuer publishes; `EnrolmentError`, "issuer-down" or "issuer"."""
    url = discover(issuer).keys
    if not url:
        raise web.down(issuer, "it does not say where its keys are")
    reply = web.ask(url)
    try:
        if reply.status != _FOUND:
            raise ValueError(f"it answers {reply.status}")  # noqa: TRY301  as unreadable keys
        return foreign.published(reply.body)
    except (ValueError, RecursionError) as error:
        raise web.down(url, f"no keys there: {error}") from error


def _place(issuer: str, said: Mapping[str, Any], name: str) -> str:
    found = said.get(name, "")
    place = found if isinstance(found, str) else ""
    if place and issuer.startswith("https:") and not place.startswith("https:"):
        # Not even to this machine: who is asked there did not mean to be.
        raise web.down(issuer, f"it names {place[:200]!r} as its {name}, which is not https")
    return place
