"""What an expression means, clause by clause, and what its author is told when it means nothing."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from gossamer_mesh.capability import (
    Battery,
    Capabilities,
    Cpu,
    Gpu,
    Power,
    Price,
    Python,
    Runtime,
    Scheduler,
)
from gossamer_mesh.errors import ConfigError
from gossamer_placement import fields
from gossamer_placement.where import MOST_BYTES, MOST_DEPTH, Where, parse

GIB = 2**30


def document(**given: Any) -> Capabilities:
    least = {
        "agent": "pi-4",
        "site": "field",
        "incarnation": 1,
        "revision": 1,
        "host": "h",
        "slots": 4,
        "python": "3.11",
    }
    return Capabilities(**{**least, **given})


BARE = document(site="", host="", python="")
RICH = document(
    labels={"zone": "eu-1", "k8s.io/role": "gpu", "any key": "it's"},
    version="0.2.0",
    os="Linux",
    arch="aarch64",
    cpu=Cpu(cores=8, model="Intel Xeon 6", max_mhz=3200.0),
    memory_bytes=16 * GIB,
    disk_free_bytes=500 * 10**9,
    gpus=(Gpu(0, "NVIDIA A100", memory_bytes=40 * GIB), Gpu(1, "T4", memory_bytes=16 * GIB)),
    schedulers=(Scheduler("slurm", "sbatch"),),
    runtimes=(Runtime("podman", "podman"),),
    pythons=(Python("3.12", "/usr/bin/python3.12"),),
    battery=Battery(charge=0.8, charging=True),
    speed=1.5,
    price=Price(per_slot_hour=0.05),
    power=Power(idle_w=50.0, busy_w=200.0, carbon=90.0),
    data={"camera-7": 10},
    resources={"camera-7": 1, "zone": 2},
)


def told(text: str) -> tuple[int, str]:
    """The column and the message of what is wrong with `text`."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    column = caught.value.fields["column"]
    assert isinstance(column, int)
    return column, str(caught.value)


# -- what holds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "gpu.memory >= 16GiB and site != 'lab' and 'podman' in runtimes",
        "name == 'pi-4' and agent == \"pi-4\"",
        "16GiB <= memory",
        "memory == 16 GiB and memory == 17179869184 and disk == 500GB",
        "gpu.memory == 40GiB",
        "gpu.name == 'T4' and gpu.name == 'NVIDIA A100' and gpu.name != 'H100'",
        "not gpu.name != 'T4'",
        "'A100' in gpu.name and 'H100' not in gpu.name and gpu.name in ['T4', 'L4']",
        "'Xeon' in cpu.model",
        "arch == 'arm64' and arch == 'AARCH64' and arch in ('armhf', 'arm64')",
        "python >= '3.9' and python < '3.12' and python == '3.11.0'",
        "version > '0.2.0rc1' and version < '0.2.0.1' and version < '0.10'",
        "version == '0.2+build'",
        "'slurm' in schedulers and 'camera-7' in data and '3.12' in pythons",
        "battery and battery.charging == true and battery == True",
        "battery.charge == 80% and battery.charge >= 0.8 and 100% > battery.charge",
        "price < 0.1 and power.idle == 50 and power.busy == 200 and carbon <= 90 and speed > 1",
        "carbon > -1 and carbon > -50%",
        "cpu.cores == 8 and cpu.mhz > 3000 and gpu.count == 2 and slots in [2, 4,]",
        "labels.zone == 'eu-1' and labels.k8s.io/role == 'gpu' and labels['zone'] in [\"eu-1\"]",
        r"labels['any key'] == 'it\'s'",
        "'eu' in labels.zone and labels.none == 'x' or labels.zone != labels.none",
        "os == 'Linux' and host and not labels.none",
        "false or true",
        "not not battery",
        "slots<=cpu.cores and(site=='field')",
        "site not in []",
    ],
)
def test_it_holds(text: str) -> None:
    assert parse(text).holds(RICH)
    assert all(clause.holds(RICH) for clause in parse(text).clauses)


@pytest.mark.parametrize(
    "text",
    [
        "gpu.memory > 40GiB",
        "site == 'field' and not battery",
        "battery and (slots < 4 or slots > 4)",
        "true and false",
        "slots in []",
        "'t4' in gpu.name",
        "'pod' in runtimes",
        "python < '3.9'",
    ],
)
def test_it_does_not_hold(text: str) -> None:
    assert not parse(text).holds(RICH)


LITERAL = {"number": "5", "size": "5GiB", "boolean": "true"}
FIELDS = [field for field in fields.known() if field.name not in {"name", "agent", "slots"}]


@pytest.mark.parametrize("field", [f for f in FIELDS if f.name not in {"gpu.count", "battery"}])
def test_a_missing_value_makes_every_comparison_false_but_those_that_deny(
    field: fields.Field,
) -> None:
    name = field.name.replace("<name>", "zone")
    literal = LITERAL.get(field.kind, "'x'")
    if field.kind != "names":
        assert not parse(f"{name} == {literal}").holds(BARE)
        assert not parse(f"{name} in [{literal}]").holds(BARE)
        assert parse(f"{name} != {literal}").holds(BARE)
        assert parse(f"{name} not in [{literal}]").holds(BARE)
    if field.kind in fields.ORDERED:
        for sign in ("<", "<=", ">", ">="):
            assert not parse(f"{name} {sign} {literal}").holds(BARE)
            assert not parse(f"{literal} {sign} {name}").holds(BARE)
            assert not parse(f"{name} {sign} {name}").holds(BARE)
    if field.kind in fields.CONTAINERS:
        assert not parse(f"{literal} in {name}").holds(BARE)
        assert parse(f"{literal} not in {name}").holds(BARE)
    assert not parse(name).holds(BARE)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_can_be_named_and_is_found_in_a_document_that_has_all(
    field: fields.Field,
) -> None:
    assert parse(field.name.replace("<name>", "zone")).holds(RICH)
    assert field.meaning


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
def test_a_number_that_cannot_be_meant_is_missing(number: float) -> None:
    absurd = document(
        memory_bytes=-1,
        disk_free_bytes=-1,
        speed=number,
        cpu=Cpu(cores=-1, max_mhz=number),
        gpus=(Gpu(0, "", memory_bytes=-1),),
        price=Price(per_slot_hour=number),
        power=Power(idle_w=number, busy_w=number, carbon=number),
        battery=Battery(charge=number, charging=False),
    )
    names = ("memory", "disk", "speed", "cpu.cores", "cpu.mhz", "gpu.memory", "price")
    for name in (*names, "power.idle", "power.busy", "carbon", "battery.charge"):
        assert not parse(f"{name} < 1 or {name} >= 1 or {name}").holds(absurd)


# -- clauses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("site=='a'and slots>2", ["site == 'a'", "slots > 2"]),
        ("(battery and slots) and (os)", ["battery", "slots", "os"]),
        ("battery and battery", ["battery"]),
        ("os or host", ["(os or host)"]),
        ("(os or host and site) and True", ["(os or host and site)", "true"]),
        ("not(os and host)", ["not (os and host)"]),
        ("not (os or host)", ["not (os or host)"]),
        ("not((battery))", ["not battery"]),
        ("memory>=16 GiB", ["memory >= 16GiB"]),
        ("slots  not   in(1,-2)", ["slots not in [1, -2]"]),
        (r'''site == "it's"''', [r"site == 'it\'s'"]),
        ("labels['a-b'] == 'c'", ["labels.a-b == 'c'"]),
        ("labels['a b']", ["labels['a b']"]),
    ],
)
def test_an_expression_is_the_clauses_that_must_all_hold(text: str, clauses: list[str]) -> None:
    where = parse(text)
    assert [clause.text for clause in where.clauses] == clauses
    assert where.text == text


def test_each_clause_says_for_itself_whether_it_holds() -> None:
    memory, site = parse("gpu.memory >= 16GiB and site != 'field'").clauses
    assert memory.holds(RICH)
    assert not site.holds(RICH)


def test_an_expression_is_parsed_once() -> None:
    assert isinstance(parse("slots > 1"), Where)
    assert parse("slots > 1") is parse("slots > 1")


# -- mistakes ------------------------------------------------------------------------------------


def test_a_mistyped_field_is_told_with_the_nearest_known_one() -> None:
    assert (
        "where='gpu.memry >= 16GiB': column 1: unknown field gpu.memry, did you mean gpu.memory?"
    ) in told("gpu.memry >= 16GiB")[1]


@pytest.mark.parametrize("text", ["gpu.memry > 1", "site == lab"])
def test_with_an_unknown_field_all_that_there_are_are_told(text: str) -> None:
    known = told(text)[1].partition("The fields are ")[2].split(", ")
    assert known == sorted(field.name for field in fields.known())


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("", 1, "expected a field or a value, found the end"),
        ("  ", 3, "found the end"),
        ("slots >", 8, "expected a field or a value, found the end"),
        ("slots > 1 battery", 11, "expected and, or, or the end, found battery"),
        ("(slots > 1", 11, "expected and, or, or ), found the end"),
        ("slots > 1)", 10, "found )"),
        ("1 < slots < 4", 11, "chained"),
        ("slots in [1] in [2]", 14, "chained"),
        ("(slots > 1) == true", 13, "in parentheses cannot be compared"),
        ("slots = 1", 7, "write =="),
        ("!battery", 1, "write !="),
        ("os && host", 4, "write and"),
        ("os || host", 4, "write or"),
        ("slots + 1", 7, "'+' means nothing here"),
        ("site == 'lab", 9, "never closed"),
        ('site == "lab', 9, "never closed"),
        ("site == lab", 9, "unknown field lab"),
        ("site == Lab.x", 9, "text is written in quotes"),
        ("label.zone == 'a'", 1, "did you mean labels.zone?"),
        ("labels", 1, "unknown field labels"),
        ("labels[1]", 8, "in quotes"),
        ("labels['a'", 11, "expected ]"),
        ("GPU.Count", 1, "did you mean gpu.count?"),
        ("slots > 'x'", 9, "slots is a number, and 'x' is text: they cannot be compared"),
        ("site == 5", 9, "site is text, and 5 is a number: they cannot be compared; write '5'"),
        ("5 == site", 1, "site is text, and 5 is a number"),
        ("python >= 3.11", 11, "a version, and 3.11 is a number: they cannot be compared; write '"),
        ("arch in ['a', 1]", 15, "an architecture, and 1 is a number"),
        ("memory > 80%", 10, "memory is a size, and 80% is a share"),
        ("slots > 1GiB", 9, "slots is a number, and 1GiB is a size"),
        ("battery == 1", 12, "battery is true or false, and 1 is a number"),
        ("battery > true", 1, "no order"),
        ("gpu.name > 'a'", 1, "no order"),
        ("memory > slots", 10, "memory is a size, and slots is a number"),
        ("gpu.name == gpu.name", 13, "cannot be compared"),
        ("runtimes == 'podman'", 1, "write 'name' in runtimes"),
        ("runtimes in ['podman']", 1, "write 'name' in runtimes"),
        ("site == runtimes", 9, "runtimes is a set of names"),
        ("1 in runtimes", 1, "1 is a number: only text can be in runtimes"),
        ("['a'] in runtimes", 1, "only text"),
        ("'a' in slots", 8, "slots is a number: nothing can be in it"),
        ("'3.1' in python", 10, "python is a version: nothing can be in it"),
        ("site in 'lab'", 9, "nothing can be in it"),
        ("site == ['lab']", 9, "['lab'] is a list"),
        ("'a' in ['a']", 1, "must be a field"),
        ("1 < 2", 5, "must be a field"),
        ("5", 2, "expected a comparison"),
        ("'lab' and battery", 7, "expected a comparison"),
        ("site in ['a' 'b']", 14, "expected , or ]"),
        ("site in [os]", 10, "expected a value or ]"),
        ("site in [['a']]", 10, "expected a value or ]"),
        ("site in (['a'])", 10, "expected a value or )"),
        ("site in ['a')", 13, "expected , or ]"),
        ("slots == not 1", 10, "found not"),
        ("memory > 16G", 10, "16G is not a number, a size"),
        ("slots > 1e3", 9, "1e3 is not a number"),
        ("slots > 99999999999999999999", 9, "is not a number"),
        ("memory > -1GiB", 10, "a size is not negative"),
        ("slots > - -1", 9, "found -"),
        ("not", 4, "found the end"),
    ],
)
def test_a_mistake_is_told_with_its_column(text: str, column: int, part: str) -> None:
    found, message = told(text)
    assert (found, part in message) == (column, True), message
    assert f"column {column}: " in message


def test_what_is_nested_too_deep_is_refused() -> None:
    assert parse("(" * MOST_DEPTH + "os" + ")" * MOST_DEPTH).holds(RICH)
    column, message = told("(" * (MOST_DEPTH + 1) + "os" + ")" * (MOST_DEPTH + 1))
    assert column == MOST_DEPTH + 1
    assert "nested more than 32 deep" in message
    assert "nested" in told("not " * 1000 + "os")[1]


def test_the_longest_expression_is_parsed_and_a_longer_one_refused() -> None:
    padded = "slots > 1 or " * 300 + "os"
    assert parse(padded.ljust(MOST_BYTES)).holds(RICH)
    assert "4097 bytes are too long, at most 4096" in told(padded.ljust(MOST_BYTES + 1))[1]
    assert "bytes are too long" in told("'" + "é" * 2048 + "'")[1]


def test_of_a_long_expression_the_place_of_the_mistake_is_shown() -> None:
    column, message = told("slots > 1 or " * 100 + "gpu.cout > 1" + " or slots > 1" * 100)
    assert column == 1301
    assert len(message.partition("The fields are")[0]) < 250
    assert message.startswith("where='…")
    assert "gpu.cout > 1" in message


def test_a_mistake_is_told_again_the_second_time_and_survives_pickling() -> None:
    assert told("slots >") == told("slots >")
    with pytest.raises(ConfigError) as caught:
        parse("slots >")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.fields) == (str(caught.value), {"where": "slots >", "column": 8})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("'camera-7' in resources", True),
        ("'camera-8' in resources", False),
        ("resources.camera-7 == 1", True),
        ("resources.zone>=2 and resources.zone < 3", True),
        ("resources.camera-8 >= 1", False),
    ],
)
def test_named_resources_can_be_asked_for(text: str, holds: bool) -> None:  # noqa: FBT001  a parameter
    assert parse(text).holds(RICH) == holds


def test_who_writes_resource_is_told_of_resources() -> None:
    with pytest.raises(ConfigError, match=r"did you mean resources\.camera"):
        parse("resource.camera-7 == 1")
