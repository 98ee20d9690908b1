"""What each role may say and hear on the mesh: server permissions, made of `subjects`.

`{{name()}}`, `{{subject()}}` and `{{tag(site)}}` are filled in by nats-server, from the token of
the user. Nothing else is allowed, so whoever speaks on a subject is who is named in it. Whoever may
ask JetStream may have it answer on any subject but those that `subjects.written` makes, in the
account's name; therefore links take no message that JetStream has sent (`link.nats_client`),
buckets are written to where it cannot answer (`link.nats_buckets`), and made by `founder` alone.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

from gossamer_mesh import subjects

Role = Literal[
    "agent",
    "client",
    "gateway",
    "admin",
    "founder",
    "joiner",
    "visitor",
    "registrar",
    "grants",
    "leaf",
]
LEAF: Final = "leaf"
ROLES: Final[tuple[Role, ...]] = get_args(Role)

NAME: Final = "{{name()}}"
KEY: Final = "{{subject()}}"
"""The user's public key, which it has shown to be its own."""

SITE: Final = "{{tag(site)}}"
_ANY: Final = "*"
_SESSION: Final = subjects.session(NAME, _ANY)
_ANY_SESSION: Final = subjects.session(_ANY, _ANY)

READ: Final = (
    subjects.AGENTS_BUCKET,
    subjects.FUNCTIONS_BUCKET,
    subjects.CODE_BUCKET,
    subjects.GRANTS_BUCKET,
)


class Permission(NamedTuple):
    """Subjects, with what nats-server fills in; `never`: neither said nor heard, all the same."""

    says: tuple[str, ...]
    hears: tuple[str, ...]
    never: tuple[str, ...] = ()


PUBLIC: Final[frozenset[str]] = frozenset({"visitor"})
"""Roles whose signing keys anybody may have: what these say of a name, or a group, says nothing."""

VISITOR_BYTES: Final = 64 * 1024
VISITOR_SUBSCRIPTIONS: Final = 8
"""What somebody of whom nothing is known yet may send at once, and listen to."""


def of(role: Role) -> Permission:
    """Return what the server lets a user of this role say and hear."""
    return _PERMISSIONS[role]


def ways(role: Role) -> tuple[str, ...]:
    """Return how a user of this role may come to the server.

    As a server of its own only a leaf: nats-server looks less closely at what those say, and a
    client that came as one could have JetStream answer where `subjects.written` is heard.
    """
    served = ("LEAFNODE", "LEAFNODE_WS") if role == LEAF else ()
    return ("STANDARD", "WEBSOCKET", *served)


def _reading(*buckets: str) -> tuple[str, ...]:
    """Return what has to be said to JetStream to read buckets and watch them."""
    said: list[str] = []
    for bucket in buckets:
        stream = f"KV_{bucket}"
        said += (
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.CONSUMER.CREATE.{stream}.>",
            f"$JS.API.CONSUMER.CREATE.{stream}",
            f"$JS.API.CONSUMER.DELETE.{stream}.>",
            f"$JS.API.CONSUMER.INFO.{stream}.>",
            f"$JS.FC.{stream}.>",
        )
    return tuple(said)


_AGENT: Final = Permission(
    (
        subjects.heartbeat(SITE, NAME),
        subjects.join_claim(NAME),
        subjects.out(_ANY_SESSION, NAME),
        subjects.blob(_ANY_SESSION, NAME),
        subjects.chunks(_ANY_SESSION, NAME),
        # To itself: the answer to a claim of its name, and a second connection's first word.
        subjects.all_inboxes(NAME),
        subjects.chunks(NAME, NAME),
        subjects.written(subjects.AGENTS_BUCKET, NAME),
        subjects.enrol_renew(NAME),
        *_reading(*READ),
    ),
    (
        subjects.all_runs(NAME),
        subjects.all_controls(NAME),
        subjects.all_blobs(NAME),
        subjects.all_chunks(NAME),
        subjects.join_claim(NAME),
        subjects.all_inboxes(NAME),
    ),
)

_CLIENT: Final = Permission(
    (
        subjects.run(_ANY, _SESSION),
        subjects.control(_ANY, _SESSION),
        subjects.blob(_ANY, _SESSION),
        subjects.chunks(_ANY, _SESSION),
        subjects.chunks(_SESSION, _SESSION),
        subjects.written(subjects.FUNCTIONS_BUCKET, subjects.function_key(NAME, _ANY, _ANY)),
        subjects.written(subjects.CODE_BUCKET, subjects.code_key(NAME, _ANY)),
        subjects.enrol_renew(NAME),
        *_reading(*READ),
    ),
    (
        subjects.all_heartbeats(),
        subjects.all_outs(_SESSION),
        subjects.all_blobs(NAME),
        subjects.all_chunks(NAME),
        subjects.all_inboxes(NAME),
    ),
)

_ADMIN: Final = Permission(
    (
        *_CLIENT.says,
        # Whoever has registered something: somebody has to clear up after who is gone.
        subjects.written(subjects.FUNCTIONS_BUCKET, subjects.function_key(_ANY, _ANY, _ANY)),
        subjects.written(subjects.CODE_BUCKET, subjects.code_key(_ANY, _ANY)),
        subjects.enrol_admin(NAME),
    ),
    (*_CLIENT.hears, subjects.all_told(NAME)),
)

_REGISTRAR: Final = Permission(
    (
        # Whom it answers it looks at itself: only ever who has asked, in their own inbox.
        subjects.all_inboxes(_ANY),
        subjects.all_told(_ANY),
        subjects.written(subjects.USERS_BUCKET, ">"),
        subjects.written(subjects.TOKENS_BUCKET, ">"),
        subjects.written(subjects.GRANTS_BUCKET, ">"),
        *_reading(subjects.USERS_BUCKET, subjects.TOKENS_BUCKET, subjects.GRANTS_BUCKET),
        # Which names agents have that it has not let in itself.
        *_reading(subjects.AGENTS_BUCKET),
    ),
    (subjects.all_enrolments(), subjects.all_inboxes(NAME)),
)

_FOUNDER: Final = Permission(
    (
        *[
            f"$JS.API.STREAM.{verb}.KV_{bucket}"
            for verb in ("CREATE", "INFO")
            for bucket in subjects.BUCKETS
        ],
    ),
    (subjects.all_inboxes(NAME),),
)

_GRANTS: Final = Permission(
    # Who has this key signs grants; whom it vouches for may put them where agents find them.
    (subjects.written(subjects.GRANTS_BUCKET, ">"), *_reading(subjects.GRANTS_BUCKET)),
    (subjects.all_inboxes(NAME),),
)

_LEAF: Final = Permission(
    # All that is said at a site to others, by whomever: its server has looked who they are. What
    # administrators say, and are told, goes by no leaf.
    (
        subjects.heartbeat(_ANY, _ANY),
        subjects.join_claim(_ANY),
        subjects.run(_ANY, _ANY_SESSION),
        subjects.control(_ANY, _ANY_SESSION),
        subjects.out(_ANY_SESSION, _ANY),
        subjects.all_blobs(_ANY),
        subjects.all_chunks(_ANY),
        subjects.all_inboxes(_ANY),
        subjects.written(subjects.AGENTS_BUCKET, _ANY),
        subjects.written(subjects.FUNCTIONS_BUCKET, ">"),
        subjects.written(subjects.CODE_BUCKET, ">"),
        subjects.enrol_join(_ANY),
        subjects.enrol_renew(_ANY),
        *_reading(*READ),
    ),
    (
        subjects.all_heartbeats(),
        subjects.join_claim(_ANY),
        subjects.all_runs(_ANY),
        subjects.all_controls(_ANY),
        subjects.all_outs(_ANY_SESSION),
        subjects.all_blobs(_ANY),
        subjects.all_chunks(_ANY),
        subjects.all_inboxes(_ANY),
    ),
    # What these are answered from their buckets is nobody else's.
    (subjects.all_inboxes(subjects.REGISTRAR), subjects.all_inboxes(subjects.FOUNDER)),
)

_PERMISSIONS: Final[dict[Role, Permission]] = {
    "agent": _AGENT,
    "client": _CLIENT,
    "gateway": _CLIENT,
    "admin": _ADMIN,
    "founder": _FOUNDER,
    "joiner": Permission((subjects.enrol_join(NAME),), (subjects.all_inboxes(NAME),)),
    "visitor": Permission((subjects.enrol_login(KEY),), (subjects.all_inboxes(KEY),)),
    "registrar": _REGISTRAR,
    "grants": _GRANTS,
    LEAF: _LEAF,
}
