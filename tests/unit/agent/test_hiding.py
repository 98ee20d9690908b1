"""What is hidden from tasks, and what an agent says when it is not."""

import logging
import os
import tempfile
from pathlib import Path

import pytest

from gossamer_agent import config, hiding
from gossamer_agent.worker.veil import COVERED, HIDDEN, OPEN
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.places import config_dir, private_dir, runtime_dir, state_dir


def told(**given):
    return config.build(name="here", **given)


def test_directories_are_hidden_that_hold_credentials_and_made_where_they_are_missing():
    planned = hiding.plan(told())
    kept = [state_dir() / "meshes", state_dir() / "local", config_dir() / "contexts"]
    kept += [config_dir() / "agents", config_dir() / "mesh.access"]
    assert all(planned.has(each) for each in kept)
    assert all(Path(each).is_dir() for each in planned.hidden)
    assert planned.passing == (str(runtime_dir()),)


def test_blobs_and_the_grants_that_are_kept_stay_to_be_seen():
    planned = hiding.plan(told())
    for name in ("gossamer-blobs-x", "grants"):
        assert not planned.has(state_dir() / name)


def test_where_all_is_kept_in_one_place_the_blobs_in_it_stay_to_be_seen(tmp_path, monkeypatch):
    for name in ("STATE_HOME", "CONFIG_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path))
    planned = hiding.plan(told())
    assert not planned.passing
    assert not planned.has(state_dir() / "gossamer-blobs-x")
    assert planned.has(config_dir() / "contexts" / "lab.json")


def test_where_nothing_is_to_be_hidden_nothing_is_made():
    assert hiding.plan(told(hide_credentials="no")) == hiding.NOTHING
    assert not config_dir(make=False).exists()


def test_what_cannot_be_made_cannot_hold_anything_and_is_left_out(home):
    (home / "config").write_text("in the way")
    planned = hiding.plan(told())
    assert planned.hidden
    assert not planned.has(config_dir(make=False) / "contexts")


def test_a_link_to_a_hidden_directory_is_seen_through(tmp_path):
    planned = hiding.plan(told())
    (tmp_path / "link").symlink_to(config_dir() / "agents")
    assert planned.has(tmp_path / "link" / "lab.json")


def test_the_directory_of_the_access_file_is_hidden_if_it_is_for_such_things(tmp_path):
    for name, hidden in (("gossamer", True), ("project", False)):
        (tmp_path / name).mkdir()
        chosen = access_in(tmp_path / name)
        assert hiding.plan(chosen).has(chosen.access) is hidden


def test_further_directories_may_be_named(home):
    (home / ".ssh").mkdir()
    planned = hiding.plan(told(hide_also=["~/.ssh"]))
    assert planned.has(home / ".ssh" / "id_ed25519")


@pytest.mark.parametrize("place", ["~", tempfile.gettempdir(), "/"])
def test_what_tasks_need_cannot_be_hidden(place):
    with pytest.raises(ConfigError, match=r"hide_also names .*, and tasks need"):
        hiding.plan(told(hide_also=[place]))


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({"hide_credentials": "maybe"}, "'yes', 'no', 'if possible'"),
        ({"hide_credentials": True}, "'yes', 'no', 'if possible'"),
        ({"hide_also": ["nowhere"]}, "'nowhere' is no directory here"),
        ({"hide_also": ["/no/such"]}, "'/no/such' is no directory here"),
    ],
)
def test_settings_that_mean_nothing_are_refused_with_what_is_allowed(given, allowed):
    with pytest.raises(ConfigError) as caught:
        told(**given)
    assert allowed in str(caught.value)


def access_in(directory, **given):
    path = directory / "access.json"
    path.write_text("{}")
    return told(access=path, **given)


def test_credentials_that_are_hidden_are_not_spoken_of(caplog):
    planned = hiding.plan(told())
    joined = access_in(private_dir(config_dir() / "agents"), hide_credentials="yes")
    assert hiding.judged(joined, planned, HIDDEN, "", list) == HIDDEN
    assert not caplog.records


@pytest.mark.parametrize(
    ("found", "why", "said"),
    [
        (OPEN, "Operation not permitted", "could not be hidden (by namespaces: Operation not"),
        (HIDDEN, "", "access.json, for it lies in no directory that is hidden"),
        (COVERED, "", "access.json, for it lies in no directory that is hidden"),
    ],
)
def test_what_tasks_can_read_is_said_once_and_refused_where_it_must_not_be(
    found, why, said, tmp_path, caplog
):
    planned = hiding.plan(told())
    with caplog.at_level(logging.WARNING):
        assert hiding.judged(access_in(tmp_path), planned, found, why) == OPEN
    assert len(caplog.records) == 1
    assert said in caplog.text
    with pytest.raises(ConfigError) as caught:
        hiding.judged(access_in(tmp_path, hide_credentials="yes"), planned, found, why)
    assert said in str(caught.value)
    assert caught.value.fields["key"] == "hide_credentials"


def test_from_root_nothing_is_hidden_and_an_agent_that_must_hide_does_not_start(caplog):
    planned = hiding.plan(told())
    assert hiding.judged(told(), planned, COVERED, "") == COVERED
    assert not caplog.records
    with pytest.raises(ConfigError, match="runs as root"):
        hiding.judged(told(hide_credentials="yes"), planned, COVERED, "")


def test_who_hides_nothing_is_told_nothing(tmp_path, caplog):
    chosen = access_in(tmp_path, hide_credentials="no")
    assert hiding.judged(chosen, hiding.plan(chosen), OPEN, "") == OPEN
    assert not caplog.records


def test_an_agent_that_must_hide_says_that_tasks_can_change_what_it_runs(tmp_path, caplog):
    chosen = told(hide_credentials="yes")
    runs = [tmp_path / "lib" / "site-packages"]
    assert hiding.judged(chosen, hiding.plan(chosen), HIDDEN, "", lambda: runs) == HIDDEN
    (record,) = caplog.records
    assert f"in {tmp_path}" in record.getMessage()
    assert "let another user install it" in record.getMessage()


def test_who_need_not_hide_is_not_told(tmp_path, caplog):
    chosen = told()
    assert hiding.judged(chosen, hiding.plan(chosen), HIDDEN, "", lambda: [tmp_path]) == HIDDEN
    assert not caplog.records


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_what_others_have_installed_cannot_be_changed():
    assert hiding.changeable([Path("/"), Path("/nowhere/there")]) == ""


def test_what_runs_is_where_this_is_installed():
    places = hiding.code_places()
    assert Path(hiding.__file__).parent in places
    assert Path(pytest.__file__).parents[1] in places
