"""An agent with an allow-list runs what is on it, with the registry's code, and nothing else."""

from __future__ import annotations

import msgspec
import pytest

from gossamer_agent.allowance import Allowance
from gossamer_agent.dispatcher import events as ev
from gossamer_mesh import wire
from tests.unit.agent.shop import Shop, digest_of, job_of

RULES = Allowance(("f@1", "g"))


def a_shop(*allowed, workers=1, **options):
    shop = Shop(workers=workers, allow=RULES, **options)
    if allowed:
        allow(shop, *allowed)
    return shop


def allow(shop, *names):
    return shop.step(
        ev.AllowanceChanged({digest_of(name): f"registered {name}".encode() for name in names})
    )


def test_what_is_not_on_the_list_is_refused_and_the_list_is_named():
    shop = a_shop("f")
    shop.submit(1, job=job_of("h"))
    (refused,) = shop.records(wire.Refused)
    assert refused.reason == "incapable"
    assert f"h ({digest_of('h').hex()})" in refused.detail
    assert refused.detail.startswith("allow: ")
    assert "f@1, g" in refused.detail
    assert shop.hands[1].calls == []


def test_what_a_rule_would_allow_that_means_several_is_refused_with_whose_they_are():
    shop = a_shop()
    shop.step(ev.AllowanceChanged({}, {digest_of("f"): "f is ada's and bob's"}))
    shop.submit(1, 2, job=job_of("f"))
    told = f"allow: f ({digest_of('f').hex()}) may not run there: f is ada's and bob's"
    assert [refused.detail for refused in shop.records(wire.Refused)] == [told, told]
    allow(shop, "f")
    shop.submit(3, job=job_of("f"))
    assert shop.tasks_of(1) == [3]


def test_before_the_registry_was_read_nothing_may_run():
    shop = a_shop()
    shop.submit(1)
    assert shop.refusals() == {1: "incapable"}


def test_the_code_that_runs_is_the_registrys_whatever_the_caller_sends():
    shop = a_shop("f")
    shop.submit(1, job=job_of("f"))
    assert shop.tasks_of(1) == [1]
    assert shop.machine._functions.code("ann", digest_of("f")) == b"registered f"
    shop.step(ev.CodeArrived("ann", digest_of("f"), b"evil"))
    assert shop.machine._functions.code("ann", digest_of("f")) == b"registered f"


def test_a_caller_that_has_no_code_to_send_is_not_asked_for_it():
    shop = a_shop("f")
    shop.submit(1, job=job_of("f", with_code=False))
    assert shop.tasks_of(1) == [1]
    assert not shop.records(wire.NeedCode)


def test_what_waits_and_may_not_run_any_more_is_given_back_and_what_runs_goes_on():
    shop = a_shop("f", "g")
    shop.submit(1, 2, job=job_of("f"))
    shop.submit(3, job=job_of("g"))
    allow(shop, "g")
    assert shop.refusals() == {2: "incapable"}
    assert shop.tasks_of(1) == [1]
    shop.finish(1)
    assert shop.outcomes() == {1: "ok"}
    assert shop.tasks_of(1) == [3]
    shop.submit(4, job=job_of("f"))
    assert shop.refusals()[4] == "incapable"


@pytest.mark.parametrize("name", ["f", "h"])
def test_without_a_list_anything_runs(name):
    shop = Shop(workers=1)
    shop.submit(1, job=job_of(name))
    assert shop.tasks_of(1) == [1]


def test_what_a_function_includes_has_to_be_the_registrys_as_well():
    own, evil = b"i" * 16, b"e" * 16
    shop = a_shop()
    shop.step(ev.AllowanceChanged({digest_of("f"): b"registered f", own: b"registered zip"}))
    shop.submit(1, job=msgspec.structs.replace(job_of("f"), includes=(evil,)))
    shop.step(ev.CodeArrived("ann", evil, b"evil zip"))
    assert shop.refusals() == {1: "incapable"}
    shop.submit(2, job=msgspec.structs.replace(job_of("f"), includes=(own,)))
    assert shop.tasks_of(1) == [2]
    assert shop.hands[1].includes == {own: b"registered zip"}
