"""Including changes what is submitted from then on; explaining says what would be."""

from __future__ import annotations

import sys

import pytest

import gossamer
from gossamer.functions import job_for
from gossamer.options import DEFAULT
from gossamer_mesh.code import include as including

LIMIT = 3


@pytest.fixture
def own_pkg(tmp_path):
    (tmp_path / "own_pkg").mkdir()
    (tmp_path / "own_pkg" / "__init__.py").write_text("def work():\n    return 1\n")
    sys.path.insert(0, str(tmp_path))
    yield tmp_path / "own_pkg" / "__init__.py"
    sys.path.remove(str(tmp_path))
    sys.modules.pop("own_pkg", None)
    including.exclude("own_pkg")
    gossamer.include()


def scaled(x, by=2, *, plus=0):
    import own_pkg  # noqa: PLC0415 - what is tested

    return helper(x) * by + plus + own_pkg.work()


def helper(x):
    return x * LIMIT


class Held:
    def __call__(self):
        return LIMIT


def test_what_is_included_goes_with_every_function_from_then_on(own_pkg):
    before = job_for(scaled, DEFAULT)
    gossamer.include("own_pkg")
    after = job_for(scaled, DEFAULT)
    assert before.includes == ()
    packed = including.pack("own_pkg")
    assert after.includes == ((packed.digest, packed.content),)
    assert after.function != before.function
    assert after.on_wire(with_code=False).includes == (packed.digest,)

    own_pkg.write_text("def work():\n    return 2\n")
    assert job_for(scaled, DEFAULT) is after
    gossamer.include("own_pkg")
    assert job_for(scaled, DEFAULT).function not in {before.function, after.function}


def test_a_self_contained_function_is_explained():
    told = gossamer.explain_function(helper)
    assert (told.form, told.python, told.bound, told.stable) == ("source", "", "", True)
    assert [(one.name, one.how, one.what) for one in told.references] == [
        ("LIMIT", "a global", "int")
    ]
    assert told.code_bytes > 0
    for part in (told.digest, "stable", "as source", "any version", "LIMIT: int (a global)"):
        assert part in str(told)


def test_an_import_that_agents_do_not_have_is_pointed_out(own_pkg):
    import own_pkg  # noqa: F401, PLC0415 - so that it is known to be the user's

    hint = "it imports own_pkg, which agents do not have: gossamer.include('own_pkg') sends it"
    assert gossamer.explain_function(scaled).hints == (hint,)
    assert hint in str(gossamer.explain_function(scaled))
    gossamer.include("own_pkg")
    told = gossamer.explain_function(scaled)
    assert (told.hints, told.includes) == ((), ("own_pkg",))
    assert "includes  own_pkg" in str(told)


def test_what_stands_in_the_way_is_explained():
    told = gossamer.explain_function(Held())
    assert told.form == "pickle"
    assert "as a pickle: it is a" in str(told)
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]} alone" in str(told)


def test_what_has_no_canonical_form_is_explained():
    value = iter([1])

    def take():
        return next(value)

    told = gossamer.explain_function(take)
    assert not told.stable
    assert "not stable: it closes over 'value', a list_iterator" in str(told)
