"""The registered functions as one party sees them, over a network in memory."""

from __future__ import annotations

import pytest

from gossamer_mesh import registered, subjects
from gossamer_mesh.errors import AmbiguousNameError, ServerError
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.registered import Registered
from gossamer_mesh.registry import Registry
from gossamer_mesh.watched import RETRY_S


def entry(name="f", version=1, digest=b"d", owner="ann"):
    return Registered(owner=owner, name=name, version=version, digest=digest, content="c")


class Scene:
    """One who reads and one who writes."""

    def __init__(self, **network):
        self.network = MemoryNetwork(1, **network)
        self.writer = self.network.link("writer").key_value(subjects.FUNCTIONS_BUCKET)
        self.changes = 0
        self.registry = Registry(self.network.link("reader"), self.changed)
        self.network.run_until_idle()

    def changed(self):
        self.changes += 1

    def put(self, *entries):
        for each in entries:
            self.writer.put(each.key, registered.encode(each), lambda _: None)
        self.network.run_until_idle()

    def put_bytes(self, key, value):
        self.writer.put(key, value, lambda _: None)
        self.network.run_until_idle()

    def delete(self, each):
        self.writer.delete(each.key, lambda _: None)
        self.network.run_until_idle()

    def all(self):
        return [str(each) for each in self.registry]


@pytest.fixture
def scene():
    return Scene()


def test_what_is_registered_is_found_by_name_and_version_or_as_the_newest(scene):
    scene.put(entry("g"), entry(version=2), entry(version=10), entry(version=9))
    registry = scene.registry
    assert scene.all() == ["ann/f@10", "ann/f@9", "ann/f@2", "ann/g@1"]
    assert registry.find("ann", "f") == registry.newest("ann", "f") == entry(version=10)
    assert registry.find("ann", "f", 2) == entry(version=2)
    assert registry.find("ann", "f", 3) is registry.find("ann", "h") is None
    assert registry.newest("bob", "f") is registry.newest("ann", "h") is None
    assert (registry.names(), len(registry)) == (["f", "g"], 2)


def test_a_name_is_ones_own_or_else_the_only_ones_or_it_is_said_whose_there_are(scene):
    registry, plain = scene.registry, registered.parse("f@3")
    assert registry.whose(plain, "ann") is None
    scene.put(entry(owner="bob"))
    assert registry.whose(plain, "ann") == registry.whose(plain, "bob") == "bob"
    scene.put(entry(owner="cy", version=3))
    assert registry.owners("f") == ("bob", "cy")
    assert registry.whose(plain, "cy") == "cy"
    assert registry.whose(registered.parse("nobody/f"), "cy") == "nobody"
    with pytest.raises(
        AmbiguousNameError, match=r"^f is registered by bob and by cy: say whose, as in 'bob/f@3'$"
    ):
        registry.whose(plain, "ann")
    scene.delete(entry(owner="bob"))
    assert registry.whose(plain, "ann") == "cy"
    scene.delete(entry(owner="cy", version=3))
    assert (registry.owners("f"), registry.names(), len(registry)) == ((), [], 0)


def test_of_very_many_owners_some_are_told(scene):
    scene.put(*(entry(owner=f"o{number}") for number in range(9)))
    with pytest.raises(AmbiguousNameError, match=r"by o0, by o1, by o2, by o3 and by 5 others: "):
        scene.registry.whose(registered.parse("f"), "ann")


def test_versions_are_each_owners_own(scene):
    scene.put(entry(), entry(owner="bob", version=7), entry(version=2))
    assert scene.all() == ["ann/f@2", "ann/f@1", "bob/f@7"]
    scene.delete(entry(version=2))
    assert scene.registry.newest("ann", "f") == entry()
    assert scene.registry.newest("bob", "f") == entry(owner="bob", version=7)


def test_all_that_was_there_is_read_before_it_says_so(scene):
    scene.put(*(entry(version=version) for version in range(1, 20)))
    link = scene.network.link("another")
    seen = []
    another = Registry(link, lambda: seen.append(len(list(another))))
    scene.network.run_until_idle()
    assert seen == [19]
    assert another.read


def test_each_change_is_a_new_epoch_and_what_is_no_change_is_none(scene):
    assert (scene.registry.read, scene.registry.epoch) == (True, 1)
    scene.put(entry())
    scene.put(entry())
    assert (scene.registry.epoch, scene.changes) == (2, 2)
    scene.registry.put(entry())
    assert scene.registry.epoch == 2
    scene.delete(entry())
    scene.delete(entry())
    assert (scene.registry.epoch, scene.all()) == (3, [])
    for key in ("nonsense", "ann.f", "ann.f.x", ""):
        scene.registry.drop(key)
    assert scene.registry.epoch == 3


def test_what_cannot_be_decoded_is_counted_and_takes_the_place_of_what_could(scene):
    scene.put(entry(), entry(version=2))
    scene.put_bytes("ann.f.2", b"nonsense")
    scene.put_bytes("ann.g.1", registered.encode(entry("h")))
    scene.put_bytes("bob.f.1", registered.encode(entry()))
    # As they were kept before they had owners.
    scene.put_bytes("f.1", registered.encode(entry()))
    assert scene.registry.warnings == 4
    assert scene.all() == ["ann/f@1"]


def test_without_buckets_it_says_why_and_tries_again():
    scene = Scene(jetstream=False)
    assert isinstance(scene.registry.trouble, ServerError)
    assert not scene.registry.read
    scene.network.jetstream = True
    scene.network.run_for(RETRY_S + 0.1)
    scene.put(entry())
    assert scene.registry.trouble is None
    assert scene.all() == ["ann/f@1"]


def test_it_goes_on_after_the_server_was_away(scene):
    scene.network.server_down()
    scene.network.run_for(1.0)
    scene.network.server_up()
    scene.network.run_for(1.0)
    scene.put(entry())
    assert scene.all() == ["ann/f@1"]


def test_closed_it_hears_no_more(scene):
    scene.registry.close()
    scene.put(entry())
    assert scene.all() == []
