"""Which hosts are this very machine, whatever networks it has."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Say whether nobody but this machine is reached at `host`, a name or an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
