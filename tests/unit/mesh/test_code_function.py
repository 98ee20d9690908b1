from __future__ import annotations

import functools
import gc
import threading
import weakref

import pytest

from gossamer_agent.worker import pickling
from gossamer_mesh.code.function import (
    PYTHON,
    content_digest,
    describe,
    describe_bound,
    name_of,
)


def double(x):
    return 2 * x


def own_helper(x):
    return double(x) + 1


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return self.by * x


def test_a_self_contained_function_is_sent_as_source_that_any_version_can_run():
    code = describe(own_helper)
    assert len(code.digest) == 16
    assert code.name == f"{__name__}.own_helper"
    assert (code.form, code.python, code.stable) == ("source", "", True)
    assert (code.bound, code.reason) == ("", "")


def test_what_is_not_is_sent_as_a_pickle_for_this_version_and_says_why():
    code = describe(Scale(3))
    assert (code.form, code.python, code.stable) == ("pickle", PYTHON, True)
    assert code.bound == f"it is a {__name__}.Scale"


def test_without_a_canonical_form_the_digest_is_that_of_the_bytes():
    value = iter([1, 2])

    def take():
        return next(value)

    code = describe(take)
    assert not code.stable
    assert code.reason == "closes over 'value', a list_iterator"
    assert code.digest == code.content == content_digest(code.code)


def test_with_arguments_that_bring_code_a_function_is_for_this_version_alone():
    bound = describe_bound(own_helper)
    assert (bound.digest, bound.code) == (describe(own_helper).digest, describe(own_helper).code)
    assert (bound.form, bound.python) == ("source", PYTHON)


def makes(by):
    return Scale(by)


def test_and_if_it_defines_classes_they_have_to_be_those_of_the_arguments():
    bound, free = describe_bound(makes), describe(makes)
    assert (free.form, free.classes, bound.form, bound.python) == ("source", True, "pickle", PYTHON)
    assert bound.digest != free.digest
    assert describe_bound(Scale(1)).form == "pickle"


def test_a_function_is_pickled_once():
    assert describe(double) is describe(double)


def test_two_functions_have_two_digests():
    assert describe(double).digest != describe(own_helper).digest


def test_own_functions_run_without_their_module():
    code = describe(own_helper)
    assert pickling.load_function(code.code)(3) == 7


@pytest.mark.parametrize(
    ("fn", "expected"), [(Scale(3), 9), (functools.partial(pow, 2), 8), (Scale(2).__call__, 6)]
)
def test_any_callable_has_code(fn, expected):
    assert pickling.load_function(describe(fn).code)(3) == expected


def test_what_cannot_be_hashed_is_pickled_anew_each_time():
    class Unhashable(Scale):
        __hash__ = None

    fn = Unhashable(3)
    assert pickling.load_function(describe(fn).code)(2) == 6


def test_code_travels_as_it_was_at_the_first_use():
    box = [1]

    def read():
        return box[0]

    describe(read)
    box[0] = 2
    assert pickling.load_function(describe(read).code)() == 1


def test_a_described_function_can_still_be_collected():
    def passing():
        return None

    describe(passing)
    gone = weakref.ref(passing)
    del passing
    gc.collect()
    assert gone() is None


def test_threads_that_describe_at_once_get_one_digest():
    def fn(x):
        return x

    start = threading.Barrier(4)
    found = []

    def look():
        start.wait()
        found.append(describe(fn))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({code.digest for code in found}) == 1
    assert describe(fn) in found


def test_a_partial_has_the_name_of_what_it_calls():
    assert name_of(functools.partial(functools.partial(double), 1)) == f"{__name__}.double"
    assert name_of(Scale(1)) == f"{__name__}.Scale"
