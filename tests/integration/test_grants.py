"""Grants on a real mesh: they come, end, are taken back, and hold while the mesh is away."""

from __future__ import annotations

import json
import time

import pytest

from gossamer import NotAllowedError, contexts, registrar
from gossamer.agent_process import AgentOptions, launch
from gossamer.cli import main
from gossamer_mesh import subjects
from gossamer_mesh.enrolment import asking
from gossamer_mesh.enrolment.messages import Revoke, Revoked
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.errors import MeshError
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import GrantPart, User, peek
from gossamer_mesh.link import Link
from gossamer_mesh.link.nats import NatsLink
from tests.integration.test_enrolment import invite, new_mesh
from tests.integration.test_policy import WITHIN_S, double, opened, until, user

pytestmark = pytest.mark.timeout(60)

REVOKED_WITHIN_S = 5.0


def describe(number: int) -> str:
    return f"described {number}"


class Granter:
    """Who signs grants and puts them where agents find them."""

    def __init__(self, fleet) -> None:
        self._authority = Authority.load(fleet.directory / "server" / "keys.json")
        self.link: Link = NatsLink.connect(user(fleet, "granter", "grants"), name="granter.1")
        self._bucket = self.link.key_value(subjects.GRANTS_BUCKET)

    def grant(self, to: str, *functions: str, ttl_s: int = 3600, **part) -> str:
        key, made = self._authority.grant(
            to, GrantPart(functions=functions or ("any",), **part), int(time.time()), ttl_s
        )
        self.put(key, made)
        return key

    def put(self, key: str, value: str) -> None:
        done: list[object] = []
        self._bucket.put(key, value.encode(), done.append)
        until(lambda: done)
        assert isinstance(done[0], int), done

    def take_back(self, key: str) -> None:
        done: list[object] = []
        self._bucket.delete(key, done.append)
        until(lambda: done)
        assert done == [None]


@pytest.fixture
def granter(fleet):
    made = Granter(fleet)
    yield made
    made.link.close()


def runs(mesh, fn, *args) -> bool:
    try:
        mesh.submit(fn, *args).result(timeout=WITHIN_S)
    except NotAllowedError:
        return False
    return True


def test_a_grant_lets_a_client_in_and_taking_it_back_puts_it_out_within_seconds(fleet, granter):
    fleet.add("pi")
    with opened(user(fleet, "ada", "client", "beamline")) as ada:
        assert not runs(ada, double, 1)
        key = granter.grant("group:beamline", agents="site == 'local'")
        until(lambda: runs(ada, double, 1))
        granter.take_back(key)
        began = time.monotonic()
        until(lambda: not runs(ada, double, 1), REVOKED_WITHIN_S)
        assert time.monotonic() - began < REVOKED_WITHIN_S
        granter.grant("ada", agents="site == 'elsewhere'")
        assert not runs(ada, double, 1)


def test_a_function_that_is_granted_by_name_runs_and_no_other_does(fleet, granter):
    fleet.add("pi")
    with fleet.connect() as owner:
        owner.register(describe)
    granter.grant("ada", "owner/describe@*", per_hour=2)
    with opened(user(fleet, "ada")) as ada:
        until(lambda: runs(ada, "describe@1", 1))
        assert ada.submit(describe, 2).result(timeout=WITHIN_S) == "described 2"
        assert not runs(ada, double, 1)
        with pytest.raises(NotAllowedError, match=r"quota of grant .*: 2 calls an hour"):
            ada.submit("describe", 3).result(timeout=WITHIN_S)


def test_grants_hold_over_a_restart_of_server_and_agent_and_so_does_their_end(fleet, granter):
    fleet.add("pi")
    granter.grant("ada")
    with opened(user(fleet, "ada")) as ada:
        until(lambda: runs(ada, double, 1))
        fleet.restart_server()
        assert ada.submit(double, 2).result(timeout=WITHIN_S) == 4
        fleet.kill("pi")
        fleet.add("pi")
        assert ada.submit(double, 3, wait=WITHIN_S).result(timeout=WITHIN_S) == 6


def test_whom_the_account_says_to_be_revoked_is_out_though_it_is_connected(fleet, granter):
    fleet.add("pi")
    access = user(fleet, "root", "admin")
    with opened(access) as root:
        assert runs(root, double, 1)
        authority = Authority.load(fleet.directory / "server" / "keys.json")
        now = int(time.time()) + 1
        key = peek(access.jwt, User).sub
        granter.put(subjects.ACCOUNT_KEY, authority.account_token(now, {key: now}))
        until(lambda: not runs(root, double, 1), REVOKED_WITHIN_S)
        with pytest.raises(NotAllowedError, match="was revoked"):
            root.submit(double, 1).result(timeout=WITHIN_S)


# -- as people do it -----------------------------------------------------------------------------


def test_an_administrator_shares_and_takes_back_and_a_client_may_not(home, capsys):
    made, owner, first = new_mesh()
    with Serving(made):
        agent_access, _ = asking.enrol(first, agent=True, name="pi")
        path = home / "pi.json"
        agent_access.save(path)
        agent = launch(path, AgentOptions(name="pi"), log=home / "pi.log", lifeline=True)
        agent.wait_ready()
        try:
            _share_and_take_back(owner, capsys)
        finally:
            agent.end(5.0)


def _share_and_take_back(owner, capsys):
    contexts.save("lab", owner)
    invited = invite(owner, "client", groups=("beam",))
    ada, _ = asking.enrol(invited, agent=False, name="ada")
    contexts.save("ada", ada)
    with opened(owner) as mesh, opened(ada) as hers:
        mesh.register(describe)
        assert not runs(hers, "describe@1", 1)
        shared = mesh.share("describe@1", with_group="beam", until="1h", per_hour=100)
        assert (shared.to, shared.functions, shared.per_hour) == (
            "group:beam",
            ("owner/describe@1",),
            100,
        )
        assert mesh.grants() == hers.grants() == [shared]
        until(lambda: runs(hers, "describe@1", 1))
        assert not runs(hers, double, 1)
        # A name that is granted is whose it was when it was.
        hers.register(double, name="describe")
        assert not runs(hers, "describe@1", 1)
        assert runs(hers, "owner/describe@1", 1)
        told = ["grant", "ada", "--context", "lab", "--functions"]
        assert main([*told, "other@*"]) == 1
        assert "no function is registered as 'other'" in capsys.readouterr().err
        assert main([*told, "ada/describe@*", "--functions", "describe", "--json"]) == 0
        second = json.loads(capsys.readouterr().out)
        assert second["functions"] == ["ada/describe@*", "owner/describe"]
        until(lambda: runs(hers, "describe@1", 1))
        assert main(["grant", "revoke", second["id"], "--context", "lab"]) == 0
        assert main(["grants", "--context", "ada"]) == 0
        assert "group:beam" in capsys.readouterr().out
        assert main(["grant", "revoke", shared.id, "--context", "ada"]) == 1
        assert "only an admin may do that" in capsys.readouterr().err
        assert main(["grant", "revoke", shared.id[:-1] + "x", "--context", "lab"]) == 1
        assert "did you mean" in capsys.readouterr().err
        assert main(["grant", "revoke", shared.id, "--context", "lab"]) == 0
        until(lambda: not runs(hers, "owner/describe@1", 1), REVOKED_WITHIN_S)
        assert mesh.grants() == []
        capsys.readouterr()
        told = ["grant", "ada", "--functions", "any", "--agents", "site=local", "--quota", "5/h"]
        assert main([*told, "--until", "7d", "--context", "lab", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        assert (made["agents"], made["per_hour"]) == ("site == 'local'", 5)
        until(lambda: runs(hers, double, 1))
        # Who is thrown out may run nothing any more, and agents know it by themselves.
        registrar.ask_as_admin(owner, Revoke(name="ada"), Revoked)
        with pytest.raises(MeshError):
            hers.share("any", with_user="ada")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (["grant", "ada"], "say what ada may run"),
        (["grant", "revoke"], "say which grant"),
        (["grant", "ada", "--functions", "f", "--quota", "5"], "give calls an hour, like 100/h"),
    ],
)
def test_a_grant_that_is_not_said_to_its_end_is_asked_for(home, told, said, capsys):
    _, owner, _ = new_mesh()
    contexts.save("lab", owner)
    assert main([*told, "--context", "lab"]) == 1
    assert said in capsys.readouterr().err
