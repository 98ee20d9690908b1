"""What is asked of the registrar, what it answers, and what it keeps. Values only.

Times are whole seconds since 1970. `now` and `sent` say what time it is for who speaks: they tell
of clocks that differ, and decide nothing.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from gossamer_mesh.identity.claims import GrantPart
from gossamer_mesh.wire import decoded

Invited: TypeAlias = Literal["agent", "client", "gateway", "admin", "leaf"]
"""What somebody can be invited as."""

_JOINED_BY: Final = {"agent": "gossamer agent join", "leaf": "gossamer mesh join"}


def joined_by(role: str) -> str:
    """Return the command that takes a join token for this role."""
    return _JOINED_BY.get(role, "gossamer join")


def with_article(role: str) -> str:
    return f"an {role}" if role[:1] in "aeiou" else f"a {role}"


Reason = Literal[
    "unknown-token", "expired", "used-up", "wrong-role", "name", "name-taken", "revoked",
    "unknown-user", "key", "unreadable", "busy", "grant", "no-issuer", "issuer", "issuer-down",
    "audience", "id-token", "unknown-key", "clock", "claim", "replayed", "login-over",
]  # fmt: skip


class Join(msgspec.Struct, frozen=True, kw_only=True, tag="join"):
    """Let this public key in. `name`, `site`: if they are free.

    `role`: "agent", "leaf", or "" for any other. `urls`, `ca`: of a leaf, how others reach it.
    """

    public: str
    role: str = ""
    name: str = ""
    site: str = ""
    sent: int = 0
    urls: tuple[str, ...] = ()
    ca: str = ""


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag="renew"):
    """Vouch for me again, for the key you know. `public`: which, of who has logged in."""

    public: str = ""
    sent: int = 0


class Return(msgspec.Struct, frozen=True, kw_only=True, tag="return"):
    """I was away for long: vouch again for my key, which the server has seen me have."""

    name: str
    sent: int = 0


class ListIssuers(msgspec.Struct, frozen=True, kw_only=True, tag="issuers"):
    """Say whom you believe about people."""


class Login(msgspec.Struct, frozen=True, kw_only=True, tag="login"):
    """Let my key in, which the server has seen me have: an issuer's ID token says who I am."""

    token: str
    sent: int = 0


class Invite(msgspec.Struct, frozen=True, kw_only=True, tag="invite"):
    """Make a join token. Without a `name` the joiner chooses; `uses`: how many may join.

    `at`: the leaf by which they join and are on the mesh; empty: the mesh's own server.
    """

    role: Invited
    name: str = ""
    site: str = ""
    groups: tuple[str, ...] = ()
    ttl_s: int = 3600
    uses: int = 1
    at: str = ""


class ListUsers(msgspec.Struct, frozen=True, kw_only=True, tag="users"):
    """Say who was let in."""


class Revoke(msgspec.Struct, frozen=True, kw_only=True, tag="revoke"):
    """Throw this user out, and never vouch for that key again."""

    name: str


class Readmit(msgspec.Struct, frozen=True, kw_only=True, tag="readmit"):
    """Let who is called so log in, or have that name, though it was revoked or is another's."""

    name: str


class Give(msgspec.Struct, frozen=True, kw_only=True, tag="give"):
    """Let a user, or `group:NAME`, run that, for so long."""

    to: str
    part: GrantPart
    ttl_s: int


class TakeBack(msgspec.Struct, frozen=True, kw_only=True, tag="take-back"):
    """End this grant, on all agents that can be reached."""

    id: str


Request = (
    Join
    | Renew
    | Return
    | ListIssuers
    | Login
    | Invite
    | ListUsers
    | Revoke
    | Readmit
    | Give
    | TakeBack
)


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key that has logged in: renewed until `until`, vouched for until `expires`.

    `token`: the digest of what it has logged in with, which no other key may until `taken_until`.
    """

    until: int
    expires: int
    token: str
    taken_until: int


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """Who has vouched for a user: an issuer, that calls it `subject`. `keys`: one for each login.

    The name stays theirs, whether they are logged in or not.
    """

    issuer: str
    subject: str
    keys: dict[str, Key] = {}


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who was let in. `expires` 0: until revoked; `revoked` 0: is not.

    `former`: keys that had the name before and were revoked, with when: a name can be given again,
    a key cannot. `free`: an administrator has said so, and whoever logs in under it may have it.
    `urls`, `ca`: of a leaf.
    """

    public: str
    role: Invited
    site: str = ""
    groups: tuple[str, ...] = ()
    issued: int = 0
    expires: int = 0
    revoked: int = 0
    former: dict[str, int] = {}
    vouched: Vouched | None = None
    free: bool = False
    urls: tuple[str, ...] = ()
    ca: str = ""

    @property
    def public_keys(self) -> tuple[str, ...]:
        """Whose name it is."""
        return (self.public,) if self.vouched is None else tuple(self.vouched.keys)

    @property
    def void(self) -> dict[str, int]:
        """Which keys are revoked, with since when."""
        if not self.revoked:
            return self.former
        keys = (self.public, *(self.vouched.keys if self.vouched else ()))
        return {**dict.fromkeys(keys, self.revoked), **self.former}

    def live(self, now: int) -> bool:
        return not self.revoked and not self.lapsed(now)

    def lapsed(self, now: int) -> bool:
        return bool(self.expires) and self.expires <= now


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A join token, as the registrar keeps it. `taken`: public keys let in by it, and their names.

    Who asks again with the same key gets the same answer: the first may have been lost.
    """

    role: Invited
    expires: int
    uses: int = 1
    name: str = ""
    site: str = ""
    groups: tuple[str, ...] = ()
    taken: dict[str, str] = {}


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a site's server believes, and the addresses by which it reaches the mesh's."""

    operator: str
    system: str
    urls: tuple[str, ...]


class Enrolled(msgspec.Struct, frozen=True, kw_only=True, tag="enrolled"):
    """You are let in as that: `jwt` says so to the server. `account`: what it is checked by.

    `until`: when who has logged in must do so again; 0: never.
    `leaf`: what a leaf has to know besides. `visitors`: the seed of what vouches for visitors,
    which is no secret: as one of them you can come back when `jwt` has expired.
    """

    name: str
    role: str
    jwt: str
    account: str
    now: int
    site: str = ""
    until: int = 0
    leaf: Served | None = None
    visitors: str = ""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer that is believed, and as what it is to be asked."""

    issuer: str
    client: str


class Doors(msgspec.Struct, frozen=True, kw_only=True, tag="doors"):
    """Whom the mesh called `mesh` believes about people."""

    mesh: str
    issuers: tuple[Door, ...]
    now: int


class Invitee(msgspec.Struct, frozen=True, kw_only=True, tag="invited"):
    """A join token's number and what it is made of besides where the mesh is.

    `urls`, `ca`: where that is, if not where it was asked for.
    """

    id: str
    jwt: str
    seed: str
    role: str
    expires: int
    urls: tuple[str, ...] = ()
    ca: str = ""


class Users(msgspec.Struct, frozen=True, kw_only=True, tag="users"):
    """By name."""

    users: dict[str, User]
    now: int


class Revoked(msgspec.Struct, frozen=True, kw_only=True, tag="revoked"):
    """They are out."""

    name: str


class Readmitted(msgspec.Struct, frozen=True, kw_only=True, tag="readmitted"):
    """The name is free: for who logs in, if `logs_in`, else for who has a new token as `role`."""

    name: str
    role: str = ""
    logs_in: bool = True


class Given(msgspec.Struct, frozen=True, kw_only=True, tag="given"):
    """The grant, as it lies in its bucket under `id`."""

    id: str
    jwt: str


class TakenBack(msgspec.Struct, frozen=True, kw_only=True, tag="taken-back"):
    """It is there no more."""

    id: str


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """No, and why, for people; `now` is the registrar's."""

    reason: Reason
    message: str
    now: int


Answer = Enrolled | Doors | Invitee | Users | Revoked | Readmitted | Given | TakenBack | Refused

_request: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_answer: Final[msgspec.msgpack.Decoder[Answer]] = msgspec.msgpack.Decoder(Answer)
_user: Final = msgspec.msgpack.Decoder(User)
_token: Final = msgspec.msgpack.Decoder(Token)
encode: Final = msgspec.msgpack.Encoder().encode


def decode_request(data: bytes) -> Request:
    """Return a request; `ProtocolError` if it is none."""
    return decoded(_request, data, "request to the registrar")


def decode_answer(data: bytes) -> Answer:
    return decoded(_answer, data, "answer of the registrar")


def decode_user(data: bytes) -> User:
    return decoded(_user, data, "user of the mesh")


def decode_token(data: bytes) -> Token:
    return decoded(_token, data, "join token of the mesh")
