from __future__ import annotations

from pathlib import Path

import pytest

from gossamer import contexts
from gossamer_mesh.access import Access
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.places import config_dir

LAB = Access("nats://lab.example:4222", "ada", "pw-lab")
HPC = Access("tls://hpc.example:443", "bob", "pw-hpc")
URL = {"GOSSAMER_URL": "nats://eve:pw-url@url.example:1"}


def test_with_nothing_said_and_nothing_running_there_is_no_mesh(home: Path):
    assert contexts.resolve(None, {}) is None
    assert not (home / "config").exists(), "looking makes nothing"
    assert not (home / "state").exists()


def test_the_environment_names_the_mesh():
    found = contexts.resolve(None, URL)
    assert found == Access("nats://url.example:1", "eve", "pw-url")


def test_a_chosen_context_goes_before_the_address_in_the_environment():
    contexts.save("lab", LAB)
    contexts.use("lab")
    assert contexts.resolve(None, URL) == LAB


def test_the_context_in_the_environment_goes_before_the_chosen_one():
    contexts.save("lab", LAB)
    contexts.save("hpc", HPC)
    contexts.use("lab")
    assert contexts.resolve(None, {**URL, "GOSSAMER_CONTEXT": "hpc"}) == HPC


def test_what_is_said_goes_before_everything(tmp_path: Path):
    contexts.save("lab", LAB)
    contexts.save("hpc", HPC)
    contexts.use("hpc")
    environ = {**URL, "GOSSAMER_CONTEXT": "hpc"}
    LAB.save(tmp_path / "lab.json")
    for target in ("lab", str(tmp_path / "lab.json"), tmp_path / "lab.json"):
        assert contexts.resolve(target, environ) == LAB
    assert contexts.resolve("nats://ada:pw-lab@lab.example", environ) == LAB


def test_an_access_file_in_the_current_directory_needs_no_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    LAB.save(tmp_path / "lab")
    assert contexts.resolve("lab") == LAB


def test_a_context_goes_before_a_file_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    HPC.save(tmp_path / "lab")
    contexts.save("lab", LAB)
    assert contexts.resolve("lab") == LAB


@pytest.mark.parametrize("target", ["nowhere", "", "no/where", "nowhere.json", "..", "a b"])
def test_what_is_named_and_not_there_is_an_error_and_not_another_mesh(target: str):
    with pytest.raises(ConfigError):
        contexts.resolve(target, URL)


def test_the_error_lists_what_there_is():
    contexts.save("lab", LAB)
    contexts.save("hpc", HPC)
    with pytest.raises(ConfigError, match=r"'lap' is neither .* a context \(known: hpc, lab; did"):
        contexts.resolve("lap")


def test_an_address_without_its_scheme_is_not_repeated_with_its_password():
    with pytest.raises(ConfigError) as caught:
        contexts.resolve("ada:pw-lab@lab.example:4222")
    assert "pw-lab" not in str(caught.value)


def test_a_missing_context_in_the_environment_says_where_the_name_came_from():
    with pytest.raises(ConfigError, match=r"\$GOSSAMER_CONTEXT is 'gone', which is no context"):
        contexts.resolve(None, {**URL, "GOSSAMER_CONTEXT": "gone"})


def test_a_wrong_address_in_the_environment_says_where_it_came_from():
    with pytest.raises(ConfigError, match=r"^\$GOSSAMER_URL: .*http") as caught:
        contexts.resolve(None, {"GOSSAMER_URL": "http://ada:pw@h"})
    assert "pw@" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a b", ".hidden", "x" * 64])
def test_a_name_that_could_be_a_path_is_refused(name: str):
    with pytest.raises(ConfigError):
        contexts.save(name, LAB)


def test_a_misspelt_context_is_told_the_one_most_like_it():
    contexts.save("hpc-lab", LAB)
    for ask in (contexts.named, contexts.load):
        with pytest.raises(ConfigError, match=r"known: hpc-lab; did you mean 'hpc-lab'\?"):
            ask("hpclab")


def test_a_removed_context_is_no_longer_current():
    contexts.save("lab", LAB)
    contexts.use("lab")
    contexts.remove("lab")
    assert contexts.current() is None
    assert contexts.names() == []


def test_only_a_context_that_exists_can_be_chosen():
    with pytest.raises(ConfigError, match="no context 'lab'"):
        contexts.use("lab")
    assert contexts.current() is None


def test_a_current_context_that_is_not_text_is_told():
    contexts.save("lab", LAB)
    contexts.use("lab")
    (config_dir() / "contexts" / "current").write_bytes(b"\xc3(")
    with pytest.raises(ConfigError, match="does not name a context"):
        contexts.current()


def test_no_context_may_be_current():
    contexts.save("lab", LAB)
    contexts.use("lab")
    contexts.use(None)
    contexts.use(None)
    assert contexts.resolve(None, {}) is None
