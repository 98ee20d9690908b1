from __future__ import annotations

import pytest

from testbed.bench.table import number, render


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (12345.6, "calls/s", "12,346 calls/s"),
        (560.4, "µs", "560 µs"),
        (45.678, "MiB", "45.7 MiB"),
        (0.4321, "×", "0.43 ×"),
        (2.0, "", "2.00"),
        (0, "% of a core", "0.0 % of a core"),
    ],
)
def test_a_number_keeps_the_figures_that_mean_something(value: float, unit: str, text: str):
    assert number(value, unit) == text


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_end_together():
    table = render(("system", "value"), [("a", "1 s"), ("longer one", "20 s")], frozenset({1}))
    assert table.splitlines() == [
        "| system     | value |",
        "|------------|------:|",
        "| a          |   1 s |",
        "| longer one |  20 s |",
    ]


def test_a_table_without_rows_still_has_its_head():
    assert render(("a",), [], frozenset()).splitlines() == ["| a |", "|---|"]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(IndexError):
        render(("a", "b"), [("only one",)], frozenset())
