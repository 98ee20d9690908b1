"""A mesh of one's own: its keys, its owner, what its server is told, and its first buckets.

Kept beside the server's data: `keys.json` and `access.json`, the owner's.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import access as access_file
from gossamer_mesh import server_config, subjects
from gossamer_mesh.access import Access
from gossamer_mesh.identity.authority import MEMORY_BYTES, STORE_BYTES, Authority
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.server_program import HOST, Listening

OWNER: Final = "owner"
"""Who starts a local server, as the mesh calls them."""

FOUND_S: Final = 60


def authority(path: Path) -> Authority:
    """Return the keys of a mesh, made when there are none."""
    if path.exists():
        return Authority.load(path)
    made = Authority.new("local")
    made.save(path)
    return made


def owner(path: Path, authority: Authority) -> Access:
    """Return the access of who owns the mesh: any agent may be started with it, too."""
    now = int(time.time())
    account = authority.account_token(now)
    if path.exists():
        known = access_file.load(path)
        return known if known.account else msgspec.structs.replace(known, account=account)
    pair = KeyPair.new("user")
    jwt = authority.issuer("admin").vouch(OWNER, pair.public, now)
    issuer = authority.scopes["agent"].seed
    return Access("", jwt=jwt, seed=pair.seed, issuer=issuer, account=account)


def buckets(access: Access, authority: Authority) -> None:
    """Make the buckets of the mesh, which nobody else may; what is there stays as it is."""
    pair, now = KeyPair.new("user"), int(time.time())
    jwt = authority.issuer("founder").vouch(subjects.FOUNDER, pair.public, now, ttl_s=FOUND_S)
    founder = Access(access.url, jwt=jwt, seed=pair.seed, ca=access.ca)
    link = NatsLink.connect(founder, name=f"{subjects.FOUNDER}.start")
    try:
        link.make_buckets(subjects.BUCKETS)
    finally:
        link.close()


def config(
    directory: Path, authority: Authority, listening: Listening, *, monitor: bool = False
) -> bytes:
    """Return a configuration in which nobody is let in for whom `authority` does not vouch."""
    now = int(time.time())
    # JSON is a subset of the server's own format, and quotes any path. Sizes in quotes would
    # not be read as sizes; durations must be quoted.
    account = authority.account.public
    one = server_config.one_jetstream(account) if listening.leaves else {}
    monitored = {"http": f"{HOST}:-1"} if monitor else {}
    return msgspec.json.encode(
        {
            **monitored,
            **server_config.heard(listening),
            **server_config.common(directory),
            **one,
            "operator": authority.operator_token(now),
            "system_account": authority.system.public,
            # In files, for who is told of a change. What is here is newer, and goes before them.
            "resolver": {"type": "full", "dir": str(directory / "accounts")},
            "resolver_preload": {
                account: authority.account_token(now, listening.void),
                authority.system.public: authority.system_token(now),
            },
            "jetstream": {
                "store_dir": str(directory),
                "max_memory_store": MEMORY_BYTES,
                "max_file_store": STORE_BYTES,
            },
        }
    )
