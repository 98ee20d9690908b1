"""Who is let into the mesh: a machine. Nothing is kept here that is not in its buckets.

A request is decided from what the buckets say of the names it is about, and ends in writes that
hold only if that is still so, then in an answer. Of two that take one token at once, one finds
that it was changed and is decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, cast

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.enrolment import granting, logins
from gossamer_mesh.enrolment.granting import Put
from gossamer_mesh.enrolment.messages import (
    Answer,
    Door,
    Doors,
    Enrolled,
    Give,
    Invite,
    Invitee,
    Join,
    ListIssuers,
    ListUsers,
    Readmit,
    Readmitted,
    Reason,
    Refused,
    Renew,
    Request,
    Return,
    Revoke,
    Revoked,
    Served,
    TakeBack,
    Token,
    User,
    Users,
    joined_by,
)
from gossamer_mesh.errors import ConfigError, EnrolmentError
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair, kind_of
from gossamer_mesh.permissions import LEAF
from gossamer_mesh.vouching.person import Person
from gossamer_mesh.vouching.trust import Trusted

AGENT: Final = "agent"
DEFAULT_SITE: Final = "local"
MOST_USES: Final = 100_000
DAY_S: Final = 86_400
MOST_TTL_S: Final = 30 * DAY_S
GRACE_S: Final = 30 * DAY_S
"""Who was away comes back by its key until so long after its credentials have lapsed."""


class Write(NamedTuple):
    """Put `value` where the key still has `revision` (0: where it is not there)."""

    bucket: str
    key: str
    value: User | Token
    revision: int


class Decision(NamedTuple):
    """Make these writes in this order, throw out whom they revoke, then answer."""

    answer: Answer
    writes: tuple[Write, ...] = ()
    revokes: bool = False
    put: Put | None = None


class Draw(NamedTuple):
    """What chance gives to a new token: its number and its key."""

    id: str
    pair: KeyPair


class Registrar:
    """`users` and `tokens` are kept up to date by who makes the writes."""

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
        self._void = dict(void or {})
        self._spoiled: dict[tuple[str, str], int] = {}
        self._leaves = leaves
        self.users: dict[str, tuple[User, int]] = {}
        self.tokens: dict[str, tuple[Token, int]] = {}
        self._authority = authority
        self._lifetime_s = lifetime_s
        self._draw = draw
        self._issuers: Mapping[str, Trusted] = {}
        self._agents: set[str] = set()

    def believe(self, issuers: Mapping[str, Trusted]) -> None:
        """Take in whom the mesh believes by now."""
        self._issuers = issuers

    def saw_agent(self, name: str, there: bool) -> None:  # noqa: FBT001 - whether there is one
        """Take in whether an agent of this name has a document, whoever has let it in."""
        (self._agents.add if there else self._agents.discard)(name)

    def learn(self, write: Write, revision: int) -> None:
        """Take in what a bucket has by now."""
        if isinstance(write.value, User):
            self.users[write.key] = (write.value, revision)
        else:
            self.tokens[write.key] = (write.value, revision)

    def spoil(self, bucket: str, key: str, revision: int) -> None:
        """Take in that a bucket has something there that no registrar has written.

        What is known of that key still holds, and goes over it with the next write.
        """
        if bucket == subjects.USERS_BUCKET and key in self.users:
            self.users[key] = (self.users[key][0], revision)
        elif bucket == subjects.TOKENS_BUCKET and key in self.tokens:
            self.tokens[key] = (self.tokens[key][0], revision)
        else:
            self._spoiled[bucket, key] = revision

    def revision(self, bucket: str, key: str) -> int:
        """Return the revision that we know of; 0: of none."""
        known = self.users if bucket == subjects.USERS_BUCKET else self.tokens
        return known[key][1] if key in known else self._spoiled.get((bucket, key), 0)

    def forget(self, bucket: str, key: str) -> None:
        """Take in that a bucket has nothing there."""
        (self.users if bucket == subjects.USERS_BUCKET else self.tokens).pop(key, None)

    def stale(self, now: int) -> list[str]:
        """Return the join tokens that nobody can ask about any more."""
        return [number for number, (token, _) in self.tokens.items() if token.expires < now - DAY_S]

    def revoked(self) -> Mapping[str, int]:
        """Return the keys that are void, with since when."""
        void = dict(self._void)
        for user, _ in self.users.values():
            void.update(user.void)
        return void

    def decide(self, what: str, speaker: str, request: Request | Person, now: int) -> Decision:
        """Decide a request that `speaker` (who the server has made sure of) made as `what`.

        Of a login it is whom the token vouches for.
        """
        try:
            return self._decided(what, speaker, request, now)
        except EnrolmentError as no:
            return Decision(refused(no, now))

    def _decided(self, what: str, speaker: str, request: Request | Person, now: int) -> Decision:
        match what, request:
            case "join", Join():
                return self._join(speaker, request, now)
            case "renew", Renew():
                return self._renew(speaker, request, now)
            case "login", Return():
                return self._return(speaker, request, now)
            case "login", Person() | ListIssuers():
                return self._visited(speaker, request, now)
            case "admin", Give() | TakeBack():
                answer, put = granting.decide(self._authority, request, now)
                return Decision(answer, put=put)
            case "admin", Invite() | ListUsers() | Revoke() | Readmit():
                return self._administer(speaker, request, now)
            case _:
                raise _no("unreadable", f"nothing of that kind as {what}")

    # -- joining -----------------------------------------------------------------------------

    def _join(self, number: str, request: Join, now: int) -> Decision:
        if number not in self.tokens:
            raise _no(
                "unknown-token",
                "this join token is not known to the mesh: ask for another (gossamer invite)",
            )
        token, revision = self.tokens[number]
        if kind_of(request.public) != "user":
            raise _no("key", f"{request.public[:60]!r} is not the public key of a user")
        self._check_role(token, request)
        before = token.taken.get(request.public)
        if before is not None:
            return self._again(before, request, now)
        if token.expires <= now:
            raise _no(
                "expired",
                f"this join token expired {now - token.expires} s ago: "
                "ask for another (gossamer invite)",
            )
        if len(token.taken) >= token.uses:
            by = next(iter(token.taken.values()))
            raise _no(
                "used-up",
                f"this join token was used already, by {by!r}"
                if token.uses == 1
                else f"this join token was for {token.uses}, and all have joined",
            )
        name = self._free_name(token, request, now)
        site = (token.site or request.site or DEFAULT_SITE) if token.role == AGENT else token.site
        user = self._user(name, request.public, token, _name(site, "site") if site else "", now)
        if token.role == LEAF:
            user = msgspec.structs.replace(user, urls=request.urls, ca=request.ca)
        taken = msgspec.structs.replace(token, taken={**token.taken, request.public: name})
        # The token first: a name that is given back is easier borne than a token used twice.
        return Decision(
            self._vouched(name, user, now),
            (
                Write(subjects.TOKENS_BUCKET, number, taken, revision),
                Write(
                    subjects.USERS_BUCKET, name, user, self.revision(subjects.USERS_BUCKET, name)
                ),
            ),
        )

    @staticmethod
    def _check_role(token: Token, request: Join) -> None:
        right = joined_by(token.role)
        if right == joined_by(request.role):
            return
        raise _no(
            "wrong-role", f"this join token is for {_a(token.role)}: use it with {right} TOKEN"
        )

    def _again(self, name: str, request: Join, now: int) -> Decision:
        """Answer who has been let in with this token and key already, and was not told."""
        user, revision = self.users.get(name, (None, 0))
        if user is not None and user.public == request.public and user.vouched is None:
            self._check_live(name, user)
            renewed = self._renewed(user, now)
            write = Write(subjects.USERS_BUCKET, name, renewed, revision)
            return Decision(self._vouched(name, renewed, now), (write,))
        raise _no(
            "name-taken",
            f"the name {name!r} has been given to another key since: "
            "ask for another token (gossamer invite)",
        )

    def _free_name(self, token: Token, request: Join, now: int) -> str:
        name = _name(token.name or request.name, "name")
        if name.startswith(subjects.OWN_NAMES):
            raise _no(
                "name",
                f"names that start with {subjects.OWN_NAMES!r}, like {name!r}, are the "
                "mesh's own: choose another with --name",
            )
        holder = self.users.get(name)
        if holder is not None and _kept(holder[0], now):
            raise _no(
                "name-taken",
                f"the name {name!r} is taken, by {_a(holder[0].role)}: choose another with "
                f"--name, or revoke that one first (gossamer revoke {name})",
            )
        if not token.name and self._is_unenrolled_agent(name):
            raise _no(
                "name-taken",
                f"the name {name!r} is that of an agent that runs with its owner's own access: "
                "choose another with --name. To enrol that agent, ask for a token of its name "
                f"(gossamer invite agent --name {name})",
            )
        return name

    def _is_unenrolled_agent(self, name: str) -> bool:
        """Say whether an agent has a name that nobody was given here.

        Who got it as well would hear what that agent is sent, or be called in its place.
        """
        return name in self._agents and name not in self.users

    def _user(self, name: str, public: str, token: Token, site: str, now: int) -> User:
        held = self.users.get(name)
        former = held[0].void if held else {}
        if public in self.revoked():
            raise _no("revoked", "this key was revoked: join with a new one")
        return User(
            public=public,
            role=token.role,
            site=site,
            groups=token.groups,
            issued=now,
            expires=now + self._lifetime_s,
            former=former,
        )

    # -- staying -----------------------------------------------------------------------------

    def _renew(self, name: str, request: Renew, now: int) -> Decision:
        if name not in self.users:
            raise _no("unknown-user", f"nobody called {name!r} was let in here")
        return self._stays(name, request.public, now)

    def _return(self, key: str, request: Return, now: int) -> Decision:
        """Let in again who was away: as `key`, which the server has made sure of."""
        name = request.name
        user = self.users[name][0] if name in self.users else None
        if user is None or key not in user.public_keys:
            raise _no(
                "unknown-user",
                f"the name {name!r} is not, or no more, that of this key: join again with a new "
                "token (gossamer invite)",
            )
        if user.vouched is None and user.lapsed(now - GRACE_S):
            raise _no(
                "expired",
                f"{name!r} was away for longer than {GRACE_S // DAY_S} days: join again with a new "
                "token (gossamer invite)",
            )
        return self._stays(name, key, now)

    def _stays(self, name: str, public: str, now: int) -> Decision:
        user, revision = self.users[name]
        self._check_live(name, user)
        if user.vouched is None:
            key, renewed = user.public, self._renewed(user, now)
        else:
            key, renewed = logins.renewed(name, user, public, self._issuers, self._lifetime_s, now)
        return Decision(
            self._vouched(name, renewed, now, key),
            (Write(subjects.USERS_BUCKET, name, renewed, revision),),
        )

    def _renewed(self, user: User, now: int) -> User:
        expires = now + self._lifetime_s if user.expires else 0
        return msgspec.structs.replace(user, issued=now, expires=expires)

    @staticmethod
    def _check_live(name: str, user: User) -> None:
        if user.revoked:
            raise _no("revoked", f"{name!r} was revoked")

    def _vouched(self, name: str, user: User, now: int, key: str = "") -> Enrolled:
        """Answer who is called `name`; `key`: which of its keys, where it has several."""
        by = user.vouched
        login = by.keys[key or user.public] if by else None
        expires = login.expires if login else user.expires
        jwt = self._authority.issuer(user.role).vouch(
            name,
            key or user.public,
            now,
            # 0 would be for ever.
            ttl_s=max(expires - now, 1) if expires else 0,
            site=user.site,
            groups=user.groups,
            by=(by.issuer, by.subject) if by else None,
        )
        account = self._authority.account_token(now, self.revoked())
        leaf = self._served(now) if user.role == LEAF else None
        return Enrolled(
            name=name,
            role=user.role,
            jwt=jwt,
            account=account,
            site=user.site,
            now=now,
            until=login.until if login else 0,
            leaf=leaf,
            visitors=self._authority.scopes["visitor"].seed,
        )

    def _served(self, now: int) -> Served:
        operator, system = self._authority.operator_token(now), self._authority.system_token(now)
        return Served(operator=operator, system=system, urls=self._leaves)

    # -- logging in --------------------------------------------------------------------------

    def _visited(self, key: str, person: Person | ListIssuers, now: int) -> Decision:
        if isinstance(person, ListIssuers):
            known = [
                Door(issuer=each.issuer, client=each.client) for each in self._issuers.values()
            ]
            return Decision(Doors(mesh=self._authority.name, issuers=tuple(known), now=now))
        if kind_of(key) != "user":
            raise _no("key", f"{key[:60]!r} is not the public key of a user")
        users = {name: user for name, (user, _) in self.users.items()}
        name, user = logins.entered(users, person, key, self._lifetime_s, now)
        if self._is_unenrolled_agent(name):
            raise _no(
                "name-taken",
                f"the name {name!r} is an agent's: have the mesh take names from another claim "
                "(gossamer mesh trust --claim), or that agent be called otherwise",
            )
        write = Write(subjects.USERS_BUCKET, name, user, self.revision(subjects.USERS_BUCKET, name))
        return Decision(self._vouched(name, user, now), (write,))

    # -- administration ----------------------------------------------------------------------

    def _administer(
        self, speaker: str, request: Invite | ListUsers | Revoke | Readmit, now: int
    ) -> Decision:
        match request:
            case Invite():
                self._check_invite(request, now)
                token, invitee = self._invite(request, now)
                return Decision(invitee, (Write(subjects.TOKENS_BUCKET, invitee.id, token, 0),))
            case ListUsers():
                found = {name: user for name, (user, _) in sorted(self.users.items())}
                return Decision(Users(users=found, now=now))
            case Revoke() if request.name == speaker:
                raise _no("name", "you would lock yourself out: another admin can revoke you")
            case Revoke():
                return self._revoke(request, now)
            case Readmit():
                return self._readmit(request, now)

    def _check_invite(self, request: Invite, now: int) -> None:
        if request.name:
            probe = Token(role=request.role, expires=0, name=request.name)
            self._free_name(probe, Join(public=""), now)
        if request.role == LEAF and not self._leaves:
            raise _no("wrong-role", "this mesh listens for no leaves: it has to be made "
                                "with gossamer mesh init --leaves HOST:PORT")  # fmt: skip
        if request.at:
            self._check_leaf(request, now)
        for group in request.groups:
            _name(group, "group")
        if request.site:
            _name(request.site, "site")
        most = 1 if request.name else MOST_USES
        if not 1 <= request.uses <= most:
            why = f", for one alone can be called {request.name!r}" if request.name else ""
            raise _no("name", f"a join token for {request.uses} uses: allowed are 1 to {most}{why}")
        if not 1 <= request.ttl_s <= MOST_TTL_S:
            raise _no(
                "expired",
                f"a join token that lasts {request.ttl_s} s: allowed are 1 s to "
                f"{MOST_TTL_S // DAY_S} days",
            )

    def _invite(self, request: Invite, now: int) -> tuple[Token, Invitee]:
        if not request.at:
            return self.invite(request, now)
        leaf = self.users[request.at][0]
        if request.role == AGENT and not request.site:
            request = msgspec.structs.replace(request, site=leaf.site or request.at)
        token, invitee = self.invite(request, now)
        return token, msgspec.structs.replace(invitee, urls=leaf.urls, ca=leaf.ca)

    def _check_leaf(self, request: Invite, now: int) -> None:
        leaf = self.users.get(request.at)
        if leaf is None or leaf[0].role != LEAF or not leaf[0].live(now):
            raise _no("unknown-user", f"no leaf {request.at!r} has joined, or it is no "
                                "more: gossamer users lists who has")  # fmt: skip
        if request.role in (LEAF, "admin"):
            raise _no("wrong-role", f"{_a(request.role)} joins at the mesh's own server, "
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

    def _found(self, name: str) -> tuple[User, int]:
        if name not in self.users:
            raise _no(
                "unknown-user",
                f"nobody called {name!r} was let in here: gossamer users lists who was",
            )
        return self.users[name]

    def _readmit(self, request: Readmit, now: int) -> Decision:
        user, revision = self._found(request.name)
        if user.live(now):
            raise _no(
                "name-taken", f"{request.name!r} is in: gossamer revoke {request.name} comes first"
            )
        write = Write(
            subjects.USERS_BUCKET, request.name, msgspec.structs.replace(user, free=True), revision
        )
        return Decision(Readmitted(name=request.name), (write,))

    def _revoke(self, request: Revoke, now: int) -> Decision:
        user, revision = self._found(request.name)
        if user.revoked and not user.free:
            return Decision(Revoked(name=request.name), revokes=True)
        # Nor is the name free any more, if it was.
        revoked = msgspec.structs.replace(user, revoked=user.revoked or now, free=False)
        write = Write(subjects.USERS_BUCKET, request.name, revoked, revision)
        return Decision(Revoked(name=request.name), (write,), revokes=True)


def refusal(reason: Reason, message: str, now: int) -> Refused:
    return Refused(reason=reason, message=message, now=now)


def refused(error: EnrolmentError, now: int) -> Refused:
    """Return what somebody is answered who is not let in for this."""
    return refusal(cast("Reason", error.fields.get("reason", "busy")), error.message, now)


def _kept(user: User, now: int) -> bool:
    """Say whether a name is kept from who has a join token: a person's is, in or out."""
    person = user.vouched is not None and not user.revoked and not user.free
    return person or user.live(now)


def _no(reason: Reason, message: str) -> EnrolmentError:
    return EnrolmentError(message, reason=reason)


def _name(name: str, what: str) -> str:
    try:
        return subjects.check_name(name, what)
    except ConfigError as error:
        raise _no("name", str(error)) from error


def _a(role: str) -> str:
    return f"an {role}" if role[:1] in "aeiou" else f"a {role}"
