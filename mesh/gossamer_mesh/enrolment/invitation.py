"""A join token as people hand it on: where the mesh is, whom to believe, and what lets one ask.

It is a secret until it is used up or expires: whoever has it can join.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import word
from gossamer_mesh.enrolment.messages import Invitee, joined_by, with_article
from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.identity.claims import User, peek

PREFIX: Final = word.JOIN


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """What a token holds. `url`: of the mesh called `mesh`; `ca`: whose certificate it has.

    `more`, `proxied`: as in an `Access`. `jwt` and `seed` are of a user who may ask to be let in,
    and nothing else. Its name is the token's number. `expires`: whole seconds since 1970, as the
    mesh's clock has it.
    """

    mesh: str
    url: str
    jwt: str
    seed: str
    role: str
    expires: int
    ca: str = ""
    more: tuple[str, ...] = ()
    proxied: bool = False

    @property
    def id(self) -> str:
        return peek(self.jwt, User, "join token").name

    @property
    def access(self) -> Access:
        """How to reach the registrar."""
        return Access(
            self.url,
            jwt=self.jwt,
            seed=self.seed,
            ca=self.ca,
            more=self.more,
            proxied=self.proxied,
        )

    def __repr__(self) -> str:
        return f"Invitation(mesh={self.mesh!r}, role={self.role!r}, …)"


_decoder: Final = msgspec.msgpack.Decoder(Invitation)


def addresses(reached: Access) -> tuple[str, tuple[str, ...]]:
    """Return the address by which others reach a mesh, and what they are to try after it.

    Websockets are the last to be tried, whatever works for who invites. What is not encrypted only
    this machine reaches: it is left out where there is another address.
    """
    urls = sorted(reached.urls, key=lambda url: url.startswith("ws"))
    urls = [url for url in urls if url.startswith(("tls:", "wss:"))] or urls
    return urls[0], tuple(urls[1:])


def to(mesh: str, reached: Access, invitee: Invitee) -> Invitation:
    """Return what lets somebody join `mesh`, by the addresses by which others reach it."""
    url, more = addresses(reached)
    return Invitation(
        mesh=mesh,
        url=url,
        more=more,
        proxied=reached.proxied,
        ca=reached.ca,
        jwt=invitee.jwt,
        seed=invitee.seed,
        role=invitee.role,
        expires=invitee.expires,
    )


def written(invitation: Invitation) -> str:
    """Return the token: one word that can be copied."""
    return word.written(PREFIX, msgspec.msgpack.encode(invitation))


def read(text: str) -> Invitation:
    """Return what a token says; `EnrolmentError`, not repeating it, if it is none or altered."""
    token = text.strip()
    if token.startswith(word.LOGIN):
        raise EnrolmentError(
            "this is no join token, but a mesh's address for people who log in: use it with "
            "gossamer login ADDRESS"
        )
    if not token.startswith(PREFIX):
        raise EnrolmentError(
            f"this is no join token: one starts with {PREFIX} and is made by gossamer invite"
        )
    try:
        return _decoder.decode(word.read(PREFIX, token))
    except (ValueError, RecursionError) as error:
        raise EnrolmentError(
            f"this join token of {len(token)} characters was cut off or altered: copy it again, "
            "whole, or ask for another (gossamer invite)"
        ) from error


def check_role(invitation: Invitation, role: str) -> None:
    """Raise `EnrolmentError` where the command that joins as `role` does not take this token."""
    right = joined_by(invitation.role)
    if right != joined_by(role):
        raise EnrolmentError(
            f"this join token is for {with_article(invitation.role)}: use it with {right} TOKEN, "
            f"or ask for one for {with_article(role)} (gossamer invite {role})"
        )


def check_time(invitation: Invitation, now: float) -> None:
    """Raise `EnrolmentError` where it has expired by our clock: the server would not say why."""
    if now >= invitation.expires:
        raise EnrolmentError(
            f"this join token expired at {shown(invitation.expires)}, and this machine's clock "
            f"says {shown(now)}: ask for another (gossamer invite), or set the clock",
            expires=invitation.expires,
            now=now,
        )


def shown(at: float) -> str:
    """Return a time as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
