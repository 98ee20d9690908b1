"""Who may run what, with real agents and users whom the mesh vouches for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import gossamer
from gossamer import NotAllowedError
from gossamer.cli import main
from gossamer_mesh import audited, subjects, wire
from gossamer_mesh.access import Access, load
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.permissions import Role

pytestmark = pytest.mark.timeout(60)

WITHIN_S = 20.0


def user(fleet, name: str, role: Role = "client", *groups: str) -> Access:
    """Return the access of a user whom the mesh vouches for from now on."""
    authority = Authority.load(fleet.directory / "server" / "keys.json")
    pair = KeyPair.new("user")
    jwt = authority.issuer(role).vouch(name, pair.public, int(time.time()), groups=groups)
    return Access(load(fleet.access).url, jwt=jwt, seed=pair.seed)


def opened(access: Access) -> gossamer.Mesh:
    return gossamer.Mesh.open(access)


def until(true: Callable[[], object], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def double(number: int) -> int:
    return 2 * number


def touch(path: str) -> None:
    Path(path).touch()


def test_a_client_may_run_nothing_until_a_rule_names_it_and_the_owner_anything(fleet, tmp_path):
    fleet.add("closed")
    mark = tmp_path / "mark"
    with fleet.connect() as owner, opened(user(fleet, "ada")) as ada:
        assert owner.submit(double, 2).result(timeout=WITHIN_S) == 4
        with pytest.raises(NotAllowedError, match="closed says: grants: client 'ada' has none"):
            ada.submit(touch, str(mark)).result(timeout=WITHIN_S)
        assert not mark.exists()
        fleet.add("open", 'allow = {callers = ["ada"]}')
        task = ada.submit(double, 4, on="open", wait=WITHIN_S)
        assert task.result(timeout=WITHIN_S) == 8
        until(lambda: len(owner.agents()) == 2)
        with pytest.raises(NotAllowedError, match="allow: only ada may run anything there"):
            owner.submit(double, 2, on="open").result(timeout=WITHIN_S)
        # Where two could and one has just said no, the other has it.
        assert ada.submit(double, 5).result(timeout=WITHIN_S) == 10
    with opened(user(fleet, "root", "admin")) as root:
        assert root.submit(double, 3, on="closed").result(timeout=WITHIN_S) == 6


def test_groups_may_be_allowed_and_some_of_them_denied(fleet):
    fleet.add("beam", 'allow = {groups = ["beamline"]}\ndeny = {callers = ["eve"]}')
    for name, groups, rule in (
        ("ada", ("beamline",), ""),
        ("bob", ("other",), "allow: only group beamline"),
        ("eve", ("beamline",), "deny: eve may run nothing there"),
    ):
        with opened(user(fleet, name, "client", *groups)) as mesh:
            task = mesh.submit(double, 1)
            if rule:
                with pytest.raises(NotAllowedError, match=rule):
                    task.result(timeout=WITHIN_S)
            else:
                assert task.result(timeout=WITHIN_S) == 2


def test_who_shows_anothers_token_is_not_believed_and_may_not_have_an_agent_leave(fleet):
    """A client of its own making, which speaks as itself for the server sees to that."""
    fleet.add("closed")
    root, eve = user(fleet, "root", "admin"), user(fleet, "eve")
    name = subjects.session("eve", "evil")
    heard: list[wire.Record] = []
    link = NatsLink.connect(eve, name=name)
    try:
        link.subscribe(
            subjects.all_outs(name), lambda m: heard.extend(wire.decode_out(m.payload).records)
        )
        with fleet.connect() as owner:
            (candidate,) = owner.agents()
            incarnation = candidate.document.incarnation
            for message in (wire.Hello(root.jwt), wire.Drain()):
                link.publish(subjects.control("closed", name), wire.encode(message))
            job = wire.Job(b"x" * 16, "evil", code=b"code")
            run = wire.Run(incarnation, job, [wire.Call(1, 1, b"")])
            link.publish(subjects.run("closed", name), wire.encode(run))
            until(lambda: any(isinstance(one, wire.Refused) for one in heard))
            (refused,) = [one for one in heard if isinstance(one, wire.Refused)]
            assert refused.reason == "denied"
            assert "that of 'root', and 'eve' has sent it" in refused.detail
            assert owner.submit(double, 2).result(timeout=WITHIN_S) == 4
            (candidate,) = owner.agents()
            assert not candidate.state.draining
    finally:
        link.close()


def test_an_agent_that_is_not_told_of_its_mesh_says_that_it_cannot_keep_its_rules(fleet):
    access = msgspec.structs.replace(load(fleet.access), account="")
    access.save(fleet.access)
    agent = fleet.launch("blind", 'allow = {callers = ["ada"]}')
    with pytest.raises(gossamer.MeshError, match="need a mesh that knows its users"):
        agent.wait_ready()
    agent.end(1.0)


def test_what_has_run_is_in_the_audit_and_what_was_refused_is_not(fleet, capsys):
    fleet.add("pi", 'allow = {callers = ["ada"]}')
    with opened(user(fleet, "ada")) as ada:
        assert ada.submit(double, 2).result(timeout=WITHIN_S) == 4
        with pytest.raises(ZeroDivisionError):
            ada.submit(divmod, 1, 0).result(timeout=WITHIN_S)
    with opened(user(fleet, "eve")) as eve, pytest.raises(NotAllowedError):
        eve.submit(double, 2).result(timeout=WITHIN_S)
    until(lambda: len(list(audited.read("pi"))) == 2)
    assert main(["audit", "--agent", "pi"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "  pi  ada." in first
    assert "double (" in first
    assert "ok after " in first
    assert "divmod (" in second
    assert "error after " in second


def test_a_mesh_that_ends_with_its_process_leaves_no_audit():
    with gossamer.connect() as mesh:
        assert mesh.submit(abs, -3).result(20) == 3
        agent = mesh.agents()[0].document.agent
    assert not audited.file_of(agent).exists()
