"""Who speaks: users' tokens, checked offline against the account that vouches for them. Pure.

Which signing key has signed says what role a user has, whatever its token claims.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gossamer_mesh.errors import CredentialsError
from gossamer_mesh.identity import token
from gossamer_mesh.identity.claims import Account, Grant, User, peek
from gossamer_mesh.permissions import PUBLIC

ANYBODY: Final = "*"
"""Under this key an account revokes all that was issued until then."""


class Speaker(msgspec.Struct, frozen=True):
    """A user of the mesh. `expires` 0: until it is revoked. `key`: its public key."""

    name: str
    role: str
    groups: tuple[str, ...] = ()
    key: str = ""
    issued: int = 0
    expires: int = 0


class Witness:
    """Knows one account, as of its newest token."""

    def __init__(self, account: str) -> None:
        """`account`: the account's token, from who gave us our own; `CredentialsError`."""
        claims = peek(account, Account, "account's token")
        self._operator = claims.iss
        self._account = self._checked(account)
        self._roles = self._read_roles()

    @property
    def account(self) -> str:
        """Whose users are known: the account's public key."""
        return self._account.sub

    def renewed(self, account: str) -> bool:
        """Take a newer token of the same account in; return whether it is one.

        `CredentialsError` if it is none of this account, or another operator's.
        """
        claims = self._checked(account)
        if claims.sub != self._account.sub:
            raise CredentialsError(
                f"this account's token is that of {claims.sub}, not of {self._account.sub}"
            )
        if claims.iat < self._account.iat or claims == self._account:
            return False
        self._account = claims
        self._roles = self._read_roles()
        return True

    def grant(self, jwt: str) -> Grant:
        """Return what a grant grants; `CredentialsError` if nobody signed it who may.

        Whether it has expired is not looked at.
        """
        signers = {key for key, role in self._roles.items() if role == "grants"}
        return token.read(jwt, Grant, signers, "grant")

    def recognise(self, jwt: str, name: str, now: float) -> Speaker:
        """Return whose token this is; `name` is what the server calls its bearer.

        `CredentialsError` if nobody of this account vouches for it, if it is another's, has
        expired at `now` (seconds since 1970), or was revoked.
        """
        claims = token.read(jwt, User, self._roles, "user's token")
        account = claims.nats.issuer_account or claims.iss
        if account != self._account.sub or claims.name != name:
            raise CredentialsError(
                f"this token is that of {claims.name!r}, and {name!r} has sent it", value=name
            )
        if claims.exp and claims.exp <= now:
            raise CredentialsError(
                f"the token of {name!r} has expired, {now - claims.exp:.0f} s ago by the clock "
                "here: renew it (gossamer renew)",
                value=name,
            )
        role = self._roles[claims.iss]
        speaker = Speaker(name, role, claims.groups, claims.sub, claims.iat, claims.exp)
        if self.is_revoked(speaker):
            raise CredentialsError(f"{name!r} was revoked: ask for a new token", value=name)
        return speaker

    def is_revoked(self, speaker: Speaker) -> bool:
        """Say whether the account has taken back what it had said of this user."""
        revoked = self._account.nats.revocations
        until = max(revoked.get(speaker.key, -1), revoked.get(ANYBODY, -1))
        return speaker.issued <= until

    def _checked(self, account: str) -> Account:
        return token.read(account, Account, {self._operator}, "account's token")

    def _read_roles(self) -> dict[str, str]:
        # Who has the account's own key can be anybody there. Of some roles anybody has the key.
        signers = self._account.nats.signing_keys
        scopes = {each.key: each.role for each in signers if each.role not in PUBLIC}
        return {**scopes, self._account.sub: "admin"}
