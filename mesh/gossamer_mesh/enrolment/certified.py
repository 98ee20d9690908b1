"""The certificates of a server that is run from a directory: made there, and anew in good time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gossamer_mesh.enrolment.addresses import ANY_ADDRESS
from gossamer_mesh.enrolment.invitation import shown
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity import certificates
from gossamer_mesh.identity.certificates import Certificate
from gossamer_mesh.places import read_private, write_private

RENEW_S: Final = 30 * 86_400


class Files(NamedTuple):
    """A certificate and its key, as a server is told of them."""

    certificate: str
    key: str


def vouch(folder: Path, name: str, now: float) -> None:
    """Make what vouches for the servers of this directory."""
    made = certificates.vouching(name, now)
    write_private(folder / "ca.pem", made.certificate)
    write_private(folder / "ca.key", made.key)


def files(folder: Path, whose: str, hosts: Sequence[str], now: float) -> Files:
    """Return a certificate that is valid for another month; `ConfigError` if none can be made."""
    certificate, key = folder / "server.pem", folder / "server.key"
    if not certificate.exists() or (
        certificates.valid_until(certificate.read_bytes()) < now + RENEW_S
    ):
        made = certificates.of_server(_signer(folder, whose, now), hosts, now)
        write_private(key, made.key)
        write_private(certificate, made.certificate)
    return Files(str(certificate), str(key))


def check(certificate: str, key: str, now: float) -> None:
    """Raise `ConfigError` unless a server can show this certificate by that key now."""
    try:
        until = certificates.matched(Path(certificate).read_bytes(), Path(key).read_bytes())
    except (OSError, ConfigError) as error:
        raise ConfigError(
            f"the server cannot show the certificate {certificate} with the key {key}: {error}",
            path=certificate,
        ) from error
    if until <= now:
        raise ConfigError(
            f"the server's certificate {certificate} expired at {shown(until)}: put a new one in "
            f"its place, and its key at {key}",
            path=certificate,
        )


def names(hosts: Sequence[str], listened: Sequence[str]) -> list[str]:
    """Return for which names and addresses a server needs its certificate."""
    own = [host for host in listened if host not in ANY_ADDRESS]
    local = (os.uname().nodename, "localhost", "127.0.0.1", "::1")
    return list(dict.fromkeys([*hosts, *own, *local]))


def _signer(folder: Path, whose: str, now: float) -> Certificate:
    path = folder / "ca.pem"
    signer = Certificate(path.read_bytes(), read_private(folder / "ca.key", "the CA's key"))
    if certificates.valid_until(signer.certificate) <= now:
        raise ConfigError(
            f"the certificate that vouches for {whose} has expired ({path}): "
            "make the mesh anew (gossamer mesh init) and invite everybody again",
            path=str(path),
        )
    return signer
