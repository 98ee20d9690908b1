"""What `connect` refuses before it tries anything."""

from __future__ import annotations

import pytest

import gossamer
from gossamer import AsyncMesh, ConfigError, Mesh

ONE_FACE = {
    "aclose": "close, awaited",
    "close": "aclose, not awaited",
    "access": "for who opens another connection",
    "open": "open_mesh makes it",
    "executor": "it speaks concurrent.futures",
    # What the faces are made of.
    "explain_call": "",
    "explain_size": "",
    "for_map": "",
    "forget": "",
    "forked": "",
    "has_resolved": "",
    "resolve": "",
    "submit_call": "",
    "submit_chunk": "",
    "wait_for_callbacks": "",
}
"""What one of the faces has alone, and why."""

NOWHERE = "nats://me:secret@127.0.0.1:1"


@pytest.mark.parametrize("lease", [0, 0.5, "500ms", "8d", 1e9])
def test_a_lease_that_no_agent_could_keep_is_refused(lease: float | str):
    with pytest.raises(ConfigError, match="allowed: from 1 s"):
        gossamer.connect(NOWHERE, lease=lease)


@pytest.mark.parametrize("lease", [-1, "soon", float("nan")])
def test_a_lease_that_is_no_duration_is_refused(lease: float | str):
    with pytest.raises(ConfigError, match="not a duration"):
        gossamer.connect(NOWHERE, lease=lease)


def public(face: type) -> set[str]:
    return {name for name in dir(face) if not name.startswith("_")}


def test_the_two_faces_of_a_mesh_have_the_same_names():
    assert public(Mesh) ^ public(AsyncMesh) == ONE_FACE.keys()


def test_a_name_that_the_package_has_not_is_answered_with_one_it_has():
    with pytest.raises(AttributeError) as caught:
        gossamer.conect  # noqa: B018 - what is tested
    assert (caught.value.name, caught.value.obj) == ("conect", gossamer)
