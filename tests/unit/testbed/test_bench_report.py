from __future__ import annotations

import msgspec

from testbed.bench.blocks import Block
from testbed.bench.facts import IDLE_MEMORY, fact
from testbed.bench.phases import Sizes
from testbed.bench.report import Report, summarise, text
from testbed.bench.systems import ALONE, OURS


def report(*blocks: Block, memory: float = 50) -> Report:
    return summarise(
        blocks=blocks,
        facts=[fact(OURS, IDLE_MEMORY, "MiB", [memory])],
        sizes=Sizes(),
        machine={"machine": "2 cores"},
        versions={"ray": {"ray": "2.60.0"}},
        missing={"Dask distributed": "no space on the disk"},
    )


def test_ours_has_a_row_for_each_phase_that_says_beside_whom():
    rows = report(
        Block(ALONE, 0, OURS, "burst", (1000,)),
        Block("ray", 0, OURS, "burst", (900,)),
        Block("ray", 0, "Ray actor", "burst", (100,)),
    ).rows
    assert [(row.system, row.measure, row.value) for row in rows[:3]] == [
        ("gossamer", "20,000 futures at once", 1000),
        ("gossamer, beside ray", "20,000 futures at once", 900),
        ("Ray actor", "20,000 futures at once", 100),
    ]


def test_latency_gives_a_row_for_p50_and_one_for_p99():
    rows = report(Block(ALONE, 0, OURS, "latency", tuple(range(1, 101)))).rows
    assert [(row.measure, row.value) for row in rows[:2]] == [
        ("one call at a time, p50", 50.5),
        ("one call at a time, p99", 99),
    ]


def test_a_peer_that_could_not_be_had_is_in_the_table_with_its_reason():
    line = next(line for line in text(report()).splitlines() if "Dask" in line)
    assert "not available" in line
    assert "no space on the disk" in line


def test_the_text_names_versions_and_machine():
    assert "ray: ray 2.60.0" in text(report())
    assert "machine: 2 cores" in text(report())


def test_a_missed_target_makes_the_run_failed_and_an_unmeasured_one_does_not():
    assert not report(memory=50).failed
    assert report(memory=61).failed


def test_a_report_survives_json():
    written = report(Block(ALONE, 0, OURS, "map", (5.0,)))
    assert msgspec.json.decode(msgspec.json.encode(written), type=Report) == written
