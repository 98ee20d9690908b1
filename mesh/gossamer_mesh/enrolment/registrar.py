"""Who is let into the mesh: a machine. Nothing is kept here that is not in its buckets.

A request is decided from what the buckets say of the names it is about, and ends in writes that
hold only if that is still so, then in an answer. Of two that take one token at once, one finds
that it was changed and is decided again. What is decided of who joins, of who stays and for
administrators has a module each; this one says whose a request is, and decides on logins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gossamer_mesh.enrolment import granting, logins
from gossamer_mesh.enrolment.administration import Administration, Draw
from gossamer_mesh.enrolment.admission import Admission
from gossamer_mesh.enrolment.credentials import Credentials
from gossamer_mesh.enrolment.decision import Decision, no, refused
from gossamer_mesh.enrolment.messages import (
    Door,
    Doors,
    Give,
    Invite,
    Invitee,
    Join,
    ListIssuers,
    ListUsers,
    Readmit,
    Renew,
    Request,
    Return,
    Revoke,
    TakeBack,
    Token,
)
from gossamer_mesh.enrolment.roll import Roll
from gossamer_mesh.enrolment.stay import Stay
from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import kind_of
from gossamer_mesh.vouching.person import Person
from gossamer_mesh.vouching.trust import Trusted


class Registrar:
    """`roll` is kept up to date by who makes the writes."""

    def __init__(
        self,
        authority: Authority,
        lifetime_s: int,
        draw: Callable[[], Draw],
        leaves: tuple[str, ...] = (),
        void: Mapping[str, int] | None = None,
    ) -> None:
        """`leaves`: the addresses by which sites' servers reach the mesh's, if they may.

        `void`: keys that are so, whatever became of what is kept of whom they were.
        """
        self.roll = Roll(void)
        self._authority = authority
        self._credentials = Credentials(authority, self.roll, lifetime_s, leaves)
        self._admission = Admission(self.roll, self._credentials)
        self._stay = Stay(self.roll, self._credentials)
        self._administration = Administration(authority, self.roll, draw, leaves)
        self._issuers: Mapping[str, Trusted] = {}

    def believe(self, issuers: Mapping[str, Trusted]) -> None:
        """Take in whom the mesh believes by now."""
        self._issuers = issuers

    def invite(self, request: Invite, now: int) -> tuple[Token, Invitee]:
        """Make a join token: what is kept of it, and what is handed out."""
        return self._administration.invite(request, now)

    def decide(self, what: str, speaker: str, request: Request | Person, now: int) -> Decision:
        """Decide a request that `speaker` (who the server has made sure of) made as `what`.

        Of a login it is whom the token vouches for.
        """
        try:
            return self._decided(what, speaker, request, now)
        except EnrolmentError as error:
            return Decision(refused(error, now))

    def _decided(self, what: str, speaker: str, request: Request | Person, now: int) -> Decision:
        match what, request:
            case "join", Join():
                return self._admission.join(speaker, request, now)
            case "renew", Renew():
                return self._stay.renew(speaker, request, self._issuers, now)
            case "login", Return():
                return self._stay.come_back(speaker, request, self._issuers, now)
            case "login", Person() | ListIssuers():
                return self._visited(speaker, request, now)
            case "admin", Give() | TakeBack():
                return granting.decide(self._authority, request, now)
            case "admin", Invite() | ListUsers() | Revoke() | Readmit():
                return self._administration.decide(speaker, request, now)
            case _:
                raise no("unreadable", f"nothing of that kind as {what}")

    def _visited(self, key: str, person: Person | ListIssuers, now: int) -> Decision:
        if isinstance(person, ListIssuers):
            known = [
                Door(issuer=each.issuer, client=each.client) for each in self._issuers.values()
            ]
            return Decision(Doors(mesh=self._authority.name, issuers=tuple(known), now=now))
        if kind_of(key) != "user":
            raise no("key", f"{key[:60]!r} is not the public key of a user")
        users = {name: user for name, (user, _) in self.roll.users.items()}
        name, user = logins.entered(users, person, key, self._credentials.lifetime_s, now)
        if self.roll.is_unenrolled_agent(name):
            raise no(
                "name-taken",
                f"the name {name!r} is an agent's: have the mesh take names from another claim "
                "(gossamer mesh trust --claim), or that agent be called otherwise",
            )
        enrolled = self._credentials.vouched(name, user, now)
        return Decision(enrolled, (self.roll.write(name, user),))
