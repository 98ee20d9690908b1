"""Where a server of a mesh listens, and by which addresses others reach it."""

from __future__ import annotations

import ipaddress
import os
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


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reached_by(host: str) -> tuple[str, ...]:
    return (os.uname().nodename,) if host in ANY_ADDRESS else (host,)
