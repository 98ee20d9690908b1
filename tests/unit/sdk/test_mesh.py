"""What `connect` refuses before it tries anything."""

from __future__ import annotations

import pytest

import gossamer
from gossamer import ConfigError

NOWHERE = "nats://me:secret@127.0.0.1:1"


@pytest.mark.parametrize("lease", [0, 0.5, "500ms", "8d", 1e9])
def test_a_lease_that_no_agent_could_keep_is_refused(lease: float | str):
    with pytest.raises(ConfigError, match="allowed: from 1 s"):
        gossamer.connect(NOWHERE, lease=lease)


@pytest.mark.parametrize("lease", [-1, "soon", float("nan")])
def test_a_lease_that_is_no_duration_is_refused(lease: float | str):
    with pytest.raises(ConfigError, match="not a duration"):
        gossamer.connect(NOWHERE, lease=lease)
