"""The templates, read as nats-server reads them, held against what parties say and hear."""

from __future__ import annotations

import pytest

from gossamer_mesh import permissions, subjects
from gossamer_mesh.link.matching import matches

ADA = subjects.session("ada", "s1")
EVE = subjects.session("eve", "s1")


def filled(patterns: tuple[str, ...], name: str, site: str = "field") -> list[str]:
    return [
        pattern.replace(permissions.NAME, name).replace(permissions.SITE, site)
        for pattern in patterns
    ]


def may_say(role, name, subject) -> bool:
    return any(matches(each, subject) for each in filled(permissions.of(role).says, name))


def may_hear(role, name, subject) -> bool:
    return any(matches(each, subject) for each in filled(permissions.of(role).hears, name))


SAID_BY_AGENTS = [
    lambda name: subjects.heartbeat("field", name),
    lambda name: subjects.out(ADA, name),
    lambda name: subjects.chunks(ADA, name),
    lambda name: subjects.blob(ADA, name),
    lambda name: subjects.written(subjects.AGENTS_BUCKET, name),
    subjects.join_claim,
]
SAID_BY_CALLERS = [
    lambda name: subjects.run("pi", name),
    lambda name: subjects.control("pi", name),
    lambda name: subjects.chunks("pi", name),
    lambda name: subjects.blob("pi", name),
]
HEARD_BY_CALLERS = [
    lambda name: subjects.out(name, "pi"),
    lambda name: subjects.chunks(name, "pi"),
    lambda name: subjects.blob(name, "pi"),
    lambda name: subjects.inbox(name, "pi", 7),
]


@pytest.mark.parametrize("spell", SAID_BY_AGENTS)
def test_an_agent_speaks_under_its_own_name_only(spell):
    assert may_say("agent", "pi", spell("pi"))
    assert not may_say("agent", "pi", spell("other"))
    assert not may_say("client", "pi", spell("pi"))


@pytest.mark.parametrize("role", ["client", "gateway", "admin"])
@pytest.mark.parametrize("spell", SAID_BY_CALLERS)
def test_a_caller_speaks_under_its_own_name_only(spell, role):
    assert may_say(role, "ada", spell(ADA))
    assert not may_say(role, "ada", spell(EVE))
    assert not may_say("agent", "pi", spell(ADA))


@pytest.mark.parametrize("role", ["client", "gateway", "admin"])
@pytest.mark.parametrize("spell", HEARD_BY_CALLERS)
def test_a_caller_hears_what_is_for_it_only(spell, role):
    assert may_hear(role, "ada", spell(ADA))
    assert not may_hear(role, "ada", spell(EVE))
    assert not may_hear("agent", "pi", spell(ADA))


def test_an_agent_of_another_site_does_not_speak_for_this_one():
    assert not may_say("agent", "pi", subjects.heartbeat("elsewhere", "pi"))


@pytest.mark.parametrize("role", permissions.ROLES)
def test_nobody_but_the_founder_touches_streams_and_nobody_deletes_them(role):
    for bucket in subjects.BUCKETS:
        for verb in ("CREATE", "UPDATE", "DELETE", "PURGE"):
            may = may_say(role, "x", f"$JS.API.STREAM.{verb}.KV_{bucket}")
            assert may == (role == "founder" and verb == "CREATE")


ORDINARY = [role for role in permissions.ROLES if role != permissions.LEAF]


@pytest.mark.parametrize("spell", [*SAID_BY_AGENTS, *SAID_BY_CALLERS])
def test_a_leaf_carries_what_agents_and_callers_say(spell):
    for name in ("pi", "other", ADA, EVE):
        said = any(may_say(role, name.split(".")[0], spell(name)) for role in ("agent", "client"))
        assert not said or may_say("leaf", "site-x", spell(name))


@pytest.mark.parametrize("spell", HEARD_BY_CALLERS)
def test_a_leaf_carries_what_callers_hear(spell):
    assert may_hear("leaf", "site-x", spell(ADA))
    assert may_hear("leaf", "site-x", subjects.run("pi", ADA))
    assert may_hear("leaf", "site-x", subjects.heartbeat("field", "pi"))


def test_a_leaf_carries_nothing_of_administration_and_no_grant():
    assert may_say("admin", "ada", subjects.enrol_admin("ada"))
    assert not may_say("leaf", "site-x", subjects.enrol_admin("ada"))
    assert may_hear("admin", "ada", subjects.told(ADA, 1))
    assert not may_hear("admin", "eve", subjects.told(ADA, 1))
    assert not may_hear("leaf", "site-x", subjects.told(ADA, 1))
    assert not may_hear("leaf", "site-x", subjects.enrol_join("gsm-1"))
    for bucket in (subjects.GRANTS_BUCKET, subjects.USERS_BUCKET, subjects.TOKENS_BUCKET):
        assert not may_say("leaf", "site-x", subjects.written(bucket, "x"))
    for bucket in (subjects.USERS_BUCKET, subjects.TOKENS_BUCKET):
        assert not may_say("leaf", "site-x", f"$JS.API.CONSUMER.CREATE.KV_{bucket}")


def test_only_a_leaf_comes_as_a_server():
    for role in permissions.ROLES:
        served = [each for each in permissions.ways(role) if each.startswith("LEAFNODE")]
        assert bool(served) == (role == "leaf")


@pytest.mark.parametrize("role", ORDINARY)
def test_nobody_hears_or_says_everything(role):
    for subject in ("gsm.v1.run.pi.mallory.s1", "anything", "$SYS.REQ.SERVER.PING"):
        assert not may_say(role, "ada", subject)
        assert not may_hear(role, "ada", subject)
