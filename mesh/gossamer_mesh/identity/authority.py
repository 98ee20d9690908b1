"""The keys that make a mesh, and what they vouch for. Who has them can be anybody there.

The operator vouches for the account, the account for a signing key of each role, and such a key
for users of that role, whatever it is asked to sign: nats-server holds each to its scope.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import permissions
from gossamer_mesh.errors import ConfigError, CredentialsError
from gossamer_mesh.identity import token
from gossamer_mesh.identity.claims import (
    EARLIER_S,
    GROUP_TAG,
    ISSUER_TAG,
    NO_LIMIT,
    ROLE_TAG,
    SITE_TAG,
    SUBJECT_TAG,
    Account,
    AccountPart,
    Grant,
    GrantPart,
    Limits,
    Operator,
    OperatorPart,
    Scope,
    Subjects,
    Template,
    User,
    UserPart,
)
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.permissions import ROLES, Role
from gossamer_mesh.places import read_private, write_private
from gossamer_mesh.subjects import check_name

MEMORY_BYTES: Final = 256 * 1024**2
STORE_BYTES: Final = 8 * 1024**3
"""What JetStream may keep for a mesh."""

SYSTEM: Final = "SYS"


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The seeds, as they lie in a file."""

    name: str
    operator: str
    account: str
    system: str
    scopes: dict[str, str]


_decoder: Final = msgspec.json.Decoder(_Keys)


class Issuer:
    """What vouches for users of one role, in the account with this public key."""

    def __init__(self, role: Role, signer: KeyPair, account: str) -> None:
        self.role = role
        self._signer = signer
        self._account = account

    def vouch(
        self,
        name: str,
        public: str,
        now: int,
        *,
        ttl_s: int = 0,
        site: str = "",
        groups: tuple[str, ...] = (),
        by: tuple[str, str] | None = None,
    ) -> str:
        """Return the token of a user whose public key is given; `ttl_s` 0: until it is revoked.

        `by`: the issuer that has vouched for the user, and what it calls it. What its holder may do
        is in the scope of the signing key.
        """
        tags = [f"{ROLE_TAG}{self.role}"]
        tags += [f"{SITE_TAG}{site}"] if site else []
        tags += [f"{GROUP_TAG}{group}" for group in groups]
        tags += [f"{ISSUER_TAG}{by[0]}", f"{SUBJECT_TAG}{by[1]}"] if by else []
        claims = User(
            iss=self._signer.public,
            sub=public,
            name=check_name(name),
            iat=now - EARLIER_S,
            exp=now + ttl_s if ttl_s else 0,
            jti=_id(),
            nats=UserPart(issuer_account=self._account, tags=tuple(tags)),
        )
        return token.sign(claims, self._signer)


class Authority:
    """All keys of one mesh. Times are given: whole seconds since 1970, on the mesh's machine."""

    def __init__(
        self,
        name: str,
        operator: KeyPair,
        account: KeyPair,
        system: KeyPair,
        scopes: Mapping[Role, KeyPair],
    ) -> None:
        self.name = name
        self.operator = operator
        self.account = account
        self.system = system
        self.scopes = dict(scopes)

    @classmethod
    def new(cls, name: str) -> Authority:
        """Make the keys of a mesh that has none yet."""
        check_name(name, "the mesh's name")
        scopes: dict[Role, KeyPair] = {role: KeyPair.new("account") for role in ROLES}
        return cls(
            name, KeyPair.new("operator"), KeyPair.new("account"), KeyPair.new("account"), scopes
        )

    @classmethod
    def load(cls, path: Path) -> Authority:
        """Return the keys in a file that `save` wrote; `ConfigError` if others can read it.

        For roles that there were not when the mesh was made, keys are made and saved.
        """
        try:
            keys = _decoder.decode(read_private(path, "the keys of a mesh"))
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{path} does not hold the keys of a mesh ({error})", path=str(path)
            ) from error
        seed = KeyPair.from_seed
        try:
            scopes: dict[Role, KeyPair] = {
                role: seed(keys.scopes[role]) if role in keys.scopes else KeyPair.new("account")
                for role in ROLES
            }
            found = cls(
                keys.name, seed(keys.operator), seed(keys.account), seed(keys.system), scopes
            )
        except CredentialsError as error:
            raise ConfigError(
                f"{path} does not hold all keys of a mesh ({error})", path=str(path)
            ) from error
        if not set(ROLES) <= set(keys.scopes):
            found.save(path)
        return found

    def save(self, path: Path) -> None:
        scopes: dict[str, str] = {role: pair.seed for role, pair in self.scopes.items()}
        operator, account, system = self.operator.seed, self.account.seed, self.system.seed
        keys = _Keys(self.name, operator, account, system, scopes)
        write_private(path, msgspec.json.encode(keys) + b"\n")

    # -- for the server ----------------------------------------------------------------------

    def operator_token(self, now: int) -> str:
        """Return what tells nats-server whom to believe."""
        public = self.operator.public
        part = OperatorPart(system_account=self.system.public)
        claims = Operator(iss=public, sub=public, name=self.name, iat=now, jti=_id(), nats=part)
        return token.sign(claims, self.operator)

    def account_token(self, now: int, revoked: Mapping[str, int] | None = None) -> str:
        """Return what the mesh may do, and who may vouch for whom.

        `revoked`: public key of a user, or `*` for all → what was issued until then is void.
        """
        part = AccountPart(
            limits=Limits(
                mem_storage=MEMORY_BYTES,
                disk_storage=STORE_BYTES,
                streams=NO_LIMIT,
                consumer=NO_LIMIT,
            ),
            signing_keys=tuple(
                [
                    Scope(key=pair.public, role=role, template=_template(role))
                    for role, pair in self.scopes.items()
                ]
            ),
            revocations=dict(revoked or {}),
        )
        return token.sign(self._account(self.account.public, self.name, now, part), self.operator)

    def system_token(self, now: int) -> str:
        part = AccountPart(limits=Limits())
        return token.sign(self._account(self.system.public, SYSTEM, now, part), self.operator)

    def _account(self, public: str, name: str, now: int, part: AccountPart) -> Account:
        return Account(
            iss=self.operator.public, sub=public, name=name, iat=now, jti=_id(), nats=part
        )

    # -- for users ---------------------------------------------------------------------------

    def issuer(self, role: Role) -> Issuer:
        """Return what vouches for users of a role."""
        return Issuer(role, self.scopes[role], self.account.public)

    def grant(self, to: str, part: GrantPart, now: int, ttl_s: int) -> tuple[str, str]:
        """Return the number of a grant to a user, or to `group:NAME`, and the grant.

        `ttl_s` 0: until it is taken back.
        """
        signer = self.scopes["grants"]
        exp = now + ttl_s if ttl_s else 0
        number = _id()
        claims = Grant(iss=signer.public, sub=to, iat=now, exp=exp, jti=number, gsm=part)
        return number, token.sign(claims, signer)

    def vouch_for_system(self, name: str, public: str, now: int, ttl_s: int) -> str:
        """Return the token of a user who may tell the server of changed accounts."""
        claims = User(
            iss=self.system.public,
            sub=public,
            name=name,
            iat=now - EARLIER_S,
            exp=now + ttl_s,
            jti=_id(),
            nats=UserPart(subs=NO_LIMIT, data=NO_LIMIT, payload=NO_LIMIT),
        )
        return token.sign(claims, self.system)


def _template(role: Role) -> Template:
    says, hears, never = permissions.of(role)
    template = Template(
        pub=_only(says, never),
        sub=_only(hears, never),
        allowed_connection_types=permissions.ways(role),
    )
    if role not in permissions.PUBLIC:
        return template
    return msgspec.structs.replace(
        template, subs=permissions.VISITOR_SUBSCRIPTIONS, payload=permissions.VISITOR_BYTES
    )


def _only(allowed: tuple[str, ...], denied: tuple[str, ...] = ()) -> Subjects:
    # To the server an empty list is no list, and all is allowed.
    return Subjects(allow=allowed, deny=denied if allowed else (">",))


def _id() -> str:
    return secrets.token_hex(16)
