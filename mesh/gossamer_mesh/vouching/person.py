"""Who somebody is on a mesh, from what an issuer that it believes has said. Pure.

Times are whole seconds since 1970. A person is known by issuer and subject, which never change; the
name comes from a claim, and is refused where another has it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, cast

from gossamer_mesh import subjects
from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity.foreign import Signed
from gossamer_mesh.vouching.trust import Trusted

LEEWAY_S: Final = 60
"""By so much an issuer's clock may differ."""

OLDEST_S: Final = 86_400
"""What was signed longer ago vouches for nobody: nor must its use be remembered for longer."""

MOST_SUBJECT: Final = 255
MOST_GROUPS: Final = 64
_NAMED_BY: Final = ("preferred_username", "email", "sub")
_LONGEST: Final = 63
_TAIL: Final = 8
_MISSING: Final = object()
_END: Final = 2**48
"""Of time: what is later is none."""


class Person(NamedTuple):
    """Whom an issuer vouches for. `digest`: of the token; `until`: when nobody takes it any more.

    `login_for_s`: how long that is to hold.
    """

    issuer: str
    subject: str
    name: str
    role: Literal["admin", "client"]
    groups: tuple[str, ...]
    digest: str
    until: int
    login_for_s: int


def nonce(public: str) -> str:
    """Return what a token is asked to have in it, so that it is for this key and no other."""
    return hashlib.sha256(f"gossamer login {public}".encode()).hexdigest()


def person(signed: Signed, trusted: Trusted, public: str, now: float) -> Person:
    """Return whom `trusted` has vouched for, to the holder of the key `public`.

    `EnrolmentError` with a `reason` if it has not, or not here, or not any more.
    """
    claims = signed.claims
    if claims.get("iss") != trusted.issuer:
        raise _no("issuer", f"this ID token is of {claims.get('iss')!r}, not of {trusted.issuer}")
    _check_audience(claims, trusted)
    until = _check_times(claims, now)
    if claims.get("nonce") not in (None, nonce(public)):
        raise _no(
            "replayed", "this ID token was made for another key (its nonce): log in anew, with "
            "gossamer login, or give a token that has no nonce"
        )  # fmt: skip
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MOST_SUBJECT:
        raise _no("claim", f"this ID token does not say whose it is: its sub is {subject!r:.80}")
    _check_allowed(claims, trusted)
    said = _groups(claims, trusted)
    return Person(
        issuer=trusted.issuer,
        subject=subject,
        name=_name(claims, trusted),
        role="admin" if set(said) & set(trusted.admins) else "client",
        groups=_meshs(said, trusted),
        digest=signed.digest,
        until=until,
        login_for_s=trusted.login_for_s,
    )


def _check_audience(claims: Mapping[str, Any], trusted: Trusted) -> None:
    audiences = _texts(claims.get("aud"))
    if trusted.audience not in audiences:
        raise _no(
            "audience",
            f"this ID token is for {', '.join(audiences)[:200]!r}, and this mesh takes "
            f"those for {trusted.audience!r}: ask {trusted.issuer} for one for that audience",
        )


def _check_times(claims: Mapping[str, Any], now: float) -> int:
    """Return until when the token can be used."""
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    starts = max(issued, _time(claims, "nbf") if "nbf" in claims else issued)
    if starts - LEEWAY_S > now:
        raise _no(
            "clock",
            f"this ID token holds from {starts - now:.0f} s from now on by the mesh's clock: set "
            "the clock that is wrong, the mesh's or the issuer's",
        )
    until = min(expires, issued + OLDEST_S) + LEEWAY_S
    if until <= now:
        raise _no(
            "expired",
            f"this ID token ended {now - until + LEEWAY_S:.0f} s ago by the mesh's clock: get "
            "another (gossamer login), or set the clock that is wrong",
        )
    return math.ceil(until)


def _time(claims: Mapping[str, Any], name: str) -> float:
    said = claims.get(name)
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said < _END:
        raise _no("claim", f"this ID token has no time in its claim {name!r} ({said!r:.80})")
    return said


def _check_allowed(claims: Mapping[str, Any], trusted: Trusted) -> None:
    for name, values in trusted.allow.items():
        said = _claim(claims, name)
        if said is _MISSING:
            raise _no(
                "claim",
                f"this ID token has no claim {name!r}, which this mesh asks for: have "
                f"{trusted.issuer} put it in (a scope, or the client's settings)",
            )
        if not set(values) & set(_texts(said)):
            raise _no(
                "claim",
                f"this ID token says {name} = {', '.join(_texts(said))[:200]!r}, and this mesh "
                f"lets in who has {' or '.join(map(repr, values))}: ask its administrator",
            )


def _name(claims: Mapping[str, Any], trusted: Trusted) -> str:
    names = (trusted.claim,) if trusted.claim else _NAMED_BY
    for name in names:
        said = _claim(claims, name)
        if isinstance(said, str) and said and (name != "email" or _verified(claims)):
            break
    else:
        also = ", and email_verified to be true" if "email" in names else ""
        raise _no(
            "claim",
            f"this ID token has no {' or '.join(names)} to call somebody by{also}: have "
            f"{trusted.issuer} put it in (a scope, or the client's settings), or have the mesh "
            "take another claim (gossamer mesh trust --claim)",
        )
    found = _as_name(said)
    # What would be left of "_ada" is another person's name, and the issuer has not said that.
    whole = subjects.is_name(found) and said.startswith(found[0])
    if not whole or found.startswith(subjects.OWN_NAMES):
        raise _no(
            "name", f"nobody can be called {said[:80]!r} on a mesh: have it take another claim "
            "(gossamer mesh trust --claim)"
        )  # fmt: skip
    return found


def _as_name(said: str) -> str:
    """Return a name that can be one token of a subject; long ones end in a digest of the whole."""
    found = subjects.as_name(said, "")
    if not found or len(said) <= _LONGEST:
        return found
    tail = hashlib.sha256(said.encode()).hexdigest()[:_TAIL]
    return f"{found[: _LONGEST - _TAIL - 1]}-{tail}"


def _verified(claims: Mapping[str, Any]) -> bool:
    # Some say it in a word. Who does not say it has let people type what they like.
    return claims.get("email_verified") in (True, "true")


def _groups(claims: Mapping[str, Any], trusted: Trusted) -> list[str]:
    """Return the groups that the issuer has somebody in, as it calls them."""
    said = _claim(claims, trusted.groups_claim) if trusted.groups_claim else _MISSING
    return [] if said is _MISSING else _texts(said)


def _meshs(said: list[str], trusted: Trusted) -> tuple[str, ...]:
    """Return what groups those are on the mesh. Two are never made one that was not said to be."""
    found = {trusted.groups[group] for group in said if group in trusted.groups}
    if not trusted.groups:
        found = {group for group in said if subjects.is_name(group)}
    if len(found) > MOST_GROUPS:
        raise _no(
            "claim",
            f"this ID token names {len(found)} groups: a mesh takes {MOST_GROUPS}. Have it take "
            "those that matter (gossamer mesh trust --group)",
        )
    return tuple(sorted(found))


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim, or what lies in one of claims, as in realm_access.roles."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return _MISSING
        found = cast("dict[str, Any]", found)[part]
    return found


def _texts(said: Any) -> list[str]:
    """Return the values of a claim as they are written on a command line."""
    if isinstance(said, list):
        return [text for each in cast("list[object]", said) for text in _texts_of(each)]
    return _texts_of(said)


def _texts_of(said: object) -> list[str]:
    if isinstance(said, bool):
        return [str(said).lower()]
    # A number of more digits than Python writes is nobody's.
    is_text = isinstance(said, str) or (isinstance(said, int) and abs(said) < _END)
    return [str(said)] if is_text else []


def _no(reason: str, message: str) -> EnrolmentError:
    return EnrolmentError(message, reason=reason)
