"""The only place where a subject of the mesh is spelled.

A subject names who speaks: an agent's name is in what it publishes, a caller's in what it asks,
so that server permissions alone can hold each to its own name.
"""

from __future__ import annotations

import re
from typing import Final

from gossamer_mesh.errors import ConfigError, ProtocolError

ROOT: Final = "gsm.v1"
AGENTS_BUCKET: Final = "gsm-agents"
FUNCTIONS_BUCKET: Final = "gsm-functions"
CODE_BUCKET: Final = "gsm-code"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def check_name(name: str, what: str = "name") -> str:
    """Return `name` if it can be one token of a subject, else raise `ConfigError`."""
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{what} {name!r} cannot be used: 1-63 letters, digits, '-' or '_', "
            "starting with a letter or digit",
            value=name,
        )
    return name


def heartbeat(site: str, agent: str) -> str:
    return f"{ROOT}.hb.{site}.{agent}"


def all_heartbeats() -> str:
    return f"{ROOT}.hb.*.*"


def run(agent: str, caller: str) -> str:
    return f"{ROOT}.run.{agent}.{caller}"


def all_runs(agent: str) -> str:
    return f"{ROOT}.run.{agent}.*"


def control(agent: str, caller: str) -> str:
    return f"{ROOT}.ctl.{agent}.{caller}"


def all_controls(agent: str) -> str:
    return f"{ROOT}.ctl.{agent}.*"


def out(caller: str, agent: str) -> str:
    return f"{ROOT}.out.{caller}.{agent}"


def all_outs(caller: str) -> str:
    return f"{ROOT}.out.{caller}.*"


def inbox(caller: str, agent: str, number: int) -> str:
    """Where the server says "no responders" for message `number` of `caller` to `agent`."""
    return f"_INBOX_{caller}.{agent}.{number}"


def all_inboxes(caller: str) -> str:
    return f"_INBOX_{caller}.>"


def join_claim(agent: str) -> str:
    """Where a starting agent asks whether its name is held by a live incarnation."""
    return f"{ROOT}.join.{agent}"


def blob(holder: str, asker: str) -> str:
    """Where `asker` asks `holder` for blobs."""
    return f"{ROOT}.blob.{holder}.{asker}"


def all_blobs(holder: str) -> str:
    return f"{ROOT}.blob.{holder}.*"


def chunks(asker: str, holder: str) -> str:
    """Where `holder` sends `asker` chunks."""
    return f"{ROOT}.bin.{asker}.{holder}"


def all_chunks(asker: str) -> str:
    return f"{ROOT}.bin.{asker}.*"


def function_key(name: str, version: int) -> str:
    """Return where in `FUNCTIONS_BUCKET` a version of a registered function is described."""
    return f"{name}.{version}"


def last_token(subject: str) -> str:
    return subject.rpartition(".")[2]


def inbox_parts(subject: str) -> tuple[str, int]:
    """Return (agent, number) of a subject made by `inbox`; `ProtocolError` if it is none."""
    try:
        _, agent, number = subject.rsplit(".", 2)
        return agent, int(number)
    except ValueError as error:
        raise ProtocolError(f"{subject[:200]!r} is no inbox of this protocol") from error
