"""`gossamer mesh`: what is refused before anything is served or asked."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import msgspec
import pytest

from gossamer.cli import main
from gossamer.cli.members import comes_back
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import Invite, Readmitted
from gossamer_mesh.enrolment.site import Site, folder
from gossamer_mesh.errors import ConfigError
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


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_no_mesh_is_made_that_could_not_be_served(taken: str, capsys: Capture):
    assert main(["mesh", "init", "lab", "--listen", taken]) == 1
    assert f"--listen {taken} cannot be listened at (Address already" in capsys.readouterr().err
    assert main(["mesh", "init", "lab", "--listen", "no.such.host.invalid:4222"]) == 1
    assert "'no.such.host.invalid' does not resolve" in capsys.readouterr().err
    assert not folder("lab").exists()
    listen = ["--listen", "127.0.0.1:0", "--leaves", taken]
    free = socket.create_server(("127.0.0.1", 0))
    listen[1] = f"127.0.0.1:{free.getsockname()[1]}"
    free.close()
    assert main(["mesh", "init", "lab", *listen]) == 1
    assert f"--leaves {taken} cannot be listened at" in capsys.readouterr().err
    assert not folder("lab").exists()
    assert main(["mesh", "init", "lab", *listen[:2]]) == 0


def test_a_token_is_not_spent_where_the_site_could_not_be_served(taken: str):
    home, _, _ = Home.make("lab", taken, leaves="127.0.0.1:7422")
    token, invitee = home.registrar().invite(Invite(role="leaf"), int(time.time()))
    assert token.role == "leaf"
    invited = msgspec.structs.replace(home.invitation(invitee), mesh="other")
    # Nobody serves the mesh: whoever asked for entry would hear that there is no connection.
    with pytest.raises(ConfigError, match=f"--listen {taken} cannot be listened at"):
        Site.join(invited, taken)
    assert not folder("other").exists()


def test_who_is_readmitted_is_told_how_it_comes_back():
    agent = Readmitted(name="pi-7", role="agent", logs_in=False)
    assert comes_back(agent).endswith("gossamer invite agent --name pi-7")
    assert comes_back(Readmitted(name="ada")) == "ada may log in (gossamer login)"
