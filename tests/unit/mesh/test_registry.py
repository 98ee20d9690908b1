"""The registered functions as one party sees them, over a network in memory."""

from __future__ import annotations

import pytest

from gossamer_mesh import registered, subjects
from gossamer_mesh.errors import ServerError
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.registered import Registered
from gossamer_mesh.registry import Registry
from gossamer_mesh.watched import RETRY_S


def entry(name="f", version=1, digest=b"d"):
    return Registered(name=name, version=version, digest=digest, content="c")


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
    assert scene.all() == ["f@10", "f@9", "f@2", "g@1"]
    assert registry.find("f") == registry.newest("f") == entry(version=10)
    assert registry.find("f", 2) == entry(version=2)
    assert registry.find("f", 3) is registry.find("h") is registry.newest("h") is None
    assert registry.names() == ["f", "g"]


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
    scene.registry.drop("nonsense")
    assert scene.registry.epoch == 3


def test_what_cannot_be_decoded_is_counted_and_takes_the_place_of_what_could(scene):
    scene.put(entry(), entry(version=2))
    scene.put_bytes("f.2", b"nonsense")
    scene.put_bytes("g.1", registered.encode(entry("h")))
    assert scene.registry.warnings == 2
    assert scene.all() == ["f@1"]


def test_without_buckets_it_says_why_and_tries_again():
    scene = Scene(jetstream=False)
    assert isinstance(scene.registry.trouble, ServerError)
    assert not scene.registry.read
    scene.network.jetstream = True
    scene.network.run_for(RETRY_S + 0.1)
    scene.put(entry())
    assert scene.registry.trouble is None
    assert scene.all() == ["f@1"]


def test_it_goes_on_after_the_server_was_away(scene):
    scene.network.server_down()
    scene.network.run_for(1.0)
    scene.network.server_up()
    scene.network.run_for(1.0)
    scene.put(entry())
    assert scene.all() == ["f@1"]


def test_closed_it_hears_no_more(scene):
    scene.registry.close()
    scene.put(entry())
    assert scene.all() == []
