from __future__ import annotations

import msgspec
import pytest

from gossamer_mesh import capability, subjects, wire
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.directory import Directory, DirectoryUnavailable, DocumentsRead
from gossamer_mesh.link.memory import MemoryNetwork
from gossamer_mesh.membership import Changed, Dead, Joined, Reincarnated, Suspect
from gossamer_mesh.watched import RETRY_S


def state(seq=1, free=4):
    return wire.AgentState(seq=seq, slots=4, free=free, queued=0, queue_s=0.0, room=8)


def document(agent="a", incarnation=1, revision=1):
    return Capabilities(
        agent=agent,
        site="here",
        incarnation=incarnation,
        revision=revision,
        host="host",
        slots=4,
        python="3.11",
    )


class Scene:
    """A client's directory and an agent's link in one network."""

    def __init__(self, **network):
        self.network = MemoryNetwork(1, **network)
        self.agent = self.network.link("a")
        self.client = self.network.link("client")
        self.told = []
        self.directory = self.open()

    def open(self):
        return Directory(self.client, self.told.append)

    def news(self):
        """Let what was sent arrive; return what was told since the last time."""
        self.network.run_until_idle()
        told = self.told.copy()
        self.told.clear()
        return told

    def put(self, agent="a", incarnation=1, revision=1):
        value = capability.encode(document(agent, incarnation, revision))
        self.put_bytes(agent, value)

    def put_bytes(self, key, value):
        self.agent.key_value(subjects.AGENTS_BUCKET).put(key, value, lambda _: None)

    def withdraw(self, agent="a"):
        self.agent.key_value(subjects.AGENTS_BUCKET).delete(agent, lambda _: None)

    def beat(
        self,
        agent="a",
        incarnation=1,
        revision=1,
        seq=1,
        interval_s=10.0,
        subject=None,
        coordinate=(),
    ):
        beat = wire.Heartbeat(
            agent, "here", incarnation, revision, interval_s, state(seq), coordinate
        )
        self.agent.publish(subject or subjects.heartbeat("here", agent), wire.encode(beat))


@pytest.fixture
def scene():
    made = Scene()
    assert made.news() == [DocumentsRead(0)]
    yield made
    assert made.network.raised == []


JOINED = Joined("a", "here", 1, 1, state())


def test_an_agent_is_listed_once_its_document_and_a_heartbeat_are_here(scene):
    scene.put()
    assert scene.news() == []
    assert dict(scene.directory.listed) == {}
    scene.beat()
    assert scene.news() == [JOINED]
    listing = scene.directory.listed["a"]
    assert (listing.document, listing.state, listing.suspect) == (document(), state(), False)


def test_the_heartbeat_may_come_before_the_document(scene):
    scene.beat()
    assert scene.news() == []
    assert dict(scene.directory.listed) == {}
    scene.put()
    assert scene.news() == [JOINED]


def test_a_document_of_another_incarnation_lists_nothing(scene):
    scene.put(incarnation=1)
    scene.beat(incarnation=2)
    assert scene.news() == []
    scene.put(incarnation=2)
    assert scene.news() == [Joined("a", "here", 2, 1, state())]


def test_a_fresh_client_pings_the_documents_it_finds_and_lists_who_answers():
    scene = Scene()
    scene.directory.close()
    for agent in ("a", "killed"):
        scene.put(agent)
    scene.network.run_until_idle()
    scene.told.clear()
    late = scene.open()
    assert scene.news() == [DocumentsRead(2)]
    assert late.read
    assert late.unconfirmed() == [("a", 1), ("killed", 1)]
    late.confirm("a", 1, state())
    late.no_responders("killed")
    assert scene.news() == [JOINED]
    assert late.unconfirmed() == []
    assert list(late.listed) == ["a"]


def test_an_agent_that_was_ruled_out_may_come_back_later(scene):
    scene.put()
    scene.news()
    scene.directory.no_responders("a")
    assert scene.directory.unconfirmed() == []
    scene.beat()
    assert scene.news() == [JOINED]


def test_a_restarted_agent_that_was_ruled_out_before_is_worth_a_ping(scene):
    scene.put()
    scene.news()
    scene.directory.no_responders("a")
    scene.put(incarnation=2)
    scene.news()
    assert scene.directory.unconfirmed() == [("a", 2)]


def test_newer_states_reach_the_listing(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.directory.confirm("a", 1, state(7, free=0))
    assert scene.news() == [Changed("a", 1, 1, state(7, free=0))]
    assert scene.directory.listed["a"].state.free == 0
    scene.directory.confirm("a", 1, state(6))
    assert scene.news() == []


def test_a_newer_document_reaches_the_listing(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.put(revision=2)
    assert scene.news() == [Changed("a", 1, 2, state())]
    assert scene.directory.listed["a"].document.revision == 2
    scene.put(revision=1)
    assert scene.news() == []
    assert scene.directory.listed["a"].document.revision == 2


def test_silence_makes_a_suspect_then_unlists(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.network.run_for(26.0)
    assert scene.news() == [Suspect("a", 1)]
    assert scene.directory.listed["a"].suspect
    scene.beat()
    assert scene.news() == [Changed("a", 1, 1, state())]
    assert not scene.directory.listed["a"].suspect
    scene.network.run_for(31.0)
    assert scene.news() == [Suspect("a", 1), Dead("a", 1, "silent")]
    assert dict(scene.directory.listed) == {}
    # It was heard once, so it is not asked whether it is there.
    assert scene.directory.unconfirmed() == []


def test_an_agent_with_a_shorter_interval_is_missed_sooner(scene):
    scene.put()
    scene.beat()
    scene.put("b")
    scene.beat("b", interval_s=1.0)
    scene.news()
    scene.network.run_for(3.1)
    assert scene.news() == [Suspect("b", 1), Dead("b", 1, "silent")]
    assert list(scene.directory.listed) == ["a"]


def test_no_responders_unlists_at_once(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.directory.no_responders("a")
    assert scene.news() == [Dead("a", 1, "no responders")]
    scene.beat()
    assert scene.news() == [JOINED]


def test_an_agent_whose_last_document_says_so_has_left(scene):
    scene.put()
    scene.beat()
    scene.news()
    last = msgspec.structs.replace(document(revision=2), left=True)
    scene.put_bytes("a", capability.encode(last))
    assert scene.news() == [Dead("a", 1, "left")]
    assert scene.directory.listed == {}
    assert scene.directory.unconfirmed() == []


def test_the_last_document_of_an_agent_that_nobody_knew_is_no_news(scene):
    scene.put_bytes("a", capability.encode(msgspec.structs.replace(document(), left=True)))
    assert scene.news() == []
    assert scene.directory.unconfirmed() == []
    scene.put(incarnation=2)
    scene.beat(incarnation=2)
    assert [type(event) for event in scene.news()] == [Joined]


def test_an_agent_that_withdraws_its_document_has_left(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.withdraw()
    assert scene.news() == [Dead("a", 1, "left")]
    scene.beat(seq=2)
    assert scene.news() == []
    scene.withdraw("stranger")
    assert scene.news() == []


def test_a_new_incarnation_ends_the_old_and_joins_with_its_document(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.beat(incarnation=2)
    assert scene.news() == [Reincarnated("a", 1, 2)]
    assert dict(scene.directory.listed) == {}
    scene.put(incarnation=2)
    assert scene.news() == [Joined("a", "here", 2, 1, state())]


def test_the_document_of_a_new_incarnation_waits_for_its_first_heartbeat(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.put(incarnation=2)
    assert scene.news() == []
    assert scene.directory.listed["a"].document.incarnation == 1
    assert scene.directory.unconfirmed() == [("a", 2)]
    scene.beat(incarnation=2)
    assert scene.news() == [Reincarnated("a", 1, 2), Joined("a", "here", 2, 1, state())]


def test_what_cannot_be_decoded_is_counted_and_ignored(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.agent.publish(subjects.heartbeat("here", "a"), b"\xff nonsense")
    scene.put_bytes("b", b"\xff nonsense")
    scene.put_bytes("c", capability.encode(document("somebody-else")))
    scene.beat("victim", subject=subjects.heartbeat("here", "liar"))
    assert scene.news() == []
    assert scene.directory.warnings == 4
    assert list(scene.directory.listed) == ["a"]


def test_an_outage_of_the_server_kills_nobody(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.network.server_down()
    scene.network.run_for(500.0)
    scene.network.server_up()
    assert scene.news() == []
    scene.network.run_for(20.0)
    scene.beat()
    scene.network.run_for(20.0)
    assert scene.news() == []
    assert list(scene.directory.listed) == ["a"]


def test_without_a_bucket_it_says_why_and_tries_again():
    scene = Scene(jetstream=False)
    (event,) = scene.news()
    assert isinstance(event, DirectoryUnavailable)
    assert "JetStream" in event.reason
    scene.beat()
    assert scene.news() == []
    scene.network.jetstream = True
    scene.put()
    scene.network.run_for(RETRY_S)
    assert scene.news() == [JOINED, DocumentsRead(1)]


def test_a_directory_opened_while_the_server_is_away_reads_when_it_is_back():
    scene = Scene()
    scene.directory.close()
    scene.news()
    scene.network.server_down()
    late = scene.open()
    assert [type(event) for event in scene.news()] == [DirectoryUnavailable]
    scene.network.server_up()
    assert DocumentsRead(0) in scene.news()
    scene.network.run_for(2 * RETRY_S)
    assert scene.news() == []
    assert late.read


def test_a_closed_directory_tells_nothing(scene):
    scene.put()
    scene.beat()
    scene.news()
    scene.directory.close()
    scene.put(revision=2)
    scene.beat(seq=2)
    scene.network.run_for(100.0)
    assert scene.news() == []


def test_the_view_of_the_listed_cannot_be_changed(scene):
    with pytest.raises(TypeError):
        scene.directory.listed["a"] = None


def test_a_thousand_agents_and_their_deaths(scene):
    agents = [f"n{number:04}" for number in range(1000)]
    for agent in agents:
        scene.put(agent)
        scene.beat(agent)
    assert len(scene.news()) == 1000
    for agent in agents[::2]:
        scene.directory.no_responders(agent)
    assert len(scene.news()) == 500
    assert sorted(scene.directory.listed) == agents[1::2]
    scene.network.run_for(31.0)
    assert {type(event) for event in scene.news()} == {Suspect, Dead}
    assert dict(scene.directory.listed) == {}


def test_events_are_values():
    assert msgspec.structs.replace(JOINED, site="there") != JOINED


# -- where they are ------------------------------------------------------------------------------


def test_an_agent_that_moves_is_listed_where_it_is_now(scene):
    scene.put()
    scene.beat(coordinate=(1.0, 2.0, 3.0, 0.5))
    scene.news()
    scene.beat(seq=2, coordinate=(2.0, 2.0, 3.0, 0.5))
    scene.news()
    assert scene.directory.listed["a"].coordinate == (2.0, 2.0, 3.0, 0.5)
    scene.beat(seq=3)
    scene.news()
    assert scene.directory.listed["a"].coordinate == (2.0, 2.0, 3.0, 0.5)
