"""Where a server of a mesh listens, and by which addresses others reach it."""

from __future__ import annotations

import os
import socket
from typing import Final, NamedTuple

from gossamer_mesh import access as access_file
from gossamer_mesh.errors import ConfigError

DEFAULT_PORT: Final = 4222
WEB_PORT: Final = 443
LEAVES_PORT: Final = 7422
ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104  recognised here, never chosen


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


def address(listen: str, option: str = "--listen", default: int = DEFAULT_PORT) -> Address:
    """Return host and port of "HOST:PORT", "HOST" or ":PORT"; `ConfigError` if it is none."""
    host, colon, port = listen.rpartition(":")
    if not colon or listen.endswith("]"):
        host, port = listen, str(default)
    host = host.strip("[]") or ANY_ADDRESS[0]
    if not port.isdecimal() or not 0 < int(port) < 2**16 or any(each in host for each in " /@\\"):
        raise ConfigError(
            f"{option} {listen!r} is no address: give HOST:PORT, like 0.0.0.0:{default} or "
            f"127.0.0.1:{default}, with a port from 1 to 65535",
            value=listen,
        )
    return Address(host, int(port))


def check_free(where: Address, option: str = "--listen") -> None:
    """Make sure that this can be listened at, now; `ConfigError` names what cannot."""
    shown = f"{option} {bracketed(where.host)}:{where.port}"
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"{shown} cannot be listened at: {where.host!r} does not resolve ({error}): give an "
            "address of this machine, or 0.0.0.0 for all",
            value=where.host,
        ) from error
    family, kind, protocol, _, bound = found[0]
    try:
        with socket.socket(family, kind, protocol) as probe:
            # What is left of connections of a server before does not keep ours from listening.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(bound)
    except PermissionError:
        # Whoever serves it may be allowed a low port that we are not.
        return
    except OSError as error:
        raise ConfigError(
            f"{shown} cannot be listened at ({error.strerror}): choose another address or port, "
            "or end what listens there",
            value=where.host,
        ) from error


def proxied(proxy: str, web: Address | None) -> str:
    """Return the address of who encrypts `web`, checked; `ConfigError` if it is none."""
    if not proxy:
        return ""
    found = access_file.address(proxy)
    if web is None or not found.startswith("wss://"):
        raise ConfigError(
            f"--websocket-plain {proxy!r} goes with --websocket, and is the address of the proxy "
            "that encrypts it, like wss://mesh.example.org",
            value=proxy,
        )
    return found


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def reached_by(host: str) -> tuple[str, ...]:
    return (os.uname().nodename,) if host in ANY_ADDRESS else (host,)
