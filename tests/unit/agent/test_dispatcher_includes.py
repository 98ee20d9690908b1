"""What functions include is asked for like code, and kept apart by worker."""

from __future__ import annotations

import zipfile

import msgspec

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.functions import CODE_BYTES
from gossamer_agent.worker.include import unpack
from gossamer_mesh import wire
from tests.unit.agent.shop import Shop, digest_of, job_of

ONE, TWO = b"1" * 16, b"2" * 16


def with_includes(*includes, **given):
    return msgspec.structs.replace(job_of(**given), includes=includes)


def send(shop, *includes, caller="ann"):
    for digest in includes:
        shop.step(ev.CodeArrived(caller, digest, b"zip " + digest))


def test_a_call_waits_for_all_that_its_function_includes():
    shop = Shop(workers=1)
    shop.submit(1, job=with_includes(ONE, TWO))
    assert shop.said["ann"] == [wire.NeedCode(ONE)]
    send(shop, ONE)
    assert shop.said["ann"] == [wire.NeedCode(ONE), wire.NeedCode(TWO)]
    assert shop.hands[1].calls == []
    send(shop, TWO)
    assert shop.tasks_of(1) == [1]
    assert shop.hands[1].includes == {ONE: b"zip " + ONE, TWO: b"zip " + TWO}


def test_what_is_here_is_not_asked_for_again_and_sent_to_a_worker_once():
    shop = Shop(workers=1)
    shop.submit(1, job=with_includes(ONE))
    send(shop, ONE)
    shop.finish(1)
    shop.submit(2, job=with_includes(ONE, name="g"))
    assert shop.tasks_of(1) == [2]
    assert len(shop.records(wire.NeedCode)) == 1


def test_two_versions_of_a_package_are_never_in_one_worker():
    shop = Shop(workers=2, slots=2)
    send(shop, ONE, TWO)
    shop.submit(1, job=with_includes(ONE))
    shop.submit(2, job=with_includes(TWO))
    assert [list(hand.includes) for hand in shop.hands.values()] == [[ONE], [TWO]]
    shop.finish(1)
    shop.finish(2)
    shop.submit(3)
    assert shop.tasks_of(1) == shop.tasks_of(2) == []


def test_what_another_caller_includes_is_asked_for_all_the_same():
    shop = Shop(workers=1)
    send(shop, ONE, caller="eve")
    shop.submit(1, job=with_includes(ONE))
    assert shop.said["ann"] == [wire.NeedCode(ONE)]


def test_an_include_that_its_caller_does_not_have_ends_the_call():
    shop = Shop(workers=1)
    shop.submit(1, job=with_includes(ONE))
    shop.step(ev.CodeArrived("ann", ONE, b""))
    assert shop.outcomes() == {1: "crashed"}


def test_an_include_that_had_to_go_while_its_calls_waited_is_asked_for_again():
    shop = Shop()
    send(shop, ONE)
    shop.submit(1, 2, job=with_includes(ONE))
    # The oldest goes first: the include, then the code, which comes back.
    shop.machine._functions.learn("bob", TWO, b"c" * (CODE_BYTES - 5))
    shop.machine._functions.learn("ann", digest_of("f"), b"code")
    shop.up()
    assert shop.hands[1].calls == []
    assert shop.records(wire.NeedCode) == [wire.NeedCode(ONE)]
    send(shop, ONE)
    shop.finish(1)
    shop.finish(1)
    assert shop.outcomes() == {1: "ok", 2: "ok"}


def test_a_digest_that_is_none_is_refused():
    shop = Shop(workers=1)
    shop.submit(1, job=with_includes(b"short"))
    assert shop.refusals() == {1: "incapable"}


def test_the_files_are_unpacked_once(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("pkg/__init__.py", "x = 1\n")
        made.writestr("pkg/data/table.csv", "1\n")
    place = str(tmp_path / "includes" / "ann")
    first = unpack(place, "ab", archive.read_bytes())
    assert (tmp_path / "includes/ann/ab/pkg/data/table.csv").read_text() == "1\n"
    assert unpack(place, "ab", b"no zip: it is not looked at") == first
    assert [path.name for path in (tmp_path / "includes/ann").iterdir()] == ["ab"]
