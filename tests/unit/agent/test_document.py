from __future__ import annotations

import math

import msgspec
import pytest

from gossamer_agent.config import build
from gossamer_agent.document import Document
from gossamer_mesh import capability
from gossamer_mesh.capability import Capabilities, Power, Price
from gossamer_mesh.errors import ProtocolError

HOUR_S = 3600.0
FOUND = Capabilities(
    agent="a", site="s", incarnation=7, revision=1, host="h", slots=2, python="3.11", speed=0.8
)


def document_of(at_s=0.0, **told):
    return Document(FOUND, build(name="a", slots=2, **told), at_s)


def test_what_is_told_stands_beside_what_was_found():
    document = document_of(
        price=0.12,
        egress=0.09,
        block="5min",
        idle=3,
        busy=7,
        carbon=350,
        data={"camera-7": True},
        resources=[{"name": "camera-7"}, {"name": "licence", "count": 2}],
    ).current
    assert document.price == Price(0.12, 0.09, 300.0)
    assert document.power == Power(3.0, 7.0, 350.0)
    assert document.data == {"camera-7": 0}
    assert document.resources == {"camera-7": 1, "licence": 2}
    assert (document.revision, document.speed) == (1, 0.8)
    assert capability.decode(capability.encode(document)) == document


def test_what_is_not_told_is_not_said():
    assert document_of().current == FOUND
    assert document_of(egress=0.09).current.price == Price(0.0, 0.09)
    assert document_of(idle=3, busy=7).current.power == Power(3.0, 7.0, None)


def test_a_table_that_comes_to_its_next_entry_makes_a_revision():
    document = document_of(
        6 * HOUR_S,
        price={"00:00": 0.04, "07:30": 0.12},
        idle=3,
        busy=7,
        carbon={"00:00": 210, "09:00": 380},
    )
    assert document.current.price == Price(0.04)
    assert document.next_change_s(6 * HOUR_S) == 1.5 * HOUR_S
    assert not document.renewed(7 * HOUR_S, None)
    assert document.renewed(8 * HOUR_S, None)
    assert (document.current.price, document.current.revision) == (Price(0.12), 2)
    assert document.next_change_s(8 * HOUR_S) == HOUR_S
    assert document.renewed(9 * HOUR_S, None)
    assert (document.current.power, document.current.revision) == (Power(3.0, 7.0, 380.0), 3)


def test_without_tables_nothing_is_due():
    assert document_of(price=0.1, idle=3, busy=7, carbon=350).next_change_s(5.0) == math.inf


@pytest.mark.parametrize("statistics", [None, b""])
def test_statistics_that_have_not_changed_make_no_revision_and_are_kept(statistics):
    document = document_of()
    assert document.renewed(0.0, b"statistics")
    assert (document.current.statistics, document.current.revision) == (b"statistics", 2)
    assert not document.renewed(0.0, b"statistics")
    assert document.renewed(0.0, statistics) == (statistics is not None)


def test_what_stays_of_an_agent_that_leaves_is_that_it_left_and_its_incarnation():
    document = document_of(price=0.12, data={"camera-7": True})
    last = document.farewell()
    assert (last.agent, last.incarnation, last.revision, last.left) == ("a", 7, 2, True)
    assert last.price is None
    assert len(capability.encode(last)) < len(capability.encode(document.current))
    assert not document.current.left


def test_what_alone_may_run_is_said_and_renewed_when_the_registry_says_otherwise():
    document = document_of(allow=["describe@2"])
    assert (document.current.allow, document.current.allowed) == (("describe@2",), ())
    assert document.renewed(0.0, None, ("aa",))
    assert (document.current.allowed, document.current.revision) == (("aa",), 2)
    assert not document.renewed(0.0, None, ("aa",))
    assert not document.renewed(0.0, None)
    assert document.renewed(0.0, None, ())
    document.lapsed = ("the rule 'describe' does not hold",)
    assert document.renewed(0.0, None)
    assert document.current.warnings == ("allow: the rule 'describe' does not hold",)
    assert document_of().current.allow is None
    assert document_of(allow=[]).current.allow == ()


def test_a_document_with_text_that_is_none_is_refused():
    whole = capability.encode(msgspec.structs.replace(FOUND, host="mark"))
    with pytest.raises(ProtocolError, match="not a capability document"):
        capability.decode(whole.replace(b"mark", b"\xff\xfe\xfd\xfc"))


def test_a_resource_that_is_not_there_is_not_offered_until_it_is():
    told = build(name="a", resources=[{"name": "cam", "devices": ["/dev/x"]}, {"name": "licence"}])
    found = msgspec.structs.replace(FOUND, warnings=("probe gpu: broken",))
    document = Document(found, told, 0.0, {"cam": ("/dev/x",)})
    assert document.current.resources == {"licence": 1}
    assert document.current.warnings == (
        "probe gpu: broken",
        "the resource cam is not offered until it is there: there is no /dev/x",
    )
    assert not document.renewed(0.0, None)
    assert not document.renewed(0.0, None, None, {"cam": ("/dev/x",)})
    assert document.renewed(0.0, None, None, {})
    assert document.current.resources == {"cam": 1, "licence": 1}
    assert document.current.warnings == ("probe gpu: broken",)
    assert document.renewed(0.0, None, None, {"cam": ("/dev/x",)})
    assert (document.current.resources, document.current.revision) == ({"licence": 1}, 3)


def test_a_clock_that_is_off_is_said_in_a_number_and_in_words():
    document = document_of()
    assert not document.renewed(0.0, None, clock_off_s=0.0)
    assert document.renewed(0.0, None, clock_off_s=-7200.0)
    assert document.current.clock_off_s == -7200.0
    assert document.current.warnings == (
        "its clock is 2h behind the server's: set it, as with NTP",
    )
    assert not document.renewed(0.0, None)
    assert document.renewed(0.0, None, clock_off_s=0.0)
    assert (document.current.clock_off_s, document.current.warnings) == (0.0, ())
    assert document.farewell().clock_off_s == 0.0
