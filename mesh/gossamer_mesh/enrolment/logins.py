"""Who logs in: what becomes of a user for whom an issuer vouches. Pure.

A person is known by issuer and subject, and has one name, in as many places as it logs in: a key
for each. A name is never taken from anybody, were it only from who has it no longer, for what was
granted to that name would go with it; an administrator may say that it is free.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

import msgspec

from gossamer_mesh.enrolment.decision import no
from gossamer_mesh.enrolment.messages import Key, User, Vouched
from gossamer_mesh.vouching.person import Person

MOST_KEYS: Final = 64
"""That one person has logged in with at a time."""


def entered(
    users: Mapping[str, User], person: Person, public: str, lifetime_s: int, now: int
) -> tuple[str, User]:
    """Return the name under which `person` is let in with the key `public`, and what is kept.

    `EnrolmentError` with a `reason` if it is not.
    """
    name = _known(users, person) or person.name
    held = users.get(name)
    if held is not None:
        _check_free(name, held, person)
    void = dict(held.void) if held else {}
    if public in void:
        raise no("revoked", "this key was revoked: log in with a new one")
    before = held.vouched.keys if held and held.vouched and _is(held, person) else {}
    keys = {key: login for key, login in before.items() if _matters(login, now)}
    if any(login.token == person.digest for key, login in keys.items() if key != public):
        raise no(
            "replayed",
            "this ID token has been used already, by another key, which may have been you: "
            "each gossamer login makes one. Get a new token. If it was not you, somebody has your "
            "tokens: tell the mesh's administrator",
        )
    if len(keys) >= MOST_KEYS and public not in keys:
        raise no(
            "busy",
            f"{name!r} has logged in {len(keys)} times: some must end before the next. Where many "
            "short jobs log in, let logins be short (gossamer mesh trust --login-for)",
        )
    again = keys.get(public)
    until = now + person.login_for_s
    if again is not None and again.token == person.digest:
        # Who asks again has not heard the answer; a login does not get longer by it.
        until = again.until
        if until <= now:
            raise no("login-over", "what this ID token was for is over: log in with a new one")
    keys[public] = Key(
        until=until,
        expires=min(now + lifetime_s, until),
        token=person.digest,
        taken_until=person.until,
    )
    vouched = Vouched(issuer=person.issuer, subject=person.subject, keys=keys)
    return name, User(
        public=public,
        role=person.role,
        groups=person.groups,
        issued=now,
        expires=_last(keys),
        former=void,
        vouched=vouched,
    )


def renewed(
    name: str, user: User, public: str, issuers: Container[str], lifetime_s: int, now: int
) -> tuple[str, User]:
    """Return which key of who has logged in is vouched for again, and what is kept.

    `EnrolmentError` with a `reason` if it is not.
    """
    vouched = user.vouched
    key = public or user.public
    if vouched is None or key not in vouched.keys or key in user.void:
        raise no("unknown-user", f"{name!r} has not logged in with this key: gossamer login")
    login = vouched.keys[key]
    if vouched.issuer not in issuers:
        raise no("login-over", f"the mesh does not believe {vouched.issuer} any more, which had "
                  f"vouched for {name!r}: ask its administrator")  # fmt: skip
    if login.until <= now:
        raise no("login-over", f"the login of {name!r} is over: log in again (gossamer login)")
    expires = min(now + lifetime_s, login.until)
    keys = {**vouched.keys, key: msgspec.structs.replace(login, expires=expires)}
    kept = msgspec.structs.replace(
        user,
        issued=now,
        expires=_last(keys),
        vouched=msgspec.structs.replace(vouched, keys=keys),
    )
    return key, kept


def _known(users: Mapping[str, User], person: Person) -> str:
    """Return the name that this person has had, whatever the issuer calls it by now."""
    return next((name for name, user in users.items() if _is(user, person)), "")


def _is(user: User, person: Person) -> bool:
    known = user.vouched
    return known is not None and (known.issuer, known.subject) == (person.issuer, person.subject)


def _check_free(name: str, held: User, person: Person) -> None:
    if held.free:
        return
    if not _is(held, person):
        by = f"who is vouched for by {held.vouched.issuer}" if held.vouched else "who has joined"
        raise no(
            "name-taken",
            f"the name {name!r} is another's, {by}: an administrator can set it free (gossamer "
            f"revoke {name}, then gossamer readmit {name}), or have the mesh take names from "
            "another claim (gossamer mesh trust --claim)",
        )
    if held.revoked:
        raise no(
            "revoked",
            f"{name!r} was revoked: an administrator can let it in again (gossamer readmit {name})",
        )


def _matters(login: Key, now: int) -> bool:
    return login.expires > now or login.taken_until > now


def _last(keys: Mapping[str, Key]) -> int:
    return max(key.expires for key in keys.values())
