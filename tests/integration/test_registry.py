"""Functions registered by one process and called by name from others that lack their code."""

from __future__ import annotations

import json
import os
import textwrap

import pytest

import gossamer
from gossamer import (
    AmbiguousNameError,
    ConfigError,
    NoAgentError,
    NotAllowedError,
    PayloadTooLargeError,
    TaskTimeoutError,
    UnknownFunctionError,
    VersionTakenError,
)
from testbed.bench import by_name
from tests.integration.test_policy import opened, user

pytestmark = pytest.mark.timeout(60)

AWAY = """
    import json, sys, gossamer
    with gossamer.connect({access!r}) as mesh:
        assert "test_registry" not in sys.modules
        told = {{
            "submit": mesh.submit("describe@2", "x").result(timeout=20),
            "newest": mesh.submit("describe", "x").result(timeout=20),
            "first": mesh.submit("describe@1", "x").result(timeout=20),
            "in full": mesh.submit("owner/describe@1", "x").result(timeout=20),
            "map": list(mesh.map("describe@2", ["a", "b"], chunksize=2)),
            "executor": mesh.executor().submit("describe@2", "x").result(timeout=20),
            "explain": mesh.explain("describe@2", "x").agent,
            "functions": [str(each) for each in mesh.functions()],
        }}
        print(json.dumps(told))
"""


@pytest.fixture
def names(mesh):
    """What a test registers, deleted when it ends: the mesh is shared."""
    yield
    for each in mesh.functions():
        mesh.unregister(each)


def first(path: str) -> list[str]:
    return ["first", path]


def second(path: str) -> list[str]:
    """Tell of a path.

    At length.
    """
    return ["second", path]


@gossamer.function(timeout=0.2, retries=0, resources="camera-7", on="shared")
def choosy() -> int:
    return 1


@gossamer.function(timeout=0.2, retries=0)
def endless() -> None:
    import time  # noqa: PLC0415  where it runs

    time.sleep(60)


def with_own_option(data: str) -> str:
    return data


def test_what_one_process_registers_another_calls_by_name(shared, mesh, names, script):
    one = mesh.register(first, name="describe")
    two = mesh.register(second, name="describe", version=2)
    assert (str(one), str(two)) == ("owner/describe@1", "owner/describe@2")
    assert (two.name, two.version, len(two.digest)) == ("describe", 2, 16)
    assert (one.description, two.description) == ("", "Tell of a path.")
    away = script(AWAY.format(access=str(shared.access)))
    out, err = away.communicate(timeout=40)
    assert away.returncode == 0, err
    assert json.loads(out) == {
        "submit": ["second", "x"],
        "newest": ["second", "x"],
        "first": ["first", "x"],
        "in full": ["first", "x"],
        "map": [["second", "a"], ["second", "b"]],
        "executor": ["second", "x"],
        "explain": "shared",
        "functions": ["owner/describe@2", "owner/describe@1"],
    }


def test_what_registering_returned_can_be_submitted_and_pinned(mesh, names):
    one = mesh.register(first, name="describe")
    assert mesh.submit(one, "x").result(timeout=20) == ["first", "x"]
    mesh.register(second, name="describe")
    assert mesh.submit(one, "x").result(timeout=20) == ["first", "x"]
    assert mesh.submit("describe", "x").result(timeout=20) == ["second", "x"]


def test_the_same_again_is_no_new_version_and_other_code_says_which_one_is_next(mesh, names):
    one = mesh.register(first, name="describe")
    assert mesh.register(first, name="describe") == one
    assert mesh.register(first, name="describe", version=1) == one
    with pytest.raises(VersionTakenError, match=r"describe@1 .* other code .* as version=2"):
        mesh.register(second, name="describe", version=1)
    seven = mesh.register(second, name="describe", version=7)
    with pytest.raises(VersionTakenError, match="as version=8"):
        mesh.register(second, name="describe", version=1)
    assert mesh.register(first, name="describe").version == 8
    assert [str(each) for each in mesh.functions()] == ["owner/describe@8", str(seven), str(one)]


def test_what_is_not_registered_is_answered_with_what_is(mesh, names):
    with pytest.raises(UnknownFunctionError, match=r"as 'describe' \(none is registered"):
        mesh.submit("describe", 1)
    mesh.register(first, name="describe")
    with pytest.raises(UnknownFunctionError, match="did you mean describe\\?"):
        mesh.submit("descrive@1", 1)
    with pytest.raises(
        UnknownFunctionError,
        match="owner/describe has no version 9: the newest is owner/describe@1",
    ):
        mesh.explain("describe@9", 1)
    with pytest.raises(ConfigError, match="'describe@x': behind '@'"):
        mesh.submit("describe@x", 1)
    with pytest.raises(
        UnknownFunctionError, match="as 'ada/describe'; did you mean owner/describe"
    ):
        mesh.submit("ada/describe", 1)
    with pytest.raises(ConfigError, match=r"the function's name 'os.path:join'"):
        mesh.submit("os.path:join", 1)


def test_a_version_that_is_deleted_is_not_called_any_more(shared, mesh, names):
    one = mesh.register(first, name="describe")
    mesh.register(second, name="describe")
    with shared.connect() as other:
        assert other.submit("describe", "x").result(timeout=20) == ["second", "x"]
        mesh.unregister("describe@2")
        tries = 50
        while other.submit("describe", "x").result(timeout=20) != ["first", "x"]:
            tries -= 1
            assert tries
        mesh.unregister(one)
        with pytest.raises(UnknownFunctionError):
            mesh.submit("describe", "x")
        with pytest.raises(UnknownFunctionError):
            mesh.submit(one, "x")
        mesh.register(first, name="describe")
        with pytest.raises(ConfigError, match="say which one is to be deleted"):
            mesh.unregister("describe")


def test_what_was_said_of_a_function_holds_for_calls_by_name(mesh, names):
    mesh.register(endless)
    with pytest.raises(TaskTimeoutError):
        mesh.submit("endless").result(timeout=20)
    mesh.register(choosy)
    with pytest.raises(NoAgentError, match=r"resources.camera-7>=1 ruled out 1"):
        mesh.submit("choosy").result(timeout=20)


def test_a_keyword_that_the_function_has_is_the_functions(mesh, names):
    mesh.register(with_own_option)
    assert mesh.submit("with_own_option", data="x").result(timeout=20) == "x"
    with pytest.raises(TypeError, match="'data' is an option and a parameter of with_own_option"):
        mesh.map("with_own_option", ["x"], data="x")
    with pytest.raises(NoAgentError, match="gpus>=99"):
        mesh.explain("with_own_option", data="x", gpus=99)


@pytest.mark.parametrize("name", ["a b", "", "a.b", "x" * 64, "0123456789abcdef" * 2, "a@1"])
def test_what_cannot_be_a_name_is_refused(mesh, name):
    with pytest.raises(ConfigError, match="the function's name"):
        mesh.register(first, name=name)


@pytest.mark.parametrize("version", [0, -1, True, 1.5, "2", 10**10])
def test_what_cannot_be_a_version_is_refused(mesh, version):
    with pytest.raises(ConfigError, match="version="):
        mesh.register(first, version=version)


def test_code_that_the_registry_cannot_keep_is_refused_before_it_is_sent(mesh):
    captured = os.urandom(2**20)
    with pytest.raises(PayloadTooLargeError, match="at most 900KiB of a function"):
        mesh.register(lambda: captured, name="large")
    with pytest.raises(ConfigError, match="shorten its description"):
        mesh.register(first, description="x" * 100_000)


def test_functions_can_be_searched_and_shown(mesh, names):
    assert repr(mesh.functions()) == "no functions"
    mesh.register(first, name="describe", description="Look at <paths>")
    mesh.register(second, name="other")
    found = mesh.functions("PATHS")
    assert [str(each) for each in found] == ["owner/describe@1"]
    assert found == mesh.functions("OWNER/D") == [mesh.find("describe")]
    assert found.rows()[0][:2] == ("describe@1", "owner")
    assert "Look at <paths>" in repr(found)
    assert "<td>Look at &lt;paths&gt;</td>" in found._repr_html_()
    assert mesh.functions("nothing such") == []


async def test_a_registered_function_is_awaited(shared, mesh, names):
    async with gossamer.open_mesh(shared.access) as away:
        one = await away.register(first, name="describe")
        assert await away.run("describe@1", "x") == ["first", "x"]
        assert await away.run(one, "y") == ["first", "y"]
        assert (await away.explain("describe", "x")).agent == "shared"
        assert [str(each) for each in await away.functions("desc")] == ["owner/describe@1"]
        assert await away.find("describe") == one
        assert await away.unregister(one) == one
        with pytest.raises(UnknownFunctionError):
            await away.run("describe", "x")


def test_registered_code_is_never_loaded_by_who_calls_it(shared, mesh, names, script, tmp_path):
    """Its unpickling would leave a file: only agents' workers may do that."""
    source = textwrap.dedent(f"""
        import gossamer, os, pathlib
        class Trap:
            def __reduce__(self):
                return (os.system, ("touch {tmp_path}/$PPID",))
        trap = Trap()
        def loaded():
            return trap
        with gossamer.connect({str(shared.access)!r}) as mesh:
            mesh.register(loaded)
    """)
    author = script(source)
    _, err = author.communicate(timeout=20)
    assert author.returncode == 0, err
    (entry,) = mesh.functions()
    assert str(entry) == "owner/loaded@1"
    mesh.explain("loaded")
    assert list(tmp_path.glob("[0-9]*")) == []
    mesh.submit("loaded").exception(timeout=20)
    (mark,) = tmp_path.glob("[0-9]*")
    assert int(mark.name) != os.getpid()


def test_each_user_has_names_of_their_own_and_no_users_are_anothers_to_change(fleet):
    """As the server holds them to it: each with credentials of their own."""
    fleet.add("a")
    ada, eve = (user(fleet, name) for name in ("ada", "eve"))
    with fleet.connect() as root, opened(ada) as hers, opened(eve) as eves:
        one = hers.register(first, name="describe")
        assert root.submit("describe@1", "x").result(timeout=20) == ["first", "x"]
        with pytest.raises(NotAllowedError, match="ada/describe@1 is ada's, and you are eve"):
            eves.unregister("describe@1")
        rival = eves.register(second, name="describe")
        assert (str(rival), rival.version) == ("eve/describe@1", 1)
        # What others call is what it was, or they are asked.
        assert root.submit("ada/describe", "x").result(timeout=20) == ["first", "x"]
        assert hers.find("describe") == one
        tries = 500
        while root.functions() != [one, rival]:
            tries -= 1
            assert tries
        with pytest.raises(AmbiguousNameError, match="by ada and by eve"):
            root.submit("describe", "x")
        # Whoever is gone is cleared up after.
        assert root.unregister("eve/describe@1") == rival
        assert root.submit("describe", "x").result(timeout=20) == ["first", "x"]
        assert list(root.functions()) == [one]


def test_the_bench_of_calls_by_name_measures_pairs():
    ratios, plain_us = by_name.measure(3, 2)
    assert len(ratios) == 3
    assert all(ratio > 0 for ratio in ratios)
    assert plain_us > 0
