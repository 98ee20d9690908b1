"""The table of agents."""

from __future__ import annotations

import pytest

from gossamer.show import CARBON, COLUMNS, PRICE, AgentTable
from gossamer_mesh import wire
from gossamer_mesh.capability import Power, Price
from gossamer_placement.candidate import Candidate
from tests.unit.sdk.desk import a_document

IDLE = wire.AgentState(seq=1, slots=2, free=2, queued=0, queue_s=0.0, room=10)

PRICED = {"price": Price(per_slot_hour=0.25)}
GREEN = {"power": Power(idle_w=1.0, busy_w=2.0, carbon=31.5)}
POWERED = {"power": Power(idle_w=1.0, busy_w=2.0)}


def a_table(*documents: dict[str, object]) -> AgentTable:
    named = [a_document(f"a-{number}", **fields) for number, fields in enumerate(documents)]
    return AgentTable(Candidate(document, IDLE) for document in named)


@pytest.mark.parametrize(
    ("documents", "more"),
    [
        ([{}, {}], ()),
        ([{}, PRICED], (PRICE,)),
        ([{}, GREEN], (CARBON,)),
        ([POWERED], ()),
        ([{**PRICED, **GREEN}, {}], (PRICE, CARBON)),
    ],
)
def test_price_and_carbon_have_a_column_if_anybody_states_them(
    documents: list[dict[str, object]], more: tuple[str, ...]
):
    table = a_table(*documents)
    assert table.columns == (*COLUMNS, *more)
    assert {len(row) for row in table.rows()} == {len(table.columns)}
    assert all(head in repr(table) for head in more)


def test_who_states_no_price_has_an_empty_cell():
    table = a_table({}, {**PRICED, **GREEN})
    assert [row[-2:] for row in table.rows()] == [("", ""), ("0.25", "31.5")]
    assert "<th>price/h</th>" in table._repr_html_()
    assert "<td>0.25</td><td>31.5</td>" in table._repr_html_()


def test_nobody_is_no_table():
    assert repr(a_table()) == "no agents on the mesh"


def test_named_resources_are_shown_with_their_number():
    (row,) = a_table({"resources": {"licence": 2, "camera-7": 1}}).rows()
    assert row[-1] == "camera-7, licence×2"
