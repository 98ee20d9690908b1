"""Each subject of the mesh, in another's name, by each role: nothing is said, nothing heard.

The subjects are those that `subjects` makes, so whatever is added there is tried here as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

import pytest

from gossamer_mesh import subjects, wire
from gossamer_mesh.wire import AgentState, Heartbeat
from tests.matrix.conftest import AGENT, PEOPLE, SITE, Scene, listen_in_vain, row, say_in_vain

CLIENTS = ("client eve", "gateway gil", "admin ann")
OPEN = {"heartbeat", "all_heartbeats"}
"""What every client may hear of everybody."""

PARTS = {"check_name", "as_name", "session", "user_of", "speaker", "function_key"}
PARTS |= {"kept", "written", "code_key", "owner_of"}
"""What makes no whole subject but parts of one, or a key (see `test_store`)."""

NOTHING_OF_ITS_OWN = {"joiner jo": "jo", "founder fay": "fay", "visitor vi": "vi"}
CALLER = "<caller>"
WIDE = (">", "gsm.>", "gsm.v1.out.>", "gsm.v1.run.>", "gsm.v1.*.owner.>", "_INBOX.>", "*.*.>")
WIDE += ("$SYS.>", "$JS.>", "$JS.API.>", "$KV.>", "$JS.ACK.>")


def made(names: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Give (function, subject) of each function of `subjects` that makes one of these names."""
    for function, make in inspect.getmembers(subjects, inspect.isfunction):
        parameters = inspect.signature(make).parameters
        if make.__module__ != subjects.__name__:
            continue
        if inspect.signature(make).return_annotation != "str":
            continue
        if function in PARTS:
            continue
        chosen = {each: names.get(each, CALLER) for each in parameters}
        subject: str = make(**chosen)
        assert subject.startswith((subjects.ROOT, subjects.INBOX)), f"{function}: what is it?"
        yield function, subject


VICTIM = {"site": SITE, "agent": AGENT, "holder": AGENT, "number": 1}
VICTIM |= {"user": "owner", "token": "t1", "key": "UADA"}
CROSSED = {**VICTIM, "holder": CALLER, "asker": AGENT, "party": AGENT}
"""As an agent asks a client for what that has put."""

OTHERS = sorted({*made(VICTIM), *made(CROSSED)})
SAID = [subject for _, subject in OTHERS if subject[-1] not in "*>"]


def test_the_subjects_are_those_of_the_module() -> None:
    functions = {function for function, _ in OTHERS}
    assert {"run", "control", "out", "heartbeat", "join_claim", "blob", "chunks"} <= functions
    assert {"enrol_join", "enrol_renew", "enrol_admin", "all_enrolments"} <= functions
    assert "enrol_login" in functions


def test_what_is_allowed_is_seen_where_what_is_forbidden_would_be(scene: Scene) -> None:
    for who, subject in (
        ("client eve", subjects.control("nobody", "eve.s1")),
        ("agent rogue", subjects.join_claim("rogue")),
        ("agent far, of another site", subjects.heartbeat("elsewhere", "far")),
    ):
        person, mark = scene.person(who), scene.mark()
        person.told.clear()
        person.say(subject, mark)
        assert [each.subject for each in scene.sees.heard() if mark in each.data] == [subject]
        assert not person.told
    eve, mark = scene.person("client eve"), scene.mark()
    eve.hear(subjects.all_outs("eve.s1"))
    scene.sees.say(subjects.out("eve.s1", "nobody"), mark)
    assert [each.data for each in eve.heard()] == [mark]


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("subject", SAID)
def test_nobody_speaks_in_anothers_name(scene: Scene, who: str, subject: str) -> None:
    say_in_vain(scene, who, subject.replace(CALLER, scene.caller))


@pytest.mark.parametrize(
    ("who", "subject"),
    [
        (who, subject)
        for function, subject in OTHERS
        for who in PEOPLE
        if who not in CLIENTS or function not in OPEN
    ],
)
def test_nobody_hears_what_is_said_to_another(scene: Scene, who: str, subject: str) -> None:
    listen_in_vain(scene, who, subject.replace(CALLER, scene.caller))


@pytest.mark.parametrize("who", ["client eve", "agent rogue", *NOTHING_OF_ITS_OWN])
@pytest.mark.parametrize("subject", WIDE)
def test_nobody_hears_what_is_said_to_all(scene: Scene, who: str, subject: str) -> None:
    listen_in_vain(scene, who, subject)


@pytest.mark.parametrize("subject", [f"gsm.v1.run.{AGENT}.>", "gsm.v1.blob.owner.>"])
def test_no_queue_takes_work_from_an_agent(scene: Scene, subject: str) -> None:
    listen_in_vain(scene, "client eve", subject, "workers")


def test_a_client_is_no_agent_even_of_its_own_name(scene: Scene) -> None:
    for subject in (
        subjects.heartbeat(SITE, "eve"),
        subjects.join_claim("eve"),
        subjects.out(scene.caller, "eve"),
    ):
        say_in_vain(scene, "client eve", subject)


def test_an_agent_is_no_client_even_of_its_own_name(scene: Scene) -> None:
    for subject in (subjects.run(AGENT, "rogue.s1"), subjects.control(AGENT, "rogue.s1")):
        say_in_vain(scene, "agent rogue", subject)


def test_an_agent_is_of_no_other_site_than_its_own(scene: Scene) -> None:
    for who, site, name in (
        ("agent far, of another site", SITE, "far"),
        ("agent rogue", "elsewhere", "rogue"),
    ):
        state = AgentState(1, 1, 1, 0, 0.0, 1)
        beat = wire.encode(Heartbeat(name, site, 1, 1, 10.0, state))
        say_in_vain(scene, who, subjects.heartbeat(site, name), data=beat)


@pytest.mark.parametrize("who", NOTHING_OF_ITS_OWN)
def test_who_only_makes_a_mesh_or_joins_it_says_nothing_there(scene: Scene, who: str) -> None:
    name = NOTHING_OF_ITS_OWN[who]
    caller = subjects.session(name, "s1")
    for subject in (
        subjects.heartbeat(SITE, name),
        subjects.run(AGENT, caller),
        subjects.control(AGENT, caller),
        subjects.blob(AGENT, caller),
        subjects.out(scene.caller, name),
        subjects.join_claim(name),
    ):
        say_in_vain(scene, who, subject)


def test_a_heartbeat_in_anothers_words_is_no_heartbeat_of_its(scene: Scene) -> None:
    state = AgentState(10**6, 1, 1, 0, 0.0, 1)
    beat = wire.encode(Heartbeat(AGENT, SITE, 2**60, 1, 10.0, state))
    directory = scene.client._client._directory
    before, known = directory.warnings, directory.listed[AGENT].document.incarnation
    scene.person("agent rogue").say(subjects.heartbeat(SITE, "rogue"), beat)
    scene.client.options(on=AGENT).submit(abs, -1).result(20)
    assert directory.warnings > before
    assert directory.listed[AGENT].document.incarnation == known
    row("a heartbeat of one's own that names pi", "agent rogue", "ignored", "each client (counted)")
