"""Grants as they come, go, and are kept for when the mesh is away, in a network in memory."""

from __future__ import annotations

import stat

import pytest

from gossamer_agent.policy import Policy
from gossamer_agent.rules import Rules
from gossamer_agent.sentry import Sentry
from gossamer_mesh import kept, registered, subjects
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import GrantPart
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.identity.witness import Witness
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.wire import Job
from tests.unit.agent.test_gate import code_of, entry_of
from tests.unit.sdk.desk import a_document

NOW = 1_000_000
MESH = Authority.new("lab")
ADA = KeyPair.new("user").public


class Scene:
    def __init__(self, tmp_path):
        self.network = MemoryNetwork(1)
        self.copy = tmp_path / "grants.json"
        self.told = []
        self.readied = []
        writer = self.network.link("writer")
        self.bucket = writer.key_value(subjects.GRANTS_BUCKET)
        self.writer = writer
        self.start()

    def start(self):
        """Start the agent anew."""
        self.policy = Policy("pi", Rules(), Witness(MESH.account_token(NOW)))
        self.policy.met("ada.1", MESH.issuer("client").vouch("ada", ADA, NOW), NOW)
        self.sentry = Sentry(
            self.network.link("pi"),
            self.policy,
            a_document("pi", site="field", labels={"room": "2"}),
            self.copy,
            told=self.told.append,
            ready=lambda: self.readied.append(True),
        )
        self.run()

    def run(self):
        self.network.run_until_idle()
        assert not self.network.raised

    def grant(self, *functions, key="", authority=MESH, ttl_s=0, alter=str, **part):
        part = GrantPart(functions=functions or ("any",), **part)
        number, made = authority.grant("ada", part, NOW, ttl_s)
        key = key or number
        self.put(key, alter(made).encode())
        return key

    def put(self, key, value):
        self.bucket.put(key, value, lambda _: None)
        self.run()

    def delete(self, key):
        self.bucket.delete(key, lambda _: None)
        self.run()

    def may(self, name="f", now=NOW):
        job = Job(code_of(name).digest, name)
        return self.policy.verdict("ada.1", job, now).refusal is None


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_a_grant_holds_from_when_it_is_there_until_it_is_taken_back(scene):
    assert not scene.may()
    assert scene.readied == [True]
    told = len(scene.told)
    key = scene.grant()
    assert scene.may()
    assert len(scene.told) > told
    scene.delete(key)
    assert not scene.may()


def test_grants_are_for_the_agents_that_they_are_about(scene):
    scene.grant(agents="site == 'lab'")
    assert not scene.may()
    scene.grant(agents="site == 'field' and labels.room == '2'")
    assert scene.may()


@pytest.mark.parametrize(
    "fault",
    [
        {"authority": Authority.new("lab")},
        {"alter": lambda made: made[:-8] + "AAAAAAAA"},
        {"alter": lambda made: made[:40]},
        {"key": "another"},
        {"agents": "((("},
        {"functions": "a.b"},
        {"functions": "f@*"},
    ],
)
def test_what_is_forged_altered_misplaced_or_not_understood_grants_nothing(scene, fault):
    functions = [fault.pop("functions")] if "functions" in fault else []
    scene.grant(*functions, **fault)
    assert not scene.may()
    scene.grant()
    assert scene.may()


def test_an_expired_grant_that_is_put_there_again_grants_nothing(scene):
    scene.grant(ttl_s=60)
    assert scene.may(now=NOW + 59)
    assert not scene.may(now=NOW + 61)


def test_grants_outlive_the_agent_where_the_mesh_is_away_until_they_expire(scene):
    scene.grant(ttl_s=60)
    assert stat.S_IMODE(scene.copy.stat().st_mode) == 0o600
    scene.network.server_down()
    scene.start()
    assert scene.may(now=NOW + 59)
    assert not scene.may(now=NOW + 60)


def test_what_was_taken_back_meanwhile_ends_on_return(scene):
    key = scene.grant()
    scene.sentry.close()
    scene.delete(key)
    kept_before = scene.copy.read_bytes()
    assert key.encode() in kept_before
    scene.start()
    assert not scene.may()
    assert key.encode() not in scene.copy.read_bytes()


def test_a_copy_that_cannot_be_read_is_no_grant_and_no_end(scene):
    scene.sentry.close()
    scene.copy.write_text("{")
    scene.start()
    assert not scene.may()
    scene.grant()
    assert scene.may()


def test_a_mesh_without_grants_leaves_no_file(scene):
    assert not scene.copy.exists()


def test_whom_the_account_revokes_is_out_at_once_and_stays_out_offline(scene):
    scene.grant()
    scene.put(subjects.ACCOUNT_KEY, MESH.account_token(NOW + 1, {ADA: NOW + 1}).encode())
    assert not scene.may()
    scene.network.server_down()
    scene.start()
    assert not scene.may()


def test_another_account_revokes_nobody(scene):
    scene.grant()
    other = Authority.new("lab")
    scene.put(subjects.ACCOUNT_KEY, other.account_token(NOW + 1, {"*": NOW + 1}).encode())
    assert scene.may()


def test_functions_that_are_granted_by_name_are_fetched_from_the_registry(scene):
    scene.grant("ann/f@*")
    assert not scene.may()
    entry = entry_of("f", version=3)
    code = scene.writer.key_value(subjects.CODE_BUCKET)
    code.put(entry.code_key, kept.pack(code_of("f")), lambda _: None)
    functions = scene.writer.key_value(subjects.FUNCTIONS_BUCKET)
    functions.put(entry.key, registered.encode(entry), lambda _: None)
    scene.run()
    assert scene.may("f")
    assert not scene.may("g")
    rival = entry_of("f", 9, code_of("g"), owner="eve")
    code.put(rival.code_key, kept.pack(code_of("g")), lambda _: None)
    functions.put(rival.key, registered.encode(rival), lambda _: None)
    scene.run()
    assert not scene.may("g")
    assert scene.told[-1] == {code_of("f").digest: code_of("f").code}
    functions.delete(entry.key, lambda _: None)
    scene.run()
    assert not scene.may("f")
    assert scene.told[-1] == {}
