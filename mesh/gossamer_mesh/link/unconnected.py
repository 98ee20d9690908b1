"""Why a server is not reached, or does not take us, in words that say what to do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gossamer_mesh.errors import ConnectError, CredentialsError, NotAdmittedError

_ADVICE: Final = ": is the server running, the address right? "
_LOCAL: Final = "local"
"""What the mesh that `gossamer up` starts calls itself."""

if TYPE_CHECKING:
    from gossamer_mesh.access import Access


def reason(
    access: Access, url: str, errors: Sequence[Exception], *, revoked: bool = False
) -> ConnectError:
    """Return what went wrong: a refusal may be followed, or preceded, by the closed connection.

    `revoked`: the server has said, when it ended the connection before, that we are.
    """
    said = [str(error).lower() for error in errors]
    if any(map(_is_refusal, said)):
        return _refused(access, url, revoked=revoked)
    unproven = next((each for each in errors if "CERTIFICATE" in str(each)), None)
    if unproven is not None:
        return CredentialsError(
            f"{url} does not show that it is this mesh's server ({unproven}): if its certificate "
            "has expired, whoever serves the mesh renews it (gossamer mesh serve); if the name is "
            "another, use one that it was made for; else it is somebody else's server",
            url=url,
        )
    why = str(errors[-1]) or type(errors[-1]).__name__
    return ConnectError(f"no connection to {url} ({why}){_advice(access)}", url=url, why=why)


def _is_refusal(said: str) -> bool:
    """Say whether a server's word is that it knows us and does not take us."""
    # That it has not heard who we are in time says nothing of us: the way is slow, or it is busy.
    return ("authorization" in said or "authentication" in said) and "timeout" not in said


def _advice(access: Access) -> str:
    """Return who starts the server: a mesh of one's own is served by its name."""
    if not access.jwt:
        return f"{_ADVICE}`gossamer up` starts a local mesh"
    from gossamer_mesh.identity.claims import Account, peek  # noqa: PLC0415  only when unreached

    try:
        name = peek(access.account, Account).name
    except CredentialsError:
        name = "NAME"
    if name == _LOCAL:
        return f"{_ADVICE}`gossamer up` starts a local mesh"
    return f"{_ADVICE}`gossamer mesh serve {name}` starts it, where it is served"


def all_of(access: Access, errors: Sequence[ConnectError]) -> ConnectError:
    """Return why none of several addresses was the one: who is known by one is by all."""
    refused = [each for each in errors if isinstance(each, NotAdmittedError)]
    unproven = [each for each in errors if isinstance(each, CredentialsError)]
    told = (*refused, *unproven, *errors)[0]
    if len(errors) == 1 or isinstance(told, CredentialsError):
        return told
    tried = ", nor to ".join(f"{each.fields['url']} ({each.fields['why']})" for each in errors)
    return ConnectError(f"no connection to {tried}{_advice(access)}", url=told.fields["url"])


def _refused(access: Access, url: str, *, revoked: bool) -> NotAdmittedError:
    from gossamer_mesh.identity.claims import User, peek  # noqa: PLC0415  only when refused

    now = time.time()
    if access.jwt:
        claims = peek(access.jwt, User)
        again = (
            "log in again (gossamer login)"
            if claims.issuer
            else "join again with a new token (an admin makes it: gossamer invite)"
        )
        if revoked:
            return NotAdmittedError(
                f"{url} refused {claims.role} {claims.name!r}: an admin has revoked these "
                f"credentials: {again}",
                url=url,
                certain=True,
            )
        if 0 < claims.exp <= now:
            return NotAdmittedError(
                f"{url} refused the credentials of {claims.role} {claims.name!r}: they expired "
                f"{now - claims.exp:.0f} s ago by this machine's clock: {again}, or set the clock",
                url=url,
                certain=True,
            )
        if claims.role == "visitor":
            return NotAdmittedError(
                f"{url} does not know this address to log in at: it may be of a mesh that was made "
                "anew: ask for its address (gossamer mesh address NAME shows it)",
                url=url,
            )
        if claims.role == "joiner":
            at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
            return NotAdmittedError(
                f"{url} refused the join token: it may have expired by the mesh's clock (this "
                f"machine's says {at}), or be of a mesh that was made anew: ask for another "
                "(gossamer invite)",
                url=url,
            )
        if claims.exp:
            return NotAdmittedError(
                f"{url} refused {claims.role} {claims.name!r}: an admin may have revoked these "
                f"credentials, or the mesh was made anew: {again}",
                url=url,
            )
    return NotAdmittedError(
        f"{url} refused the credentials: use the access file of this mesh (`gossamer status` names "
        "the local one); if they were revoked, join again with a new token",
        url=url,
    )
