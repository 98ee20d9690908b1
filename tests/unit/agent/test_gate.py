"""What may run at an agent with an allow-list, as the registry changes, in a network in memory."""

from __future__ import annotations

import msgspec
import pytest

from gossamer_agent.allowance import Allowance
from gossamer_agent.gate import AGAIN_S, Gate
from gossamer_mesh import kept, registered, subjects
from gossamer_mesh.code.function import FunctionCode
from gossamer_mesh.code.include import Include
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.registered import Registered
from gossamer_mesh.watched import RETRY_S


def code_of(name):
    return FunctionCode(name.encode().ljust(16, b"."), name, f"code of {name}".encode(), "3.11")


def entry_of(name, version=1, code=None, **about):
    code = code or code_of(name)
    content = registered.kept_digest(kept.pack(code))
    return Registered(
        **{
            "owner": "ann",
            "name": name,
            "version": version,
            "digest": code.digest,
            "content": content,
            "stable": True,
            **about,
        }
    )


class Scene:
    def __init__(self, *rules, **network):
        self.network = MemoryNetwork(1, **network)
        self.told = []
        self.lapsed = {}
        writer = self.network.link("writer")
        self.functions = writer.key_value(subjects.FUNCTIONS_BUCKET)
        self.code = writer.key_value(subjects.CODE_BUCKET)
        self.rules = rules

    def open(self):
        self.gate = Gate(self.network.link("a"), Allowance(self.rules), self.tell)
        self.run()
        return self

    def tell(self, opening):
        self.told.append(opening.code)
        self.lapsed = opening.lapsed

    def run(self):
        self.network.run_until_idle()
        assert not self.network.raised

    def register(self, name, version=1, code=None, *, with_code=True, **about):
        entry = entry_of(name, version, code, **about)
        if with_code:
            self.code.put(entry.code_key, kept.pack(code or code_of(name)), lambda _: None)
        self.functions.put(entry.key, registered.encode(entry), lambda _: None)
        self.run()
        return entry

    def delete(self, entry):
        self.functions.delete(entry.key, lambda _: None)
        self.run()


def may_run(*names):
    return {code_of(name).digest: code_of(name).code for name in names}


def test_what_was_registered_before_is_known_at_once_with_its_code():
    scene = Scene("f", "g@1")
    scene.register("f")
    scene.register("g")
    scene.register("h")
    assert scene.open().told == [may_run("f", "g")]


def test_with_nothing_registered_nothing_may_run_and_that_is_told():
    assert Scene("f").open().told == [{}]


def test_what_is_registered_later_may_run_then_and_what_is_deleted_may_not_any_more():
    scene = Scene("f").open()
    entry = scene.register("f")
    scene.register("other")
    scene.delete(entry)
    assert scene.told == [{}, may_run("f"), {}]


def test_only_the_version_that_is_named_may_run():
    scene = Scene("f@2").open()
    scene.register("f", 1, code_of("one"))
    scene.register("f", 2, code_of("two"))
    scene.register("f", 3, code_of("three"))
    assert scene.told == [{}, may_run("two")]


@pytest.mark.parametrize("with_code", [True, False])
def test_code_that_is_false_or_lost_may_not_run(with_code):
    scene = Scene("f", "g")
    false = entry_of("f")
    if with_code:
        scene.code.put(false.code_key, b"something else", lambda _: None)
    scene.functions.put(false.key, registered.encode(false), lambda _: None)
    scene.register("g")
    assert scene.open().told == [may_run("g")]


def test_code_of_another_function_than_the_entry_claims_may_not_run():
    scene = Scene(code_of("f").digest.hex())
    scene.register("evil", code=code_of("evil"), digest=code_of("f").digest)
    assert scene.open().told == [{}]


def test_what_is_unstable_may_not_run():
    scene = Scene("f").open()
    scene.register("f", stable=False)
    assert scene.told == [{}]


def test_without_buckets_nothing_may_run_until_there_are():
    scene = Scene("f", jetstream=False).open()
    assert scene.told == [{}]
    scene.network.jetstream = True
    scene.register("f")
    scene.network.run_for(RETRY_S + 0.1)
    assert scene.told == [{}, may_run("f")]


def test_code_that_cannot_be_fetched_now_is_fetched_later():
    scene = Scene("f").open()
    scene.code.put(entry_of("f").code_key, kept.pack(code_of("f")), lambda _: None)
    scene.run()
    scene.gate._bucket = scene.network.link("nowhere").key_value(subjects.CODE_BUCKET)
    away = scene.gate._bucket._path
    away.disconnected()
    scene.register("f", with_code=False)
    assert scene.told == [{}]
    away.reconnected()
    scene.network.run_for(AGAIN_S + 0.1)
    assert scene.told == [{}, may_run("f")]


def test_closed_it_hears_no_more():
    scene = Scene("f").open()
    scene.gate.close()
    scene.register("f")
    assert scene.told == [{}]


def test_what_a_function_includes_comes_with_its_code():
    include = Include(b"i" * 16, "mypkg", b"zip")
    code = msgspec.structs.replace(code_of("f"), includes=(include,))
    scene = Scene("f").open()
    scene.register("f", code=code)
    assert scene.told[-1] == {code.digest: code.code, include.digest: include.content}


def test_a_name_without_an_owner_is_taken_over_by_nobody():
    scene = Scene("f").open()
    scene.register("f")
    rival = scene.register("f", code=code_of("evil"), owner="eve")
    assert scene.told == [{}, may_run("f"), {}]
    assert set(scene.lapsed) == {code_of("f").digest, code_of("evil").digest}
    scene.delete(rival)
    assert (scene.told[-1], scene.lapsed) == (may_run("f"), {})


def test_an_owners_name_holds_whoever_else_has_registered_one():
    scene = Scene("ann/f").open()
    scene.register("f", code=code_of("evil"), owner="eve")
    scene.register("f")
    assert (scene.told, scene.lapsed) == ([{}, may_run("f")], {})


def test_code_is_looked_for_under_its_owners_name_alone():
    scene = Scene("ann/f").open()
    entry = entry_of("f")
    scene.code.put(subjects.code_key("eve", entry.content), kept.pack(code_of("f")), lambda _: None)
    scene.register("f", with_code=False)
    assert scene.told == [{}]


def test_who_claims_the_digest_of_what_another_rule_allows_does_not_run_in_its_place():
    scene = Scene("ann/f", "eve/g").open()
    forged = msgspec.structs.replace(code_of("f"), code=b"evil")
    scene.register("g", code=forged, owner="eve")
    assert scene.told[-1] == {code_of("f").digest: b"evil"}
    scene.register("f")
    assert scene.told[-1] == may_run("f")


def test_of_two_entries_with_the_same_code_the_one_that_lies_about_it_is_not_believed():
    scene = Scene("eve/evil", "ann/f", "eve/g").open()
    scene.register("evil", owner="eve")
    content = entry_of("evil").content
    scene.register("g", with_code=False, owner="eve", digest=code_of("f").digest, content=content)
    assert code_of("f").digest not in scene.told[-1]
