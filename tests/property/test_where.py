"""Whatever is written in `where=`, and whatever an agent says of itself."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import msgspec
from hypothesis import strategies as st

from gossamer_mesh.capability import Capabilities, decode, encode
from gossamer_mesh.errors import ConfigError
from gossamer_placement import fields
from gossamer_placement.model import Demand
from gossamer_placement.requirements import lacks, meets
from gossamer_placement.where import Where, parse

TEXTS = ["lab", "a", "", "3.11", "3.9", "arm64", "it's", 'x"', "\\"]
LITERALS = {
    "text": [repr(text) for text in ("lab", "a", "3.11", "arm64")] + ["'it\\'s'", "'\\\\'"],
    "number": ["0", "1", "2.5", "-1"],
    "share": ["80%", "-5%"],
    "size": ["1GiB", "512 MB", "0b"],
    "boolean": ["true", "False"],
}
FIELDS = [
    *(field for field in fields.known() if "<" not in field.name),
    fields.label("zone"),
    fields.label("any key"),
]

text = st.sampled_from(TEXTS) | st.text(max_size=5)
whole = st.integers(-(2**63), 2**64 - 1) | st.integers(-1, 4)
real = st.floats() | st.floats(0, 2)


@st.composite
def documents(draw: st.DrawFn) -> Capabilities:
    """Any document that can arrive: through its encoding, with numbers nobody would mean."""

    def several(**parts: Any) -> Any:
        return st.lists(st.fixed_dictionaries(parts), max_size=2)

    plain = draw(
        st.fixed_dictionaries(
            {
                "agent": text,
                "site": text,
                "incarnation": whole,
                "revision": whole,
                "host": text,
                "slots": whole,
                "python": text,
            },
            optional={
                "labels": st.dictionaries(st.sampled_from(["zone", "any key"]) | text, text),
                "version": text,
                "os": text,
                "arch": text,
                "cpu": st.fixed_dictionaries({"cores": whole, "model": text, "max_mhz": real}),
                "memory_bytes": whole,
                "disk_free_bytes": whole,
                "gpus": several(index=whole, name=text, memory_bytes=whole),
                "schedulers": several(name=text, command=text),
                "runtimes": several(name=text, command=text),
                "pythons": several(minor=text, path=text),
                "battery": st.fixed_dictionaries({"charge": real, "charging": st.booleans()}),
                "speed": real,
                "price": st.fixed_dictionaries({"per_slot_hour": real}),
                "power": st.fixed_dictionaries(
                    {"idle_w": real, "busy_w": real, "carbon": st.none() | real}
                ),
                "data": st.dictionaries(text, whole, max_size=2),
            },
        )
    )
    return decode(msgspec.msgpack.encode(plain))


def literal_for(field: fields.Field) -> st.SearchStrategy[str]:
    kinds = sorted(fields.LITERALS[field.kind])
    return st.sampled_from([literal for kind in kinds for literal in LITERALS[kind]])


def named(field: fields.Field) -> str:
    return "labels['any key']" if field.name == "labels.any key" else field.name


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    field = draw(st.sampled_from(FIELDS))
    name = named(field)
    forms = [name]
    if field.kind in fields.CONTAINERS:
        literal = draw(st.sampled_from(LITERALS["text"]))
        forms += [f"{literal} in {name}", f"{literal} not in {name}", f"labels.zone in {name}"]
    if field.kind != "names":
        literal = draw(literal_for(field))
        several = ", ".join(draw(st.lists(literal_for(field), max_size=3)))
        forms += [f"{name} {sign} {literal}" for sign in ("==", "!=")]
        forms += [f"{literal}!={name}", f"{name} in [{several}]", f"{name} not in ({several})"]
    if field.kind in fields.ORDERED:
        literal = draw(literal_for(field))
        forms += [f"{name} {sign} {literal}" for sign in ("<", "<=", ">", ">=")]
        forms += [f"{literal}<{name}", f"{name}<={name}"]
    return draw(st.sampled_from(forms))


expressions = st.recursive(
    comparisons() | st.sampled_from(["true", "False"]),
    lambda inner: (
        st.builds("({}) and {}".format, inner, inner)
        | st.builds("{} or ({})".format, inner, inner)
        | st.builds("not ({})".format, inner)
        | st.builds("not {}".format, inner)
    ),
    max_leaves=6,
)

PIECES = [
    *(
        "and",
        "or",
        "not",
        "in",
        "==",
        "<",
        ">=",
        "=",
        "(",
        ")",
        "[",
        "]",
        ",",
        "-",
        "'a'",
        '"',
        "'",
    ),
    *("1", "1GiB", "80%", "1e9", "1..", "true", "slots", "site", "runtimes", "gpu.name", "labels."),
    *("labels[", "gpu.memry", "é", "\n", "\\", "\ud800", "%"),
]


def parsed(text: str) -> Where | ConfigError:
    try:
        return parse(text)
    except ConfigError as error:
        return error


@hypothesis.given(
    st.text() | st.lists(st.sampled_from(PIECES)).map(" ".join) | st.binary().map(repr),
    documents(),
)
def test_any_text_is_an_expression_or_an_error_with_its_column(text, document):
    match parsed(text):
        case ConfigError() as error:
            column = error.fields["column"]
            assert 1 <= column <= len(text) + 1
            assert f": column {column}: " in str(error)
        case where:
            assert where.holds(document) in {True, False}


@hypothesis.given(expressions, documents())
def test_the_normalised_text_means_the_same_and_is_its_own_normal_form(text, document):
    where = parse(text)
    clauses = where.clauses
    again = parse(" and ".join(clause.text for clause in clauses))
    assert [clause.text for clause in again.clauses] == [clause.text for clause in clauses]
    assert [clause.holds(document) for clause in again.clauses] == [
        clause.holds(document) for clause in clauses
    ]
    assert where.holds(document) == all(clause.holds(document) for clause in clauses)


@hypothesis.given(expressions, expressions, documents())
def test_not_and_or_mean_what_they_do_in_python(one, other, document):
    first, second = parse(one).holds(document), parse(other).holds(document)
    assert parse(f"not ({one})").holds(document) == (not first)
    assert parse(f"({one}) and ({other})").holds(document) == (first and second)
    assert parse(f"({one}) or ({other})").holds(document) == (first or second)


@hypothesis.given(documents(), st.sampled_from(FIELDS), st.data())
def test_a_comparison_and_its_denial_are_complements(document, field, data):
    hypothesis.assume(field.kind != "names")
    literal = data.draw(literal_for(field))
    name = named(field)
    equal = parse(f"{name} == {literal}").holds(document)
    assert parse(f"{name} != {literal}").holds(document) == (not equal)
    assert parse(f"{literal} == {name}").holds(document) == equal
    assert parse(f"{name} in [{literal}]").holds(document) == equal
    assert parse(f"{name} not in [{literal}]").holds(document) == (not equal)


@hypothesis.given(documents(), st.sampled_from(["memory", "slots", "speed", "price"]), real)
def test_of_less_equal_and_more_one_holds_unless_the_value_is_missing(document, name, number):
    hypothesis.assume(math.isfinite(number))
    literal = f"{min(abs(number), 1e18):.3f}"
    held = [parse(f"{name} {sign} {literal}").holds(document) for sign in ("<", "==", ">")]
    field = fields.find(name)
    assert field is not None
    assert sum(held) == (field.read(document) is not None)


version = st.lists(st.integers(0, 20), min_size=1, max_size=3)


@hypothesis.given(version, version)
def test_versions_are_ordered_by_their_numbers(one, other):
    def shown(numbers):
        return ".".join(map(str, numbers))

    def bare(numbers):
        return numbers + [0] * (3 - len(numbers))

    first, second = fields.version_key(shown(one)), fields.version_key(shown(other))
    assert (first < second) == (bare(one) < bare(other))
    assert (first == second) == (bare(one) == bare(other))
    assert fields.version_key(f"{shown(one)}rc1") < first < fields.version_key(f"{shown(one)}.1")


@hypothesis.given(
    documents(),
    st.builds(
        Demand,
        cpus=st.integers(0, 4),
        gpus=st.integers(0, 2),
        memory_bytes=st.integers(0, 2**63 - 1),
        python=text,
        arch=text,
        agent=text,
        scheduler=text,
        runtime=text,
        data=text,
        labels=st.lists(st.tuples(text, text), max_size=2).map(tuple),
        where=st.just("") | expressions,
    ),
)
def test_an_agent_meets_a_demand_of_which_it_lacks_nothing(document, demand):
    assert meets(demand, document) == (not lacks(demand, document))
    assert lacks(demand, decode(encode(document))) == lacks(demand, document)
