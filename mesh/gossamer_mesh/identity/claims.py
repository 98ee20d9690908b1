"""What is vouched for in a signed token: operators, accounts, users. Values, as NATS spells them.

Whole seconds since 1970 (`iat`, `exp`); `exp` 0: until it is revoked.
"""

from __future__ import annotations

import base64
from typing import Final, Literal, TypeVar

import msgspec

from gossamer_mesh.errors import CredentialsError

T = TypeVar("T")

VERSION: Final = 2
"""Of NATS's claims."""

EARLIER_S: Final = 60
"""Issued a little before now, for servers whose clock is a little behind."""

NO_LIMIT: Final = -1
MOST_BYTES: Final = 64 * 1024
ROLE_TAG: Final = "role:"
SITE_TAG: Final = "site:"
GROUP_TAG: Final = "group:"
ISSUER_TAG: Final = "issuer:"
SUBJECT_TAG: Final = "subject:"


class _Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all have: who vouches (`iss`), for whom (`sub`), since and until when."""

    iss: str
    sub: str
    name: str = ""
    iat: int = 0
    exp: int = 0
    jti: str = ""


class Subjects(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which subjects; none: all."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may do whom a scoped key vouches for; `{{name()}}` stands for the user's name.

    `allowed_connection_types`: how it may come, as nats-server calls that.
    """

    pub: Subjects
    sub: Subjects
    allowed_connection_types: tuple[str, ...]
    subs: int = NO_LIMIT
    data: int = NO_LIMIT
    payload: int = NO_LIMIT


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key of an account, and all that it can vouch for."""

    key: str
    role: str
    template: Template
    kind: Literal["user_scope"] = "user_scope"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of an account. JetStream's are 0 unless given: then it has none."""

    subs: int = NO_LIMIT
    data: int = NO_LIMIT
    payload: int = NO_LIMIT
    imports: int = NO_LIMIT
    exports: int = NO_LIMIT
    wildcards: bool = True
    conn: int = NO_LIMIT
    leaf: int = NO_LIMIT
    mem_storage: int = 0
    disk_storage: int = 0
    streams: int = 0
    consumer: int = 0


class OperatorPart(msgspec.Struct, frozen=True, kw_only=True):
    """Of the operator: which account hears of the server itself."""

    system_account: str
    type: Literal["operator"] = "operator"
    version: int = VERSION


class AccountPart(msgspec.Struct, frozen=True, kw_only=True):
    """Of an account: limits, who may vouch for users, and whose tokens are void since when."""

    limits: Limits
    signing_keys: tuple[Scope, ...] = ()
    revocations: dict[str, int] = {}
    type: Literal["account"] = "account"
    version: int = VERSION


class UserPart(msgspec.Struct, frozen=True, kw_only=True):
    """`issuer_account`: whose signing key has signed, and with the key's scope what it may do.

    Without it the account itself has signed, and the limits hold (0: nothing).
    """

    issuer_account: str = ""
    tags: tuple[str, ...] = ()
    subs: int = 0
    data: int = 0
    payload: int = 0
    type: Literal["user"] = "user"
    version: int = VERSION


class Operator(_Claims, frozen=True, kw_only=True, omit_defaults=True):
    """Who is believed about accounts."""

    nats: OperatorPart


class Account(_Claims, frozen=True, kw_only=True, omit_defaults=True):
    """A mesh."""

    nats: AccountPart


class User(_Claims, frozen=True, kw_only=True, omit_defaults=True):
    """An agent or a client of a mesh; `name` is in all that it says."""

    nats: UserPart

    @property
    def role(self) -> str:
        """What the holder is told it may do; what it may do is in the scope of who has signed."""
        return next(iter(self._tagged(ROLE_TAG)), "")

    @property
    def site(self) -> str:
        return next(iter(self._tagged(SITE_TAG)), "")

    @property
    def groups(self) -> tuple[str, ...]:
        return self._tagged(GROUP_TAG)

    @property
    def issuer(self) -> str:
        """Who has vouched for the holder when it was let in; "": who had a join token."""
        return next(iter(self._tagged(ISSUER_TAG)), "")

    @property
    def subject(self) -> str:
        """Whom the holder is to that issuer."""
        return next(iter(self._tagged(SUBJECT_TAG)), "")

    def _tagged(self, prefix: str) -> tuple[str, ...]:
        return tuple([tag[len(prefix) :] for tag in self.nats.tags if tag.startswith(prefix)])


ANY: Final = "any"
"""Among the functions of a grant: whatever code who has it sends."""


class GrantPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be run where, and how much of it; 0: no limit of that kind.

    `functions`: registered ones, by whose they are, as "ada/describe@2" or "ada/describe@*", or
    digests, or "any" for whatever code. `agents`: an expression over their documents as in
    `where=`, "" for all. `per_hour` calls, `concurrent` calls, and `cpu_s` seconds of CPU
    time an hour.
    """

    functions: tuple[str, ...]
    agents: str = ""
    per_hour: int = 0
    concurrent: int = 0
    cpu_s: float = 0.0


class Grant(_Claims, frozen=True, kw_only=True, omit_defaults=True):
    """What a user, or `group:NAME`, may run; its `jti` is what it is kept and taken back by."""

    gsm: GrantPart


def peek(token: str, kind: type[T], what: str = "token") -> T:
    """Return what a token claims, whoever signed it. `CredentialsError` if it is none."""
    if len(token) > MOST_BYTES:
        raise CredentialsError(f"this {what} of {len(token)} characters is too long to be one")
    try:
        _, payload, _ = token.split(".")
        data = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise CredentialsError(
            f"not a {what} of this mesh ({error}): it is cut off, or was altered"
        ) from error
