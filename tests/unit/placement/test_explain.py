"""A decision in words: aligned, narrow enough for a terminal, and its numbers add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.units import parse_seconds
from gossamer_placement.explain import WIDTH, explain, parts, ruled_out
from gossamer_placement.model import OBJECTIVES, Decision, Term

DIGITS = 0.0051
"""What three digits may be off by: half of the last, of the least such number."""

TIMES = {
    "rtt": "rtt_s",
    "wait": "queue_s",
    "transfer": "transfer_s",
    "cold": "cold_s",
    "run": "run_s",
    "result": "result_s",
}
GPU = Term("gpu-1", 1.1, rtt_s=0.0012, run_s=1.1, cost=0.002)
PI = Term("pi-4", 5.9, rtt_s=0.02, queue_s=3.0, transfer_s=1.5, run_s=2.9)


def a_decision(*terms: Term, **fields: object) -> Decision:
    given = {"agent": terms[0].agent if terms else "a", "feasible": 5, **fields}
    return Decision(terms=terms, **given)


def cells(text: str) -> list[dict[str, str]]:
    """The rows of the table by its heads."""
    lines = text.splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("  agent"))
    titles = lines[head].split()
    rows = [line[2:].split() for line in lines[head + 1 :] if line[:2] in {"* ", "  "}]
    return [dict(zip(titles, row, strict=True)) for row in rows]


def test_it_says_where_and_why_with_aligned_terms():
    assert explain(a_decision(GPU, PI, ruled_out={"arch=arm64": 3, "gpus>=1": 9})) == (
        "on gpu-1, objective fastest; 5 agents can run it, 2 looked at\n"
        "gpus>=1 ruled out 9, arch=arm64 ruled out 3\n"
        "  agent    rtt  wait  transfer   run    eta   cost\n"
        "* gpu-1  1.2ms     0         0  1.1s   1.1s  0.002\n"
        "  pi-4    20ms    3s      1.5s  2.9s  5.92s      0\n"
        "eta = rtt + max(wait, transfer) + run"
    )


def test_it_is_what_a_decision_prints():
    decision = a_decision(GPU, PI)
    assert str(decision) == explain(decision)


def test_a_notebook_shows_the_same_as_a_table_with_the_chosen_in_bold():
    assert a_decision(GPU, PI, ruled_out={"gpus>=1": 9})._repr_html_() == (
        "<p>on gpu-1, objective fastest; 5 agents can run it, 2 looked at<br>"
        "gpus&gt;=1 ruled out 9</p><table>"
        "<tr><th>agent</th><th>rtt</th><th>wait</th><th>transfer</th><th>run</th><th>eta</th>"
        "<th>cost</th></tr>"
        "<tr><td><b>gpu-1</b></td><td>1.2ms</td><td>0</td><td>0</td><td>1.1s</td><td>1.1s</td>"
        "<td>0.002</td></tr>"
        "<tr><td>pi-4</td><td>20ms</td><td>3s</td><td>1.5s</td><td>2.9s</td><td>5.92s</td>"
        "<td>0</td></tr></table>"
    )


def test_whatever_an_agent_calls_itself_a_notebook_shows_as_text():
    evil = "<script>alert(1)</script>"
    decision = a_decision(Term(evil, 1.0, run_s=1.0), ruled_out={evil: 1})
    assert "<script" not in decision._repr_html_()
    assert decision._repr_html_().count("&lt;script&gt;") == 3
    assert "<script" not in Decision(agent=evil)._repr_html_()


def test_what_is_nothing_for_all_has_no_column():
    text = explain(a_decision(Term("a", 1.0, run_s=1.0), Term("b", 2.0, run_s=2.0)))
    assert list(cells(text)[0]) == ["agent", "run", "eta"]
    assert text.endswith("\neta = run")


def test_of_many_agents_the_chosen_and_the_best_others_are_shown():
    terms = [Term(f"a-{n}", float(n), run_s=float(n)) for n in (9, 4, 1, 3, 2)]
    text = explain(a_decision(*terms))
    assert [row["agent"] for row in cells(text)] == ["a-9", "a-1", "a-2"]
    assert [line[:5] for line in text.splitlines() if line.startswith("* ")] == ["* a-9"]


def test_of_one_agent_it_speaks_in_the_singular():
    assert "; 1 agent can run it" in explain(a_decision(GPU, feasible=1))


def test_how_many_were_looked_at_is_said_where_they_are_not_all():
    assert "; 900 agents can run it, 2 looked at" in explain(a_decision(GPU, PI, feasible=900))
    assert "looked at" not in explain(a_decision(GPU, PI, feasible=2))


def test_nothing_but_the_agent_is_known_of_a_bare_decision():
    assert explain(Decision(agent="a", feasible=2)) == (
        "on a, objective fastest; 2 agents can run it"
    )


def test_exploration_and_bursts_are_marked():
    text = explain(a_decision(GPU, explored=True, burst=32))
    assert "\nexplored: another agent was expected to be better" in text
    assert "\nburst: 32 calls went there" in text
    plain = explain(a_decision(GPU))
    assert "explored" not in plain
    assert "burst" not in plain


def test_carbon_is_shown_where_there_is_some_and_load_where_it_decides():
    term = Term("a", 0.5, run_s=1.0, load=0.5, carbon_g=0.0123)
    assert cells(explain(a_decision(term)))[0]["carbon"] == "0.0123g"
    assert "load" not in explain(a_decision(term))
    assert cells(explain(a_decision(term, objective="spread")))[0]["load"] == "0.5"


def test_a_long_list_of_constraints_is_wrapped_between_words():
    counts = {f"labels.rack-{n} == 'row {n}'": n + 1 for n in range(30)}
    text = explain(a_decision(GPU, ruled_out=counts))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(f"{c.split()[0]}" in text for c in counts)


def test_a_constraint_that_ruled_out_more_comes_first():
    said = ruled_out({"a": 1, "b": 3, "c": 3})
    assert said == "b ruled out 3, c ruled out 3, a ruled out 1"


def test_parts_are_what_there_is_the_largest_first():
    assert parts(PI) == "wait 3s, run 2.9s, transfer 1.5s, rtt 20ms"
    assert parts(Term("a", 0.0)) == ""


seconds = st.just(0.0) | st.floats(1e-6, 1e7)
amounts = st.just(0.0) | st.floats(1e-12, 1e12)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True)
decisions = st.builds(
    lambda terms, **fields: a_decision(*terms, **fields),
    st.lists(
        st.builds(
            Term,
            names,
            amounts,
            **dict.fromkeys(TIMES.values(), seconds),
            **dict.fromkeys(("load", "cost", "carbon_g"), amounts),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda term: term.agent,
    ),
    objective=st.sampled_from(OBJECTIVES),
    feasible=st.integers(1, 10_000),
    ruled_out=st.dictionaries(st.text("abc=> .-", min_size=1, max_size=150), st.integers(1, 999)),
    explored=st.booleans(),
    burst=st.integers(1, 10_000),
)


@given(decisions)
def test_no_line_is_too_wide_for_a_terminal(decision: Decision):
    assert max(map(len, explain(decision).splitlines())) <= WIDTH


@given(decisions)
def test_the_numbers_that_are_shown_add_up(decision: Decision):
    text = explain(decision)
    rows = cells(text)
    assert len(rows) == len(decision.considered)
    for row, term in zip(rows, decision.considered, strict=True):
        # A number that has no column is shown to be nothing.
        shown = {name: parse_seconds(row.get(name, "0")) for name in (*TIMES, "eta")}
        for name, field in TIMES.items():
            assert shown[name] == pytest.approx(getattr(term, field), rel=DIGITS, abs=1e-11)
        total = shown["rtt"] + max(shown["wait"], shown["transfer"])
        total += shown["cold"] + shown["run"] + shown["result"]
        assert shown["eta"] == pytest.approx(total, rel=2 * DIGITS)
        if any(getattr(term, field) for field in TIMES.values()):
            used = text.splitlines()[-1]
            assert [n for n in TIMES if shown[n] and n not in used] == []
