"""Coming back for who was away for longer than its credentials last: by its key, as a visitor.

The server makes sure of the key, the registrar knows whose it is, and whether it was revoked.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from gossamer_mesh.access import Standing
from gossamer_mesh.errors import ConnectError, EnrolmentError, NotAdmittedError

_log = logging.getLogger("gossamer.enrolment")


def allow(standing: Standing) -> None:
    """Have the links that share `standing` come back by themselves, if they can at all."""
    if standing.access.visitors:
        standing.back = functools.partial(_come_back, standing)


def _come_back(standing: Standing) -> None:
    """Have what has lapsed vouched for again. Blocks for some seconds at most.

    `NotAdmittedError` if that is over; `ConnectError` if it may be another time.
    """
    # Who never was away needs nothing of this.
    from gossamer_mesh.enrolment import door  # noqa: PLC0415  see above

    lapsed = standing.access
    no = f"{lapsed.url} does not let {lapsed.name!r} come back"
    try:
        access = door.back(lapsed)
    except NotAdmittedError as error:
        # By the server, to which it is one visitor like any other.
        raise NotAdmittedError(
            f"{no}: its key was revoked, or the mesh was made anew", url=lapsed.url
        ) from error
    except EnrolmentError as error:
        told = f"{no}: {error}"
        if error.fields.get("reason") == "busy":
            raise ConnectError(told, url=lapsed.url, why=str(error)) from error
        raise NotAdmittedError(told, url=lapsed.url, certain=True) from error
    standing.access = access
    _log.info("%s is back: its credentials had lapsed, and are vouched for anew", access.name)
    if access.file:
        try:
            access.save(Path(access.file))
        except OSError as error:
            _log.warning("renewed credentials could not be kept: %s", error)
