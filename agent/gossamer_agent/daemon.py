"""The daemon of one machine: puts the parts of an agent together, and takes them apart again."""

from __future__ import annotations

import functools
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gossamer_agent import incarnation
from gossamer_agent.audit import Audit
from gossamer_agent.config import AgentConfig
from gossamer_agent.control import Control, Oversight
from gossamer_agent.expulsion import Expulsion
from gossamer_agent.forker import ZygoteProcess
from gossamer_agent.policy import Policy
from gossamer_agent.rules import Rules
from gossamer_mesh import audited, subjects
from gossamer_mesh.access import Access, Standing
from gossamer_mesh.blob import SHARED_MEMORY, Depot, Store
from gossamer_mesh.enrolment import renewal, returning
from gossamer_mesh.errors import ConfigError, NotAdmittedError
from gossamer_mesh.identity.witness import Witness
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.owned import own, sweep
from gossamer_mesh.places import runtime_dir, state_dir

START_AGAIN_S: Final = 0.5

_PREFIX: Final = "gossamer-agent-"

_log = logging.getLogger("gossamer.agent")


def run(
    config: AgentConfig,
    access: Access,
    zygote: ZygoteProcess,
    *,
    hides: str,
    ready: Callable[[int], None],
    lifeline: int | None = None,
) -> int:
    """Join the mesh and serve until SIGTERM, SIGINT or the end of `lifeline`, then drain.

    `hides` is what is said of how far credentials are hidden from tasks.
    Returns 0. Raises `ConnectError` when the mesh cannot be joined, `NotAdmittedError` when it
    does not let us in, or does so no more, `ConfigError` when the name is held by another agent.
    Running calls get `config.drain_s` to end; a second signal, or the end of that time, kills them.
    No process outlives the call.
    """
    name = subjects.session(config.name, secrets.token_hex(4))
    standing = Standing(access)
    returning.allow(standing)
    expulsion = Expulsion(config.name)
    link = _admitted(standing, name, expulsion)
    renewal.keep_up(link, config.name, standing)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    owner = own(directory)
    sweep(directory.parent, _PREFIX)
    store = Store(config.name, _cache(config), limit_bytes=config.cache_bytes, keeps=True)
    bulk = functools.partial(NatsLink.connect, standing, name=f"{name}-bulk")
    depot = Depot(
        link, config.name, store, bulk, share=config.cache_share, direct=config.cache_direct
    )
    audit: Audit | None = None
    try:
        if not _passing(config):
            audit = Audit(audited.file_of(config.name, make=True), config.audit_bytes)
        number = incarnation.choose(link, config.name)
        oversight = Oversight(_policy(config, access), audit, hides, expulsion)
        agent = Control(config, link, depot, zygote, number, directory, ready, oversight=oversight)
        agent.run(lifeline, link.on_failure)
    finally:
        depot.close()
        link.close()
        if audit is not None:
            audit.close()
        shutil.rmtree(directory, ignore_errors=True)
        os.close(owner)
    return 0


def _admitted(standing: Standing, name: str, expulsion: Expulsion) -> NatsLink:
    """Return the link to the mesh; a server that has not heard of us yet gets some seconds."""
    while True:
        try:
            link = NatsLink.connect(standing, name=name)
        except NotAdmittedError as error:
            end = expulsion.failed(error)
            if end is not None:
                raise end from error
            _log.warning("%s; trying again", error)
            time.sleep(START_AGAIN_S)
        else:
            expulsion.connected()
            return link


def _policy(config: AgentConfig, access: Access) -> Policy | None:
    """Return who may run what; None where the mesh's server does not say who is who."""
    rules = Rules(config.people, config.deny, config.quota)
    if access.account:
        return Policy(config.name, rules, Witness(access.account))
    if rules != Rules():
        raise ConfigError(
            "allow.callers, allow.groups, deny and quota need a mesh that knows its users: join "
            "one with a token (gossamer invite agent), or leave them out",
            key="allow",
        )
    return None


def _passing(config: AgentConfig) -> bool:
    """Return whether the mesh is one that ends with its process: nobody else is on it."""
    # Its agents have no access file: they were given theirs by who started them.
    return config.access is None or runtime_dir() in config.access.resolve().parents


def _cache(config: AgentConfig) -> list[Path]:
    """Return where the cache may lie: where it was put, else in memory and on the disk."""
    if config.cache_directory is not None:
        return [config.cache_directory]
    return [SHARED_MEMORY, state_dir()]
