"""Who joins with a token, and by which name: decisions of the registrar's. Pure but for keys."""

from __future__ import annotations

from typing import Final

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.enrolment.credentials import Credentials, check_live
from gossamer_mesh.enrolment.decision import Decision, Write, checked, no
from gossamer_mesh.enrolment.messages import Join, Token, User, joined_by, with_article
from gossamer_mesh.enrolment.roll import Roll
from gossamer_mesh.identity.nkey import kind_of
from gossamer_mesh.permissions import LEAF

AGENT: Final = "agent"
DEFAULT_SITE: Final = "local"


class Admission:
    """By the tokens and the names that are on the roll."""

    def __init__(self, roll: Roll, credentials: Credentials) -> None:
        self._roll = roll
        self._credentials = credentials

    def join(self, number: str, request: Join, now: int) -> Decision:
        """Decide on who comes with this token; `EnrolmentError` if it is not let in."""
        if number not in self._roll.tokens:
            raise no(
                "unknown-token",
                "this join token is not known to the mesh: ask for another (gossamer invite)",
            )
        token, revision = self._roll.tokens[number]
        if kind_of(request.public) != "user":
            raise no("key", f"{request.public[:60]!r} is not the public key of a user")
        self._check_role(token, request)
        before = token.taken.get(request.public)
        if before is not None:
            return self._again(before, request, now)
        if token.expires <= now:
            raise no(
                "expired",
                f"this join token expired {now - token.expires} s ago: "
                "ask for another (gossamer invite)",
            )
        if len(token.taken) >= token.uses:
            by = next(iter(token.taken.values()))
            raise no(
                "used-up",
                f"this join token was used already, by {by!r}"
                if token.uses == 1
                else f"this join token was for {token.uses}, and all have joined",
            )
        wished = token.name or request.name
        name = free_name(self._roll, wished, now, promised=bool(token.name))
        site = (token.site or request.site or DEFAULT_SITE) if token.role == AGENT else token.site
        user = self._user(name, request.public, token, checked(site, "site") if site else "", now)
        if token.role == LEAF:
            user = msgspec.structs.replace(user, urls=request.urls, ca=request.ca)
        taken = msgspec.structs.replace(token, taken={**token.taken, request.public: name})
        # The token first: a name that is given back is easier borne than a token used twice.
        return Decision(
            self._credentials.vouched(name, user, now),
            (
                Write(subjects.TOKENS_BUCKET, number, taken, revision),
                self._roll.write(name, user),
            ),
        )

    @staticmethod
    def _check_role(token: Token, request: Join) -> None:
        right = joined_by(token.role)
        if right == joined_by(request.role):
            return
        raise no(
            "wrong-role",
            f"this join token is for {with_article(token.role)}: use it with {right} TOKEN",
        )

    def _again(self, name: str, request: Join, now: int) -> Decision:
        """Answer who has been let in with this token and key already, and was not told."""
        user, _ = self._roll.users.get(name, (None, 0))
        if user is not None and user.public == request.public and user.vouched is None:
            check_live(name, user)
            renewed = self._credentials.renewed(user, now)
            return Decision(
                self._credentials.vouched(name, renewed, now), (self._roll.write(name, renewed),)
            )
        raise no(
            "name-taken",
            f"the name {name!r} has been given to another key since: "
            "ask for another token (gossamer invite)",
        )

    def _user(self, name: str, public: str, token: Token, site: str, now: int) -> User:
        held = self._roll.users.get(name)
        former = held[0].void if held else {}
        if public in self._roll.revoked():
            raise no("revoked", "this key was revoked: join with a new one")
        return User(
            public=public,
            role=token.role,
            site=site,
            groups=token.groups,
            issued=now,
            expires=now + self._credentials.lifetime_s,
            former=former,
        )


def free_name(roll: Roll, name: str, now: int, *, promised: bool) -> str:
    """Return `name` if somebody may join by it; `EnrolmentError` if not.

    `promised`: an administrator has said who is to have it.
    """
    checked(name, "name")
    if name.startswith(subjects.OWN_NAMES):
        raise no(
            "name",
            f"names that start with {subjects.OWN_NAMES!r}, like {name!r}, are the "
            "mesh's own: choose another with --name",
        )
    holder = roll.users.get(name)
    if holder is not None and _kept(holder[0], now):
        raise no(
            "name-taken",
            f"the name {name!r} is taken, by {with_article(holder[0].role)}: choose another with "
            f"--name, or revoke that one first (gossamer revoke {name})",
        )
    if not promised and roll.is_unenrolled_agent(name):
        raise no(
            "name-taken",
            f"the name {name!r} is that of an agent that runs with its owner's own access: "
            "choose another with --name. To enrol that agent, ask for a token of its name "
            f"(gossamer invite agent --name {name})",
        )
    return name


def _kept(user: User, now: int) -> bool:
    """Say whether a name is kept from who has a join token: a person's is, in or out."""
    person = user.vouched is not None and not user.revoked and not user.free
    return person or user.live(now)
