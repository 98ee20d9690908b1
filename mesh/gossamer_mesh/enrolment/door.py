"""The address at which people log in to a mesh, and asking there. The address is no secret.

It holds the signing key of visitors, so that each makes credentials for a key of its own: the
server lets it ask as that key alone, and hear what that key alone is answered.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import word
from gossamer_mesh.enrolment.asking import PATIENCE_S, Asker, skewed
from gossamer_mesh.enrolment.messages import (
    Answer,
    Doors,
    Enrolled,
    ListIssuers,
    Login,
    Request,
    Return,
)
from gossamer_mesh.enrolment.renewal import renewed
from gossamer_mesh.errors import CredentialsError, EnrolmentError
from gossamer_mesh.identity.authority import Issuer
from gossamer_mesh.identity.claims import Account, peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink

BACK_S: Final = 10.0
"""Who comes back tries again and again, and need not wait for long."""

T = TypeVar("T", bound=Answer)


class LoginAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the mesh called `mesh` is, its public key, and the `seed` of what vouches for visitors.

    The rest is as in an `Access`.
    """

    mesh: str
    url: str
    account: str
    seed: str
    ca: str = ""
    more: tuple[str, ...] = ()
    proxied: bool = False

    def access(self, key: KeyPair) -> Access:
        """Return what shows a visitor's key to the server; it does not expire."""
        visitors = Issuer("visitor", KeyPair.from_seed(self.seed), self.account)
        # Its own clock may be wrong, and that is for the registrar to say.
        jwt = visitors.vouch(key.public, key.public, int(time.time()))
        reached = Access(self.url, ca=self.ca, more=self.more, proxied=self.proxied)
        return msgspec.structs.replace(reached, jwt=jwt, seed=key.seed)


_decoder: Final = msgspec.msgpack.Decoder(LoginAddress)


def written(address: LoginAddress) -> str:
    """Return the address as one word that can be copied."""
    return word.written(word.LOGIN, msgspec.msgpack.encode(address))


def read(text: str) -> LoginAddress:
    """Return what an address says; `EnrolmentError` if it is none, or altered."""
    said = text.strip()
    if said.startswith(word.JOIN):
        raise EnrolmentError(
            "this is a join token, not a mesh's address: use it with gossamer join TOKEN"
        )
    if not said.startswith(word.LOGIN):
        raise EnrolmentError(
            f"this is no address to log in at: one starts with {word.LOGIN} and is shown by "
            "gossamer mesh address NAME where the mesh is served"
        )
    try:
        found = _decoder.decode(word.read(word.LOGIN, said))
        KeyPair.from_seed(found.seed)
    except (ValueError, RecursionError, CredentialsError) as error:
        raise EnrolmentError(
            f"this address of {len(said)} characters was cut off or altered: copy it again, whole "
            "(gossamer mesh address NAME shows it where the mesh is served)"
        ) from error
    return found


def doors(address: LoginAddress) -> Doors:
    """Return whom the mesh believes about people; errors as `Asker.ask`. Blocks."""
    return _ask(address, KeyPair.new("user"), ListIssuers(), Doors)[0]


def login(
    address: LoginAddress,
    key: KeyPair,
    token: str,
    warn: Callable[[str], object] = lambda _: None,
) -> tuple[Access, Enrolled]:
    """Log in with an ID token: return who we are now, by `key`. Blocks.

    `warn` is told of clocks that differ. `EnrolmentError` says why not, with a `reason`;
    `ConnectError` that nobody was reached.
    """
    request = Login(token=token, sent=int(time.time()))
    answer, access = _ask(address, key, request, Enrolled)
    if told := skewed(answer.now, time.time()):
        warn(told)
    return renewed(access, answer), answer


def back(access: Access) -> Access:
    """Return `access`, whose token has expired, as it is vouched for anew. Blocks for some seconds.

    `EnrolmentError` says why not, with a `reason`; `ConnectError` that nobody was reached.
    """
    address = LoginAddress(
        mesh="",
        url=access.url,
        account=peek(access.account, Account).sub,
        seed=access.visitors,
        ca=access.ca,
        more=access.more,
        proxied=access.proxied,
    )
    request = Return(name=access.name, sent=int(time.time()))
    answer, reached = _ask(
        address, KeyPair.from_seed(access.seed), request, Enrolled, within_s=BACK_S
    )
    return renewed(access.first(reached.url), answer)


def _ask(
    address: LoginAddress,
    key: KeyPair,
    request: Request,
    kind: type[T],
    within_s: float = PATIENCE_S,
) -> tuple[T, Access]:
    """Return the answer, and how the mesh was reached."""
    access = address.access(key)
    party = subjects.session(key.public, secrets.token_hex(4))
    link = NatsLink.connect(access, name=party)
    try:
        # What works now is what will be tried first from now on.
        reached = access.first(link.url)
        return Asker(link, party).ask(
            subjects.enrol_login(key.public), request, kind, within_s
        ), reached
    finally:
        link.close()
