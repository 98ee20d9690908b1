"""The only place where a subject of the mesh is spelled.

A subject names who speaks: an agent's name is in what it publishes, a caller's in what it asks,
so that server permissions alone can hold each to its own name (see `permissions`).

An agent's name is one token. A caller's has two: its user's name and one for the session, for a
user may have many processes on the mesh; to the mesh they are one party each.
"""

from __future__ import annotations

import re
from typing import Final

from gossamer_mesh.errors import ConfigError, ProtocolError

ROOT: Final = "gsm.v1"
INBOX: Final = "_INBOX."
KEPT: Final = "$KV."
"""Before the bucket's name and a key, where what a bucket keeps is found."""

_WRITTEN: Final = "_R_."
"""Nobody can have anything answered on a subject that begins so: nats-server refuses to."""

AGENTS_BUCKET: Final = "gsm-agents"
FUNCTIONS_BUCKET: Final = "gsm-functions"
CODE_BUCKET: Final = "gsm-code"
USERS_BUCKET: Final = "gsm-users"
TOKENS_BUCKET: Final = "gsm-tokens"
GRANTS_BUCKET: Final = "gsm-grants"
BUCKETS: Final = (
    AGENTS_BUCKET,
    FUNCTIONS_BUCKET,
    CODE_BUCKET,
    USERS_BUCKET,
    TOKENS_BUCKET,
    GRANTS_BUCKET,
)

ACCOUNT_KEY: Final = "account"
"""Where in `GRANTS_BUCKET` the account's newest token is, which says who was revoked."""

OWN_NAMES: Final = "gsm-"
"""Names that start so are the mesh's own: of its services, of its join tokens. Nobody else's."""

REGISTRAR: Final = f"{OWN_NAMES}registrar"
FOUNDER: Final = f"{OWN_NAMES}founder"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def is_name(text: str) -> bool:
    """Return whether `text` can be one token of a subject."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str, what: str = "name") -> str:
    """Return `name` if it can be one token of a subject, else raise `ConfigError`."""
    if not is_name(name):
        raise ConfigError(
            f"{what} {name!r} cannot be used: 1-63 letters, digits, '-' or '_', "
            "starting with a letter or digit",
            value=name,
        )
    return name


def as_name(text: str, otherwise: str) -> str:
    """Return `text` made into a name that `check_name` takes; `otherwise` if nothing is left."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).lstrip("_-")[:63] or otherwise


def heartbeat(site: str, agent: str) -> str:
    return f"{ROOT}.hb.{site}.{agent}"


def all_heartbeats() -> str:
    return f"{ROOT}.hb.*.*"


def session(user: str, token: str) -> str:
    """Return the name of one of a user's callers."""
    return f"{user}.{token}"


def user_of(caller: str) -> str:
    """Return whose session a caller is; an agent is itself."""
    return caller.partition(".")[0]


def run(agent: str, caller: str) -> str:
    return f"{ROOT}.run.{agent}.{caller}"


def all_runs(agent: str) -> str:
    return f"{ROOT}.run.{agent}.>"


def control(agent: str, caller: str) -> str:
    return f"{ROOT}.ctl.{agent}.{caller}"


def all_controls(agent: str) -> str:
    return f"{ROOT}.ctl.{agent}.>"


def out(caller: str, agent: str) -> str:
    return f"{ROOT}.out.{caller}.{agent}"


def all_outs(caller: str) -> str:
    return f"{ROOT}.out.{caller}.*"


def inbox(caller: str, agent: str, number: int) -> str:
    """Where the server says "no responders" for message `number` of `caller` to `agent`."""
    return f"{inbox_root(caller)}.{agent}.{number}"


def all_inboxes(caller: str) -> str:
    return f"{inbox_root(caller)}.>"


def inbox_root(party: str) -> str:
    """Return where a party hears answers; nobody else may."""
    return f"{INBOX}{party}"


def join_claim(agent: str) -> str:
    """Where a starting agent asks whether its name is held by a live incarnation."""
    return f"{ROOT}.join.{agent}"


def enrol_join(token: str) -> str:
    """Where who holds a join token asks to be let in."""
    return f"{ROOT}.enrol.join.{token}"


def enrol_login(key: str) -> str:
    """Where who has nothing but a key of its own asks to be let in, as an issuer vouches for it."""
    return f"{ROOT}.enrol.login.{key}"


def enrol_renew(user: str) -> str:
    """Where a user asks for a new token of its own."""
    return f"{ROOT}.enrol.renew.{user}"


def enrol_admin(user: str) -> str:
    """Where an administrator says who may come, and who must go."""
    return f"{ROOT}.enrol.admin.{user}"


def told(caller: str, number: int) -> str:
    """Where an administrator is answered, with what no server but the mesh's own may hear."""
    return f"{ROOT}.told.{caller}.{number}"


def all_told(user: str) -> str:
    return f"{told_root(user)}.>"


def told_root(user: str) -> str:
    return f"{ROOT}.told.{user}"


def all_enrolments() -> str:
    return f"{ROOT}.enrol.>"


def enrolment_parts(subject: str) -> tuple[str, str]:
    """Return (what is asked, who asks) of a subject that `all_enrolments` hears."""
    what, _, speaker = subject.removeprefix(f"{ROOT}.enrol.").partition(".")
    return what, speaker


def blob(holder: str, asker: str) -> str:
    """Where `asker` asks `holder` for blobs."""
    return f"{ROOT}.blob.{holder}.{asker}"


def all_blobs(holder: str) -> str:
    return f"{ROOT}.blob.{holder}.>"


def chunks(asker: str, holder: str) -> str:
    """Where `holder` sends `asker` chunks."""
    return f"{ROOT}.bin.{asker}.{holder}"


def all_chunks(asker: str) -> str:
    return f"{ROOT}.bin.{asker}.>"


def kept(bucket: str, key: str) -> str:
    """Where what a bucket keeps under `key` is read."""
    return f"{KEPT}{bucket}.{key}"


def written(bucket: str, key: str) -> str:
    """Where a bucket is told what to keep under `key`."""
    return f"{_WRITTEN}{bucket}.{key}"


def function_key(owner: str, name: str, version: int | str) -> str:
    """Return where in `FUNCTIONS_BUCKET` a version of a user's function is described."""
    return f"{owner}.{name}.{version}"


def owner_of(key: str) -> str:
    """Return whose key of the registry this is."""
    return key.partition(".")[0]


def code_key(owner: str, content: str) -> str:
    """Return where in `CODE_BUCKET` a user's code with this digest is."""
    return f"{owner}.{content}"


def speaker(subject: str, listener: str) -> str:
    """Return who speaks on a subject on which `listener` (its name) is spoken to."""
    # gsm . v1 . what . listener . speaker
    return subject.split(".", 4 + listener.count("."))[-1]


def inbox_parts(subject: str) -> tuple[str, int]:
    """Return (agent, number) of a subject made by `inbox`; `ProtocolError` if it is none."""
    try:
        _, agent, number = subject.rsplit(".", 2)
        return agent, int(number)
    except ValueError as error:
        raise ProtocolError(f"{subject[:200]!r} is no inbox of this protocol") from error
