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


@pytest.mark.parametrize("role", permissions.ROLES)
def test_nobody_hears_or_says_everything(role):
    for subject in ("gsm.v1.run.pi.mallory.s1", "anything", "$SYS.REQ.SERVER.PING"):
        assert not may_say(role, "ada", subject)
        assert not may_hear(role, "ada", subject)
