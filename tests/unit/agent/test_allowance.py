"""Which registered functions a rule is about."""

from __future__ import annotations

import msgspec
import pytest

from gossamer_agent.allowance import Allowance
from gossamer_mesh.registered import Registered

ENTRY = Registered(
    name="describe", version=2, digest=b"0123456789abcdef", content="c" * 32, stable=True
)
OTHER = msgspec.structs.replace(ENTRY, version=3, digest=b"f" * 16, content="d" * 32)


@pytest.mark.parametrize(
    ("rule", "about"),
    [
        ("describe", [ENTRY, OTHER]),
        ("describe@2", [ENTRY]),
        ("describe@3", [OTHER]),
        (ENTRY.digest.hex(), [ENTRY]),
        ("d" * 32, [OTHER]),
        ("describe@4", []),
        ("other", []),
    ],
)
def test_a_rule_is_a_name_or_a_version_or_a_digest(rule, about):
    assert Allowance((rule,)).of([ENTRY, OTHER]) == about


def test_without_rules_nothing_is_allowed():
    assert Allowance(()).of([ENTRY, OTHER]) == []
    assert str(Allowance(())) == "nothing"


@pytest.mark.parametrize("rule", ["describe", "describe@2", ENTRY.digest.hex(), ENTRY.content])
def test_what_has_no_digest_of_its_meaning_is_not_allowed_by_any_rule(rule):
    unstable = msgspec.structs.replace(ENTRY, stable=False)
    assert Allowance((rule,)).of([unstable]) == []
