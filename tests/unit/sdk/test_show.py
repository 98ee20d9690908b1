"""The table of agents."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from gossamer.show import (
    CARBON,
    COLUMNS,
    LINES,
    PRICE,
    AgentTable,
    FunctionTable,
    html_task,
)
from gossamer.task import Timings
from gossamer.transcript import Progress
from gossamer_mesh import wire
from gossamer_mesh.capability import Power, Price
from gossamer_mesh.registered import Registered
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


EVIL = "<script>alert('&')</script>"


def a_task(**fields: object) -> SimpleNamespace:
    given = {
        "id": "c.1",
        "function": "f",
        "state": "running",
        "agent": None,
        "attempt": 1,
        "progress": None,
        "timings": Timings(0.0, 0.0, 0.0, 1.5),
        "stdout": "",
        "stderr": "",
        **fields,
    }
    return SimpleNamespace(**given)


def test_a_task_in_a_notebook_is_what_is_known_of_it():
    html = html_task(a_task(agent="pi", progress=Progress(0.25, "fitting")))
    assert re.findall("<th>(.*?)</th>", html) == [
        "task", "function", "state", "agent", "attempt", "progress", "altogether",
    ]  # fmt: skip
    assert re.findall("<td>(.*?)</td>", html) == [
        "c.1", "f", "running", "pi", "1", "25% fitting", "1.5s",
    ]  # fmt: skip


def test_the_last_lines_that_a_task_has_printed_are_shown_with_it():
    html = html_task(a_task(stdout="".join(f"line {n}\n" for n in range(100)), stderr="oops"))
    first, second = re.findall("<b>(.*?)</b><pre>(.*?)</pre>", html, re.DOTALL)
    assert first == ("stdout", "\n".join(f"line {n}" for n in range(100 - LINES, 100)))
    assert second == ("stderr", "oops")
    assert len(html_task(a_task(stdout="x" * 10**6))) < 10_000


def test_nothing_that_a_task_or_an_agent_says_is_markup():
    said = ("id", "function", "state", "agent", "stdout", "stderr")
    html = html_task(a_task(progress=Progress(0.5, EVIL), **dict.fromkeys(said, EVIL)))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == len(said) + 1
    assert "<script" not in a_table({"site": EVIL, "labels": {EVIL: EVIL}})._repr_html_()


def test_what_others_wrote_is_shown_as_text_and_not_obeyed():
    entry = Registered(
        owner="ada",
        name="f",
        version=1,
        digest=b"d" * 16,
        content="c",
        description="a [/docs] :smile:\x1b[2J\nb",
    )
    shown = repr(FunctionTable([entry]))
    assert "a [/docs] :smile:�[2J b" in shown
    assert "[/docs]" in repr(a_table({"labels": {"room": "[/docs]"}}))
    assert repr(FunctionTable([])) == "no functions"
