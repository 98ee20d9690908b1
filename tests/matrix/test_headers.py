"""Headers with which JetStream is told more than a value: nobody changes others' keys by them."""

from __future__ import annotations

import json

import pytest

from gossamer_mesh import subjects
from tests.matrix.conftest import Scene, row
from tests.matrix.test_store import last, streams

OWN = {
    "client eve": (subjects.FUNCTIONS_BUCKET, subjects.function_key("eve", "own", 1)),
    "admin ann": (subjects.CODE_BUCKET, subjects.code_key("ann", "own")),
    "agent rogue": (subjects.AGENTS_BUCKET, "rogue"),
}
"""What each may write: one key of a bucket in which others have theirs."""

REFUSED = {
    "Nats-Rollup": ("all", "sub"),
    "Nats-TTL": ("1s",),
    "Nats-Schedule": ("@every 1s",),
    "Nats-Batch-Id": ("b1",),
    "Nats-Incr": ("+1",),
}


def keep_anothers(scene: Scene, bucket: str) -> str:
    scene.sees.ask(subjects.written(bucket, "another"), b"another's")
    return "another"


@pytest.mark.parametrize("who", OWN)
@pytest.mark.parametrize(
    ("header", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_a_value_says_nothing_of_others(scene: Scene, who: str, header: str, value: str) -> None:
    """`Nats-Rollup: all` with one's own key would empty the whole bucket, of everybody's."""
    bucket, key = OWN[who]
    anothers = keep_anothers(scene, bucket)
    before, kept = streams(scene), last(scene, bucket, anothers)
    headers = {header: value}
    if header == "Nats-Batch-Id":
        headers["Nats-Batch-Sequence"] = "1"
    answer = json.loads(scene.person(who).ask(subjects.written(bucket, key), b"1", headers))
    refused = "refused" if "error" in answer else "TAKEN"
    row(f"own key of {bucket} with {header}: {value}", who, refused, "who tried (error)")
    assert last(scene, bucket, anothers) == kept
    assert streams(scene) == before
    assert refused == "refused"


@pytest.mark.parametrize("who", OWN)
def test_nobody_has_anothers_value_taken_for_one_that_was_there(scene: Scene, who: str) -> None:
    """What JetStream takes for said twice is so in the whole bucket; we number nothing so."""
    bucket, key = OWN[who]
    put = subjects.written(bucket, key)
    numbers = ("1", "another", subjects.kept(bucket, "another"), "")
    for number in numbers:
        scene.person(who).ask(put, b"mine", {"Nats-Msg-Id": number} if number else None)
    anothers = keep_anothers(scene, bucket)
    first = last(scene, bucket, anothers)
    assert last(scene, bucket, keep_anothers(scene, bucket)) != first
    row(f"numbers of messages used up in {bucket}", who, "to no effect", "nobody")
