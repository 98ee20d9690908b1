from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gossamer_mesh import places
from gossamer_mesh.errors import ConfigError

PLACES = {
    "XDG_STATE_HOME": places.state_dir,
    "XDG_CONFIG_HOME": places.config_dir,
    "XDG_RUNTIME_DIR": places.runtime_dir,
}


@pytest.mark.parametrize("variable", PLACES)
def test_a_place_follows_its_xdg_variable_and_is_private(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, str(tmp_path))
    found = PLACES[variable]()
    assert found == tmp_path / "gossamer"
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_a_place_that_is_only_looked_at_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    places.state_dir(make=False)
    places.config_dir(make=False)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_others_can_enter_is_closed_to_them(tmp_path: Path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    places.private_dir(tmp_path / "open")
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_a_file_in_the_place_of_a_directory_is_named_with_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file.*XDG_STATE_HOME"):
        places.private_dir(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused(tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user id 12345"):
        places.private_dir(tmp_path / "theirs")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    places.write_private(tmp_path / "kept", b"old")
    with pytest.raises(TypeError):
        places.write_private(tmp_path / "kept", "not bytes")  # type: ignore[arg-type] # what the test is about
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_bytes() == b"old"
