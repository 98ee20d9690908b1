"""Which registered functions a rule is about."""

from __future__ import annotations

import msgspec
import pytest

from gossamer_agent import allowance
from gossamer_agent.allowance import Allowance
from gossamer_agent.setting import UnfitError
from gossamer_mesh.registered import Registered

ENTRY = Registered(
    owner="ada",
    name="describe",
    version=2,
    digest=b"0123456789abcdef",
    content="c" * 32,
    stable=True,
)
OTHER = msgspec.structs.replace(ENTRY, version=3, digest=b"f" * 16, content="d" * 32)


@pytest.mark.parametrize(
    ("rule", "about"),
    [
        ("describe", [ENTRY, OTHER]),
        ("ada/describe", [ENTRY, OTHER]),
        ("ada/describe@2", [ENTRY]),
        ("bob/describe", []),
        ("describe@2", [ENTRY]),
        ("describe@3", [OTHER]),
        (ENTRY.digest.hex(), [ENTRY]),
        ("d" * 32, [OTHER]),
        ("describe@4", []),
        ("other", []),
    ],
)
def test_a_rule_is_a_name_or_a_version_or_a_digest(rule, about):
    assert Allowance((rule,)).of([ENTRY, OTHER]) == (about, {})
    assert [each for each in (ENTRY, OTHER) if Allowance((rule,)).allows(each)] == about


def test_without_rules_nothing_is_allowed():
    assert Allowance(()).of([ENTRY, OTHER]) == ([], {})
    assert str(Allowance(())) == "nothing"


@pytest.mark.parametrize("rule", ["describe", "describe@2", ENTRY.digest.hex(), ENTRY.content])
def test_what_has_no_digest_of_its_meaning_is_not_allowed_by_any_rule(rule):
    unstable = msgspec.structs.replace(ENTRY, stable=False)
    assert Allowance((rule,)).of([unstable]) == ([], {})


RIVAL = msgspec.structs.replace(ENTRY, owner="eve", digest=b"e" * 16, content="e" * 32)
FORGED = msgspec.structs.replace(ENTRY, owner="eve", name="other", content="e" * 32)
COPIED = msgspec.structs.replace(ENTRY, owner="eve", name="other")


@pytest.mark.parametrize("rule", ["describe", "describe@2"])
def test_a_name_without_an_owner_holds_for_nobody_once_another_has_it(rule):
    allowed, lapsed = Allowance((rule,)).of([ENTRY, RIVAL])
    assert allowed == []
    assert set(lapsed) == {ENTRY.digest, RIVAL.digest}
    example = rule.replace("describe", "ada/describe")
    assert lapsed[ENTRY.digest] == (
        f"the rule {rule!r} does not hold: describe is registered by ada and by eve: say whose, as "
        f"in {example!r}"
    )


def test_a_rival_of_another_version_and_one_whose_code_nobody_may_run_count_as_well():
    for rival in (
        msgspec.structs.replace(RIVAL, version=7),
        msgspec.structs.replace(RIVAL, stable=False),
    ):
        allowed, lapsed = Allowance(("describe@2",)).of([ENTRY, rival])
        assert (allowed, set(lapsed)) == ([], {ENTRY.digest})


def test_who_says_whose_is_not_touched_by_rivals():
    rules = Allowance(("ada/describe", "describe@2"))
    assert rules.of([RIVAL, ENTRY]) == (
        [ENTRY],
        {RIVAL.digest: rules.of([RIVAL, ENTRY]).lapsed[b"e" * 16]},
    )
    assert Allowance(("ada/describe",)).of([RIVAL, ENTRY]) == ([ENTRY], {})


def test_a_digest_that_another_claims_for_other_code_holds_for_nobody():
    rule = ENTRY.digest.hex()
    allowed, lapsed = Allowance((rule,)).of([ENTRY, FORGED])
    assert allowed == []
    assert "by ada and by eve: say whose" in lapsed[ENTRY.digest]
    assert Allowance((rule,)).of([ENTRY, COPIED]) == ([ENTRY, COPIED], {})
    assert Allowance((ENTRY.content,)).of([ENTRY, FORGED]) == ([ENTRY], {})


def test_of_what_is_allowed_that_comes_first_which_is_named_first():
    assert Allowance(("ada/describe", "eve/other")).of([FORGED, ENTRY]).entries == [ENTRY, FORGED]
    assert Allowance(("eve/other", "ada/describe")).of([ENTRY, FORGED]).entries == [FORGED, ENTRY]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (["ada/describe@*", "describe@2"], ("ada/describe", "describe@2")),
        (["A" * 32, "a" * 32], ("a" * 32,)),
    ],
)
def test_rules_are_read_with_their_owners(told, kept):
    assert allowance.read(told).rules == kept


@pytest.mark.parametrize("rule", ["ada/*", "/describe", "ada/b/c", "a.b/c", 3])
def test_what_is_no_rule_is_refused_with_what_is(rule):
    with pytest.raises(UnfitError, match="ada/describe@2"):
        allowance.read([rule])
