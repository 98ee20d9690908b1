"""JetStream: streams are nobody's, a key is its owner's, what it sends counts for nothing."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable

import pytest

from gossamer_mesh import capability, permissions, subjects, wire
from gossamer_mesh.wire import Call, Drain, Job, Run
from tests.matrix.conftest import AGENT, KNOWN, PEOPLE, Scene, row, say_in_vain
from tests.matrix.people import until

STREAMS = [f"KV_{bucket}" for bucket in subjects.BUCKETS]
SECRET = [f"KV_{bucket}" for bucket in subjects.BUCKETS if bucket not in permissions.READ]
VERBS = ("DELETE", "PURGE", "UPDATE", "MSG.DELETE", "SNAPSHOT", "RESTORE")
ASKS = [
    *[f"$JS.API.STREAM.{verb}.{stream}" for stream in STREAMS for verb in VERBS],
    *[
        f"$JS.API.{verb}.{stream}"
        for stream in SECRET
        for verb in ("STREAM.MSG.GET", "STREAM.INFO", "CONSUMER.CREATE")
    ],
    *[f"$JS.API.DIRECT.GET.{stream}" for stream in SECRET],
    "$JS.API.STREAM.CREATE.SPY",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAMS[0]}.spy",
    "$JS.API.CONSUMER.CREATE.SPY",
    f"$JS.API.CONSUMER.NAMES.{STREAMS[0]}",
    f"$JS.API.CONSUMER.MSG.NEXT.{STREAMS[0]}.spy",
]
WHERE = f"KV_{subjects.FUNCTIONS_BUCKET}"
_numbers = itertools.count(1)
TAKES_S = 0.5


def config(stream: str) -> bytes:
    return json.dumps({"name": stream, "subjects": ["gsm.>"], "storage": "memory"}).encode()


def streams(scene: Scene) -> dict[str, int]:
    """Return the messages of each stream."""
    listed = json.loads(scene.sees.ask("$JS.API.STREAM.LIST", b""))["streams"]
    return {each["config"]["name"]: each["state"]["messages"] for each in listed}


@pytest.mark.parametrize("who", ["client eve", "agent rogue"])
@pytest.mark.parametrize("ask", ASKS)
def test_nobody_touches_a_stream(scene: Scene, who: str, ask: str) -> None:
    before = streams(scene)
    say_in_vain(scene, who, ask, f"_INBOX.{PEOPLE[who][1]}.answer")
    assert streams(scene) == before


@pytest.mark.parametrize("verb", ["DELETE", "PURGE", "UPDATE"])
def test_the_founder_founds_and_no_more(scene: Scene, verb: str) -> None:
    before = streams(scene)
    say_in_vain(scene, "founder fay", f"$JS.API.STREAM.{verb}.{STREAMS[0]}", "_INBOX.fay.answer")
    assert streams(scene) == before


@pytest.mark.parametrize("stream", STREAMS)
def test_the_founder_does_not_found_anew_what_is_there(scene: Scene, stream: str) -> None:
    before = streams(scene)
    fay = scene.person("founder fay")
    answer = json.loads(fay.ask(f"$JS.API.STREAM.CREATE.{stream}", config(stream)))
    row(f"{stream} made anew, of all subjects", "founder fay", "refused", "who tried (error)")
    assert "already in use" in answer["error"]["description"]
    assert streams(scene) == before


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("bucket", subjects.BUCKETS)
def test_nobody_writes_anothers_key(scene: Scene, who: str, bucket: str) -> None:
    """What administrators may write of the registry: see `test_registry`."""
    say_in_vain(scene, who, subjects.written(bucket, AGENT), f"_INBOX.{PEOPLE[who][1]}.answer")


def test_a_client_has_no_document_not_even_its_own(scene: Scene) -> None:
    say_in_vain(scene, "client eve", subjects.written(subjects.AGENTS_BUCKET, "eve"))


# -- JetStream, asked to answer in another's place -------------------------------------------------


def deliver(scene: Scene, value: bytes, subject: str) -> None:
    """Have JetStream send what eve has put to a subject on which she may not speak herself.

    This server sends nothing where nobody listens to just that subject, and on a mesh hardly
    anybody does; we do, for her. Return when it has been sent.
    """
    eve, name = scene.person("client eve"), f"c{next(_numbers)}"
    key = subjects.function_key("eve", name, 1)
    mine = subjects.kept(subjects.FUNCTIONS_BUCKET, key)
    put = subjects.written(subjects.FUNCTIONS_BUCKET, key)
    assert "error" not in json.loads(eve.ask(put, value))
    scene.sees.hear(subject)
    scene.sees.heard()
    wanted = {
        "deliver_subject": subject,
        "ack_policy": "none",
        "deliver_policy": "all",
        "filter_subject": mine,
        "name": name,
        "mem_storage": True,
    }
    body = json.dumps({"stream_name": WHERE, "config": wanted}).encode()
    answer = json.loads(eve.ask(f"$JS.API.CONSUMER.CREATE.{WHERE}.{name}.{mine}", body))
    assert "error" not in answer, answer
    until(lambda: any(each.data == value for each in scene.sees.heard()))


def ignored(scene: Scene, pattern: str) -> None:
    """Return when the agent has said that it has ignored what came there."""
    until(lambda: f"a message to {pattern} was ignored" in scene.agent_log("bay"))


def incarnation(scene: Scene) -> int:
    return scene.client._client._directory.listed["bay"].document.incarnation


def a_run(scene: Scene) -> bytes:
    job = Job(b"0" * 16, "forged")
    return wire.encode(Run(incarnation(scene), job, [Call(1, 1, b"")]))


def spoken(scene: Scene, subject: str) -> list[bytes]:
    return [heard.data for heard in scene.sees.heard() if heard.subject == subject]


def test_a_run_that_jetstream_brings_is_not_run(scene: Scene) -> None:
    ada = subjects.session("ada", "s1")
    subject, answers = subjects.run("bay", ada), subjects.out(ada, "bay")
    deliver(scene, a_run(scene), subject)
    ignored(scene, subjects.all_runs("bay"))
    time.sleep(TAKES_S)
    assert not spoken(scene, answers)
    # The same, said by who may say it, is taken.
    scene.sees.say(subject, a_run(scene))
    until(lambda: spoken(scene, answers))
    row("a call in ada's name, by a consumer of one's own", "client eve", "ignored", "agent (log)")


def test_a_drain_that_jetstream_brings_drains_nobody(scene: Scene) -> None:
    subject = subjects.control("bay", subjects.session("ada", "s1"))
    deliver(scene, wire.encode(Drain()), subject)
    ignored(scene, subjects.all_controls("bay"))
    assert scene.client.options(on="bay").submit(abs, -2).result(20) == 2
    row("a drain in ada's name, by a consumer", "client eve", "ignored", "agent (log)")


def test_a_result_that_jetstream_brings_is_none(scene: Scene) -> None:
    link = scene.client._client._link
    subject = subjects.out(scene.caller, "bay")
    task = scene.client.options(on="bay").submit(time.sleep, 1.0)
    before = link.refused
    deliver(scene, forged_results(scene), subject)
    until(lambda: link.refused > before)
    assert task.result(20) is None
    row("a result in an agent's name, by a consumer", "client eve", "ignored", "client (log)")


def forged_results(scene: Scene) -> bytes:
    state = wire.AgentState(10**6, 1, 1, 0, 0.0, 1)
    done = [wire.Done(number, 1, "error", note="forged") for number in range(1, 200)]
    return wire.encode(wire.Out(10**6, incarnation(scene), state, [*done]))


def test_a_heartbeat_that_jetstream_brings_is_none(scene: Scene) -> None:
    link = scene.client._client._link
    before, known = link.refused, incarnation(scene)
    state = wire.AgentState(1, 1, 1, 0, 0.0, 1)
    beat = wire.encode(wire.Heartbeat("bay", "field", 2**60, 1, 10.0, state))
    deliver(scene, beat, subjects.heartbeat("field", "bay"))
    until(lambda: link.refused > before)
    assert incarnation(scene) == known
    row("a heartbeat in an agent's name, by a consumer", "client eve", "ignored", "client (log)")


def test_blobs_names_and_answers_that_jetstream_brings_are_none(scene: Scene) -> None:
    asker, claim = subjects.session("ada", "s1"), wire.encode(wire.Claim("bay", 1, "elsewhere"))
    for subject, pattern in (
        (subjects.blob("bay", asker), subjects.all_blobs("bay")),
        (subjects.join_claim("bay"), subjects.join_claim("bay")),
    ):
        deliver(scene, claim, subject)
        ignored(scene, pattern)
        row(f"{subject}, by a consumer", "client eve", "ignored", "agent (log)")
    deliver(scene, claim, subjects.inbox(scene.caller, "bay", 1))
    assert scene.client.options(on="bay").submit(abs, -3).result(20) == 3
    row('"nobody is there", by a consumer', "client eve", "ignored", "nobody")


@pytest.mark.parametrize("spell", [subjects.kept, subjects.written])
def test_jetstream_writes_no_document_for_anybody(
    scene: Scene, spell: Callable[[str, str], str]
) -> None:
    """By a consumer that delivers to where another's document is written, or is found."""
    found = capability.encode(scene.client._client._directory.listed["bay"].document)
    forged = found.replace(b"bay", b"bad")
    key = spell(subjects.AGENTS_BUCKET, "bay")
    deliver(scene, forged, key)
    time.sleep(TAKES_S)
    # Its owner may have written it anew meanwhile.
    kept = base64.b64decode(str(last(scene, subjects.AGENTS_BUCKET, "bay")["data"]))
    happened = "IT WAS WRITTEN" if kept == forged else "nothing"
    row(f"another's document at {key}, by a consumer", "client eve", happened, "nobody")
    assert kept != forged


def last(scene: Scene, bucket: str, key: str) -> dict[str, object]:
    asked = json.dumps({"last_by_subj": subjects.kept(bucket, key)}).encode()
    found = json.loads(scene.sees.ask(f"$JS.API.STREAM.MSG.GET.KV_{bucket}", asked))["message"]
    return {"seq": found["seq"], "data": found.get("data", "")}


@pytest.mark.parametrize("kind", ["run", "ctl"])
def test_an_answer_of_jetstreams_is_no_message_to_an_agent(scene: Scene, kind: str) -> None:
    subject = f"{subjects.ROOT}.{kind}.bay.{subjects.session('ada', 's2')}"
    scene.person("client eve").say(f"$JS.API.STREAM.INFO.{WHERE}", b"", subject)
    until(lambda: f"a message on {subject} was ignored" in scene.agent_log("bay"))
    row(f"JetStream's answer as {kind} in ada's name", "client eve", "ignored", "agent (log)")


def test_an_answer_of_jetstreams_is_no_heartbeat(scene: Scene) -> None:
    directory = scene.client._client._directory
    before = directory.warnings
    subject = subjects.heartbeat("field", "bay")
    scene.person("client eve").say(f"$JS.API.STREAM.INFO.{WHERE}", b"", subject)
    until(lambda: directory.warnings > before)
    assert "bay" in directory.listed
    row("JetStream's answer as a heartbeat", "client eve", "ignored", "each client (counted)")


def test_an_answer_of_jetstreams_is_no_result(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    subject = subjects.out(scene.caller, "bay")
    task = scene.client.options(on="bay").submit(time.sleep, 0.5)
    scene.person("agent rogue").say(f"$JS.API.STREAM.INFO.{WHERE}", b"", subject)
    until(lambda: f"a message on {subject} was ignored" in caplog.text)
    assert task.result(20) is None
    row("JetStream's answer as a result", "agent rogue", "ignored", "client (log)")


def keep(scene: Scene, bucket: str) -> dict[str, object]:
    """Have a bucket keep a document under a key that is nobody's."""
    kept = json.loads(scene.sees.ask(subjects.written(bucket, "nobody"), b"the document"))
    assert "error" not in kept
    return last(scene, bucket, "nobody")


@pytest.mark.parametrize("bucket", subjects.BUCKETS)
def test_jetstream_is_not_told_to_answer_where_a_bucket_is_written(
    scene: Scene, bucket: str
) -> None:
    before, where = keep(scene, bucket), subjects.written(bucket, "nobody")
    eve = scene.person("client eve")
    eve.told.clear()
    eve.say(f"$JS.API.STREAM.INFO.{WHERE}", b"", where)
    until(lambda: any("with reply of" in each for each in eve.told))
    assert last(scene, bucket, "nobody") == before
    row(f"JetStream's answer at {where}", "client eve", "refused", KNOWN)


@pytest.mark.parametrize("bucket", subjects.BUCKETS)
def test_an_answer_of_jetstreams_is_not_kept_as_a_document(scene: Scene, bucket: str) -> None:
    before, where = keep(scene, bucket), subjects.kept(bucket, "nobody")
    scene.sees.hear(where)
    scene.person("client eve").say(f"$JS.API.STREAM.INFO.{WHERE}", b"", where)
    until(lambda: any(each.subject == where for each in scene.sees.heard()))
    assert last(scene, bucket, "nobody") == before
    row(f"JetStream's answer at {where}", "client eve", "said, and not kept", "nobody")
