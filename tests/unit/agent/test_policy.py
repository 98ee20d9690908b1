"""Who may run what: by what the mesh vouches for, and by the rules of the machine's owner."""

from __future__ import annotations

import msgspec
import pytest

from gossamer_agent.allowance import Allowance
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.granted import Granted
from gossamer_agent.policy import Policy
from gossamer_agent.quota import HOUR_S, Quota
from gossamer_agent.rules import Deny, People, Rules
from gossamer_mesh import wire
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.identity.witness import Witness
from gossamer_mesh.registered import Registered
from tests.unit.agent.shop import INCARNATION, Shop, digest_of, job_of

NOW = 1_000_000.0
MESH = Authority.new("lab")
ADA, EVE, ROOT = "ada.1", "eve.1", "root.1"
ADAS = KeyPair.new("user").public


def token_of(caller, role="client", now=NOW, **fields):
    return MESH.issuer(role).vouch(caller.partition(".")[0], ADAS, int(now), **fields)


def a_policy(people=None, deny=None, *, met=True, quota=Quota()):  # noqa: B008  it is a value
    policy = Policy(
        "pi", Rules(people, deny or Deny(), quota), Witness(MESH.account_token(int(NOW)))
    )
    if met:
        assert policy.met(ADA, token_of(ADA, groups=("beamline",)), NOW) == ""
        assert policy.met(EVE, token_of(EVE), NOW) == ""
        assert policy.met(ROOT, token_of(ROOT, "admin"), NOW) == ""
    return policy


def refusal(policy, caller, name="f", now=NOW):
    return policy.verdict(caller, job_of(name), now).refusal


def why(policy, caller, name="f"):
    reason, detail = refusal(policy, caller, name)
    assert reason == "denied"
    return detail


def test_nothing_is_open_by_default_but_to_administrators():
    policy = a_policy()
    assert refusal(policy, ROOT) is None
    assert why(policy, ADA).startswith(
        f"grants: client 'ada' has none for f ({digest_of('f').hex()}"
    )


def test_who_has_not_said_who_it_is_is_a_stranger_whatever_its_name():
    policy = a_policy(met=False)
    assert refusal(policy, ROOT) == ("stranger", "pi does not know who root is")
    policy.met(ROOT, token_of(ROOT, "admin"), NOW)
    assert refusal(policy, ROOT) is None
    assert refusal(policy, "root.another") is None


def test_who_is_not_believed_is_told_why_and_what_was_believed_still_holds():
    policy = a_policy(met=False)
    assert "not signed by this mesh" in policy.met(
        ROOT, Authority.new("lab").issuer("admin").vouch("root", ADAS, int(NOW)), NOW
    )
    assert why(policy, ROOT).startswith("identity: this user's token was not signed by this mesh")
    policy.met(ROOT, token_of(ROOT, "admin"), NOW)
    assert policy.met(ROOT, token_of(EVE, "admin"), NOW)
    assert refusal(policy, ROOT) is None


def test_an_expired_token_has_its_bearer_asked_for_the_next_one():
    policy = a_policy(met=False)
    old, new = token_of(ROOT, "admin", ttl_s=60), token_of(ROOT, "admin", NOW + 50, ttl_s=60)
    policy.met(ROOT, old, NOW)
    assert refusal(policy, ROOT, now=NOW + 59) is None
    assert refusal(policy, ROOT, now=NOW + 60)[0] == "stranger"
    assert "has expired" in policy.met(ROOT, old, NOW + 61)
    assert refusal(policy, ROOT, now=NOW + 61)[0] == "denied"
    policy.met(ROOT, new, NOW + 62)
    assert refusal(policy, ROOT, now=NOW + 62) is None


def test_an_older_token_does_not_replace_a_newer_one():
    policy = a_policy(met=False)
    policy.met(ADA, token_of(ADA, "client", NOW + 5), NOW + 5)
    policy.met(ADA, token_of(ADA, "admin", NOW), NOW + 6)
    assert not policy.is_admin(ADA, NOW + 6)


@pytest.mark.parametrize("people", [People(("ada",)), People(groups=("beamline",))])
def test_whom_the_list_names_may_and_nobody_else(people):
    policy = a_policy(people)
    assert refusal(policy, ADA) is None
    assert why(policy, EVE) == (
        f"allow: only {people} may run anything there, and 'eve' is none of them"
    )
    assert why(policy, ROOT).startswith("allow: only ")


def test_anybody_whom_the_mesh_vouches_for_may_where_the_list_says_any():
    policy = a_policy(People(("any",)))
    assert refusal(policy, EVE) is None
    assert refusal(policy, "mallory.1")[0] == "stranger"


def test_what_is_denied_is_denied_to_administrators_and_to_whom_the_list_names():
    deny = Deny(People(("eve",), ("beamline",)), ("wipe", digest_of("g").hex()))
    policy = a_policy(People(("any",)), deny)
    assert why(policy, EVE) == (
        "deny: eve, group beamline may run nothing there, and 'eve' is one of them"
    )
    assert why(policy, ADA).startswith("deny: ")
    assert why(policy, ROOT, "wipe") == "deny.functions: wipe does not run there"
    assert why(policy, ROOT, "g") == f"deny.functions: {digest_of('g').hex()} does not run there"
    for name in ("wipe@3", "ann/wipe", "ann/wipe@3"):
        assert why(policy, ROOT, name).startswith("deny.functions: wipe ")
    assert refusal(policy, ROOT, "f") is None


@pytest.mark.parametrize("rule", ["ann/wipe", "ann/wipe@3"])
def test_what_is_denied_of_one_owner_is_not_denied_of_another(rule):
    policy = a_policy(People(("any",)), Deny(functions=(rule,)))
    assert why(policy, ROOT, "ann/wipe@3") == f"deny.functions: {rule} does not run there"
    assert refusal(policy, ROOT, "bob/wipe@3") is None


def test_an_answer_is_kept_until_something_changes():
    policy = a_policy(People(("ada",)))
    first = policy.verdict(ADA, job_of(), NOW)
    assert policy.verdict(ADA, job_of(), NOW + 1) is first
    policy.met(ADA, token_of(ADA, now=NOW + 2), NOW + 2)
    assert policy.verdict(ADA, job_of(), NOW + 3) is not first


# -- grants --------------------------------------------------------------------------------------


def a_grant(id="1", to="ada", *functions, expires=0, **quota):  # noqa: A002  as it is called
    return Granted(id, to, Allowance(functions) if functions else None, expires, Quota(**quota))


def entry_of(name, version=1):
    return Registered(
        owner="ann", name=name, version=version, digest=digest_of(name), content="", stable=True
    )


@pytest.mark.parametrize("to", ["ada", "group:beamline"])
def test_a_grant_lets_whom_it_names_run_what_it_names(to):
    policy = a_policy()
    policy.granted([a_grant("1", to)])
    verdict = policy.verdict(ADA, job_of(), NOW)
    assert (verdict.refusal, verdict.registered) == (None, False)
    assert why(policy, EVE).startswith("grants: client 'eve' has none for f (")


def test_a_grant_of_functions_is_of_those_that_are_registered_and_of_their_kept_code():
    policy = a_policy()
    policy.granted([a_grant("1", "ada", "ann/f@1", "ann/g")])
    assert why(policy, ADA, "f").startswith("grants: ")
    policy.registered([entry_of("f"), entry_of("g", 7), entry_of("h")])
    for name in ("f", "g"):
        verdict = policy.verdict(ADA, job_of(name), NOW)
        assert (verdict.refusal, verdict.registered) == (None, True)
    assert why(policy, ADA, "h").startswith("grants: ")
    policy.registered([entry_of("f", 2)])
    assert why(policy, ADA, "f").startswith("grants: ")


def test_who_is_granted_any_code_runs_its_own():
    policy = a_policy()
    policy.granted([a_grant("1", "ada", "ann/f"), a_grant("2", "ada")])
    policy.registered([entry_of("f")])
    assert not policy.verdict(ADA, job_of("f"), NOW).registered


def test_a_grant_ends_when_it_expires_and_when_it_is_taken_back():
    policy = a_policy()
    policy.granted([a_grant(expires=int(NOW) + 60)])
    assert refusal(policy, ADA, now=NOW + 59) is None
    assert refusal(policy, ADA, now=NOW + 60)[0] == "denied"
    policy.granted([a_grant()])
    assert refusal(policy, ADA) is None
    policy.granted([])
    assert refusal(policy, ADA)[0] == "denied"


def test_no_grant_gets_past_what_the_owner_denies_and_does_not_allow():
    policy = a_policy(People(("eve",)), Deny(functions=("wipe",)))
    policy.granted([a_grant("1", "ada"), a_grant("2", "eve")])
    assert why(policy, ADA).startswith("allow: only eve")
    assert why(policy, EVE, "wipe").startswith("deny.functions: wipe")


def test_who_is_revoked_is_a_stranger_at_once():
    policy = a_policy()
    assert refusal(policy, ROOT) is None
    policy.witness.renewed(MESH.account_token(int(NOW) + 1, {ADAS: int(NOW) + 1}))
    policy.granted([])
    assert refusal(policy, ROOT)[0] == "stranger"
    assert "was revoked" in policy.met(ROOT, token_of(ROOT, "admin"), NOW + 2)
    assert "was revoked" in why(policy, ROOT)


# -- in the dispatcher ---------------------------------------------------------------------------


def test_who_may_not_has_nothing_fetched_nothing_kept_and_nothing_run():
    shop = Shop(workers=1, policy=a_policy())
    large = wire.Call(1, 1, b"", blob=wire.Blob(b"b" * 32, 10**9, EVE))
    shop.step(ev.RunArrived(EVE, wire.Run(INCARNATION, job_of(), [large]), NOW))
    shop.step(ev.CodeArrived(EVE, digest_of("f"), b"code"))
    assert shop.refusals(EVE) == {1: "denied"}
    assert shop.wanted(ev.Fetch) == []
    assert not shop.machine._functions.has(EVE, digest_of("f"))
    assert shop.hands[1].calls == []
    shop.step(ev.RunArrived(ROOT, wire.Run(INCARNATION, job_of(), [large]), NOW))
    assert len(shop.wanted(ev.Fetch)) == 1


def test_a_call_that_was_taken_is_answered_for_when_it_is_sent_again():
    policy = a_policy(People(("ada",)))
    shop = Shop(workers=1, policy=policy)
    run = wire.Run(INCARNATION, job_of(), [wire.Call(1, 1, b"arguments")])
    shop.step(ev.RunArrived(ADA, run, NOW))
    policy._rules = Rules(People(("eve",)))
    policy._kept.clear()
    shop.step(ev.RunArrived(ADA, run, NOW))
    assert shop.refusals(ADA) == {}
    assert [type(record) for record in shop.said[ADA]] == [wire.Accepted]


def run_of(*tasks, name="f"):
    return wire.Run(INCARNATION, job_of(name), [wire.Call(task, 1, b"arguments") for task in tasks])


def test_an_hours_calls_are_an_hours_calls_whoever_ends_them():
    policy = a_policy(quota=Quota(per_hour=3))
    policy.granted([a_grant("1", "group:beamline"), a_grant("2", "eve", per_hour=1)])
    shop = Shop(workers=1, policy=policy)
    shop.step(ev.RunArrived(ADA, run_of(1, 2, 3, 4), NOW))
    assert shop.refusals(ADA) == {4: "denied"}
    (refused,) = shop.records(wire.Refused, ADA)
    assert refused.detail == "quota: 3 calls an hour are used up; the next in 60 min"
    shop.finish(1, 1)
    shop.step(ev.RunArrived("ada.2", run_of(1), NOW))
    assert shop.refusals("ada.2") == {1: "denied"}
    shop.step(ev.RunArrived(EVE, run_of(1, 2), NOW))
    assert shop.refusals(EVE) == {2: "denied"}
    assert shop.records(wire.Refused, EVE)[0].detail.startswith("quota of grant 2: 1 calls an hour")
    shop.step(ev.RunArrived(ROOT, run_of(*range(20)), NOW))
    assert shop.refusals(ROOT) == {}
    shop.now += HOUR_S
    shop.step(ev.RunArrived(ADA, run_of(5), NOW))
    assert 5 not in shop.refusals(ADA)


def test_so_many_at_a_time_and_the_next_when_one_has_ended_or_is_given_back():
    policy = a_policy(quota=Quota(concurrent=2))
    policy.granted([a_grant()])
    shop = Shop(workers=1, policy=policy)
    shop.step(ev.RunArrived(ADA, run_of(1, 2, 3), NOW))
    assert shop.refusals(ADA) == {3: "full"}
    shop.finish(1)
    shop.step(ev.RunArrived(ADA, run_of(4, 5), NOW))
    assert shop.refusals(ADA) == {3: "full", 5: "full"}
    shop.step(ev.ReturnAsked(ADA, [4]))
    shop.step(ev.RunArrived(ADA, run_of(6), NOW))
    assert 6 not in shop.refusals(ADA)


def test_cpu_seconds_are_counted_when_calls_end_and_waiting_is_not():
    policy = a_policy(quota=Quota(cpu_s=10.0))
    policy.granted([a_grant()])
    shop = Shop(workers=1, slots=2, policy=policy)
    job = job_of(cpus=2)
    for task, cpu_s in ((1, 8.0), (2, 2.0), (3, 0.1)):
        run = wire.Run(INCARNATION, job, [wire.Call(task, 1, b"arguments")])
        shop.step(ev.RunArrived(ADA, run, NOW))
        if task < 3:
            shop.finish(1, ran_s=3600.0, cpu_s=cpu_s)
    assert shop.refusals(ADA) == {3: "denied"}
    assert "10 CPU seconds an hour are used up" in shop.records(wire.Refused, ADA)[0].detail


def test_what_is_killed_is_charged_all_that_it_could_have_used():
    policy = a_policy(quota=Quota(cpu_s=10.0))
    policy.granted([a_grant()])
    shop = Shop(workers=1, slots=2, policy=policy)
    for task in (1, 2):
        call = wire.Call(task, 1, b"arguments")
        shop.step(ev.RunArrived(ADA, wire.Run(INCARNATION, job_of(cpus=2), [call]), NOW))
        shop.now += 5.0
        if task == 1:
            shop.gone(1)
    assert shop.refusals(ADA) == {2: "denied"}


def test_who_is_granted_functions_by_name_runs_the_kept_code_whatever_it_sends():
    policy = a_policy()
    policy.granted([a_grant("1", "ada")])
    shop = Shop(workers=1, policy=policy)
    shop.step(ev.RunArrived(ADA, run_of(1), NOW))
    shop.finish(1)
    functions = shop.machine._functions
    assert functions.code(ADA, digest_of("f")) == job_of().code
    policy.granted([a_grant("1", "ada", "ann/f")])
    policy.registered([entry_of("f")])
    shop.step(ev.PolicyChanged({digest_of("f"): b"the registry's"}, NOW))
    shop.step(ev.RunArrived(ADA, run_of(2), NOW))
    assert functions.code(ADA, digest_of("f")) == b"the registry's"
    shop.step(ev.CodeArrived(ADA, digest_of("f"), b"evil"))
    assert functions.code(ADA, digest_of("f")) == b"the registry's"
    evil = msgspec.structs.replace(job_of(), includes=(b"e" * 16,))
    shop.step(ev.RunArrived(ADA, wire.Run(INCARNATION, evil, [wire.Call(3, 1, b"")]), NOW))
    shop.step(ev.CodeArrived(ADA, b"e" * 16, b"evil"))
    assert shop.outcomes(ADA)[3] == "crashed"


def test_what_waits_and_is_not_granted_any_more_is_given_back():
    policy = a_policy()
    policy.granted([a_grant()])
    shop = Shop(workers=1, policy=policy)
    shop.step(ev.RunArrived(ADA, run_of(1, 2), NOW))
    shop.step(ev.RunArrived(ROOT, run_of(1), NOW))
    policy.granted([])
    shop.step(ev.PolicyChanged({}, NOW))
    assert shop.refusals(ADA) == {2: "denied"}
    assert shop.refusals(ROOT) == {}
    shop.finish(1)
    assert shop.outcomes(ADA) == {1: "ok"}
