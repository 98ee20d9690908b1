"""`gossamer mesh`: what is refused before anything is served or asked."""

from __future__ import annotations

import pytest

from gossamer.cli import main
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.site import folder
from gossamer_mesh.places import private_dir, write_private

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--audience", "lab"], "give --issuer URL"),
        (["--allow", "hd=example.org"], "give --issuer URL"),
        (["--issuer", "https://login.example"], "--issuer and --audience go together"),
        (["--issuer", "site-ca", "--audience", "lab"], "give them with --keys FILE"),
    ],
)
def test_half_a_trust_is_not_taken_for_a_question(given: list[str], said: str, capsys: Capture):
    home, _, _ = Home.make("lab", "127.0.0.1:4222")
    assert main(["mesh", "trust", "lab", *given]) != 0
    assert said in capsys.readouterr().err
    assert home.trust.read() == {}
    assert main(["mesh", "trust", "lab"]) == 0
    assert "no issuer is believed" in capsys.readouterr().out


def test_a_site_is_told_that_the_mesh_was_made_elsewhere(capsys: Capture):
    write_private(private_dir(folder("lab")) / "leaf.json", b"{}")
    assert main(["mesh", "address", "lab"]) == 1
    assert "only a site's server here: do this where the mesh was made" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["grant", "ada", "--functions", "any", "--cpu", "x"], ["audit", "--since", "x"]]
)
def test_a_time_that_is_none_names_its_option(arguments: list[str], capsys: Capture):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert f"'{arguments[-2]}': 'x' is not a duration" in said
