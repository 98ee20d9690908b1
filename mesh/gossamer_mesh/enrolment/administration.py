"""Whom administrators invite, revoke and let in again: decisions of the registrar's.

Pure but for keys; chance is drawn by an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.enrolment.admission import AGENT, free_name
from gossamer_mesh.enrolment.decision import Decision, Write, checked, no
from gossamer_mesh.enrolment.messages import (
    Invite,
    Invitee,
    ListUsers,
    Readmit,
    Readmitted,
    Revoke,
    Revoked,
    Token,
    User,
    Users,
    with_article,
)
from gossamer_mesh.enrolment.roll import DAY_S, Roll
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.permissions import LEAF
from gossamer_mesh.units import show_seconds

MOST_USES: Final = 100_000
MOST_TTL_S: Final = 30 * DAY_S


class Draw(NamedTuple):
    """What chance gives to a new token: its number and its key."""

    id: str
    pair: KeyPair


class Administration:
    """Of who is on the roll; `leaves` as of the registrar."""

    def __init__(
        self, authority: Authority, roll: Roll, draw: Callable[[], Draw], leaves: tuple[str, ...]
    ) -> None:
        self._authority = authority
        self._roll = roll
        self._draw = draw
        self._leaves = leaves

    def decide(
        self, speaker: str, request: Invite | ListUsers | Revoke | Readmit, now: int
    ) -> Decision:
        """Decide on what the administrator `speaker` asks; `EnrolmentError` if that cannot be."""
        match request:
            case Invite():
                self._check_invite(request, now)
                token, invitee = self._invite(request, now)
                return Decision(invitee, (Write(subjects.TOKENS_BUCKET, invitee.id, token, 0),))
            case ListUsers():
                found = {name: user for name, (user, _) in sorted(self._roll.users.items())}
                return Decision(Users(users=found, now=now))
            case Revoke() if request.name == speaker:
                raise no("name", "you would lock yourself out: another admin can revoke you")
            case Revoke():
                return self._revoke(request, now)
            case Readmit():
                return self._readmit(request, now)

    def _check_invite(self, request: Invite, now: int) -> None:
        if request.name:
            free_name(self._roll, request.name, now, promised=True)
        if request.role == LEAF and not self._leaves:
            raise no("wrong-role", "this mesh listens for no leaves: it has to be made "
                                "with gossamer mesh init --leaves HOST:PORT")  # fmt: skip
        if request.at:
            self._check_leaf(request, now)
        if request.groups and request.role in (AGENT, LEAF):
            raise no("wrong-role", f"groups are of people, and {with_article(request.role)} is in "
                                "none: leave --group out")  # fmt: skip
        if request.site and request.role not in (AGENT, LEAF):
            raise no("wrong-role", f"a site is what agents and leaves belong to, and "
                                f"{with_article(request.role)} does not: leave --site out (--at "
                                "LEAF says by which site's server somebody joins)")  # fmt: skip
        for group in request.groups:
            checked(group, "group")
        if request.site:
            checked(request.site, "site")
        most = 1 if request.name else MOST_USES
        if not 1 <= request.uses <= most:
            why = f", for one alone can be called {request.name!r}" if request.name else ""
            raise no("name", f"a join token for {request.uses} uses: allowed are 1 to {most}{why}")
        if not 1 <= request.ttl_s <= MOST_TTL_S:
            raise no(
                "expired",
                f"a join token that lasts {show_seconds(request.ttl_s)}: allowed are 1 s to "
                f"{MOST_TTL_S // DAY_S} days",
            )

    def _invite(self, request: Invite, now: int) -> tuple[Token, Invitee]:
        if not request.at:
            return self.invite(request, now)
        leaf = self._roll.users[request.at][0]
        if request.role == AGENT and not request.site:
            request = msgspec.structs.replace(request, site=leaf.site or request.at)
        token, invitee = self.invite(request, now)
        return token, msgspec.structs.replace(invitee, urls=leaf.urls, ca=leaf.ca)

    def _check_leaf(self, request: Invite, now: int) -> None:
        leaf = self._roll.users.get(request.at)
        if leaf is None or leaf[0].role != LEAF or not leaf[0].live(now):
            raise no("unknown-user", f"no leaf {request.at!r} has joined, or it is no "
                                "more: gossamer users lists who has")  # fmt: skip
        if request.role in (LEAF, "admin"):
            raise no("wrong-role", f"{with_article(request.role)} joins at the mesh's own server, "
                                "not at a leaf's")  # fmt: skip

    def invite(self, request: Invite, now: int) -> tuple[Token, Invitee]:
        """Make a join token: what is kept of it, and what is handed out."""
        drawn = self._draw()
        token = Token(
            role=request.role,
            expires=now + request.ttl_s,
            uses=request.uses,
            name=request.name,
            site=request.site,
            groups=request.groups,
        )
        pair = drawn.pair
        jwt = self._authority.issuer("joiner").vouch(
            drawn.id, pair.public, now, ttl_s=request.ttl_s
        )
        return token, Invitee(
            id=drawn.id, jwt=jwt, seed=pair.seed, role=request.role, expires=token.expires
        )

    def _found(self, name: str) -> User:
        if name not in self._roll.users:
            raise no(
                "unknown-user",
                f"nobody called {name!r} was let in here: gossamer users lists who was",
            )
        return self._roll.users[name][0]

    def _readmit(self, request: Readmit, now: int) -> Decision:
        user = self._found(request.name)
        if user.live(now):
            raise no(
                "name-taken", f"{request.name!r} is in: gossamer revoke {request.name} comes first"
            )
        write = self._roll.write(request.name, msgspec.structs.replace(user, free=True))
        answer = Readmitted(name=request.name, role=user.role, logs_in=user.vouched is not None)
        return Decision(answer, (write,))

    def _revoke(self, request: Revoke, now: int) -> Decision:
        user = self._found(request.name)
        if user.revoked and not user.free:
            return Decision(Revoked(name=request.name), revokes=True)
        # Nor is the name free any more, if it was.
        revoked = msgspec.structs.replace(user, revoked=user.revoked or now, free=False)
        write = self._roll.write(request.name, revoked)
        return Decision(Revoked(name=request.name), (write,), revokes=True)
