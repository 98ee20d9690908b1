"""Agents that run what is on their list, and nothing else, whatever callers send or claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gossamer import NoAgentError
from gossamer_mesh import subjects, wire
from gossamer_mesh.access import load
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.payload import dump_arguments
from tests.integration.test_policy import opened, user

pytestmark = pytest.mark.timeout(60)

WITHIN_S = 15.0
EVIL = subjects.session("owner", "evil")
CHOOSY = """
    allow = ["describe@1", "other"]
    heartbeat.interval = "1s"
"""


def describe(path: str) -> list[str]:
    return ["described", path]


def another(path: str) -> list[str]:
    return ["another", path]


def touch(path: str) -> None:
    Path(path).touch()


def until(true: Callable[[], object], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def allowed(mesh) -> dict[str, tuple[str, ...]]:
    return {each.document.agent: each.document.allowed for each in mesh.agents()}


def test_what_is_registered_under_an_allowed_name_may_run_from_then_on_and_nothing_else(fleet):
    fleet.add("choosy", CHOOSY)
    with fleet.connect() as mesh:
        with pytest.raises(NoAgentError, match=r"describe: allow ruled out 1; closest: choosy"):
            mesh.submit(describe, "x").result(timeout=WITHIN_S)
        made = mesh.register(describe)
        until(lambda: allowed(mesh) == {"choosy": (made.digest.hex(),)})
        assert mesh.submit("describe@1", "x").result(timeout=WITHIN_S) == ["described", "x"]
        assert mesh.submit("describe", "y").result(timeout=WITHIN_S) == ["described", "y"]
        # The same function, handed over as an object: its digest is that of the registered one.
        assert mesh.submit(describe, "z").result(timeout=WITHIN_S) == ["described", "z"]
        mesh.register(another, name="describe", version=2)
        with pytest.raises(NoAgentError, match=r"owner/describe@2: allow ruled out 1"):
            mesh.submit("describe", "x").result(timeout=WITHIN_S)
        mesh.register(another, name="other")
        until(lambda: len(allowed(mesh)["choosy"]) == 2)
        assert mesh.submit("other", "x").result(timeout=WITHIN_S) == ["another", "x"]
        mesh.unregister("describe@1")
        until(lambda: len(allowed(mesh)["choosy"]) == 1)
        with pytest.raises(NoAgentError, match="allow ruled out 1"):
            mesh.submit(describe, "x").result(timeout=WITHIN_S)
        assert "allow-list of 1" in repr(mesh.agents())


def test_a_name_on_a_list_that_another_registers_too_stops_what_it_meant_and_says_so(fleet):
    fleet.add("choosy", CHOOSY)
    with fleet.connect() as mesh, opened(user(fleet, "eve")) as eves:
        made = mesh.register(describe)
        until(lambda: allowed(mesh) == {"choosy": (made.digest.hex(),)})
        rival = eves.register(another, name="describe")
        until(lambda: allowed(mesh) == {"choosy": ()})
        for name in (str(made), str(rival)):
            with pytest.raises(
                NoAgentError,
                match=r"; choosy says: the rule 'describe@1' does not hold: .* by eve and by owner",
            ):
                mesh.submit(name, "x").result(timeout=WITHIN_S)
        mesh.unregister(rival)
        until(lambda: allowed(mesh) == {"choosy": (made.digest.hex(),)})
        assert mesh.submit("describe@1", "x").result(timeout=WITHIN_S) == ["described", "x"]


def test_who_was_registered_before_the_agent_came_may_run_by_its_digest_at_once(fleet):
    fleet.add("any")
    with fleet.connect() as mesh:
        made = mesh.register(describe)
        fleet.add("choosy", f'allow = ["{made.digest.hex()}"]')
        until(lambda: len(mesh.agents()) == 2)
        assert mesh.submit(made, "x", on="choosy").result(timeout=WITHIN_S) == ["described", "x"]
        decision = mesh.explain(another, "x")
        assert decision.agent == "any"
        assert decision.ruled_out == {"allow": 1}
        assert "allow ruled out 1" in str(decision)


def test_who_claims_the_digest_of_an_allowed_function_runs_that_and_not_its_own(fleet, tmp_path):
    """A caller of its own making, which no client library holds back."""
    fleet.add("choosy", CHOOSY)
    mark = tmp_path / "mark"
    with fleet.connect() as mesh:
        made = mesh.register(describe)
        until(lambda: allowed(mesh) == {"choosy": (made.digest.hex(),)})
        (candidate,) = mesh.agents()
        evil = mesh._job(touch)
        data, _ = dump_arguments((str(mark),), {}, what="evil")
        heard: list[wire.Record] = []
        link = NatsLink.connect(load(fleet.access), name=EVIL)
        link.subscribe(
            subjects.all_outs(EVIL), lambda m: heard.extend(wire.decode_out(m.payload).records)
        )
        hello = wire.Hello(load(fleet.access).jwt)
        link.publish(subjects.control("choosy", EVIL), wire.encode(hello))
        for task, digest in ((1, made.digest), (2, evil.function)):
            job = wire.Job(digest, "evil", code=evil.code)
            call = wire.Call(task, 1, bytes(data))
            run = wire.Run(candidate.document.incarnation, job, [call])
            link.publish(subjects.run("choosy", EVIL), wire.encode(run))
        until(lambda: len([one for one in heard if isinstance(one, wire.Done | wire.Refused)]) == 2)
        link.close()
    done, refused = sorted(
        (one for one in heard if isinstance(one, wire.Done | wire.Refused)),
        key=lambda one: one.task,
    )
    assert isinstance(done, wire.Done)
    assert done.status == "ok"
    assert b"described" in done.payload
    assert isinstance(refused, wire.Refused)
    assert refused.detail.startswith("allow: evil (")
    assert refused.detail.endswith("describe@1, other")
    assert not mark.exists()
