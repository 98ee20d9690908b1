"""Certificates that somebody else made: what a server could not show is said before it starts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gossamer_mesh.enrolment import certified
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity import certificates

NOW = time.time()


def pair(folder: Path, name: str, days: int = 90) -> tuple[str, str]:
    made = certificates.of_server(certificates.vouching("lab", NOW), ["localhost"], NOW, days)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.certificate)
    key.write_bytes(made.key)
    return str(certificate), str(key)


def test_a_certificate_with_its_key_is_taken(tmp_path: Path):
    certified.check(*pair(tmp_path, "good"), NOW)


def test_a_certificate_that_cannot_be_shown_is_said_which(tmp_path: Path):
    good, key = pair(tmp_path, "good")
    other = pair(tmp_path, "other")[1]
    with pytest.raises(ConfigError, match=r"good\.pem .*the key is another certificate's"):
        certified.check(good, other, NOW)
    with pytest.raises(ConfigError, match=r"good\.key .*not a certificate in PEM"):
        certified.check(key, good, NOW)
    with pytest.raises(ConfigError, match="not a private key in PEM"):
        certified.check(good, good, NOW)
    with pytest.raises(ConfigError, match="No such file"):
        certified.check(str(tmp_path / "gone"), key, NOW)


def test_an_expired_certificate_makes_no_mesh_and_serves_none(tmp_path: Path):
    certificate, key = pair(tmp_path, "old", days=-1)
    with pytest.raises(ConfigError, match=r"old\.pem expired at .* UTC: put a new one"):
        Home.make("lab", "0.0.0.0:4222", certificate=certificate, key=key)
    good, its_key = pair(tmp_path, "good")
    home, _, _ = Home.make("lab", "0.0.0.0:4222", certificate=good, key=its_key)
    Path(good).write_bytes(Path(certificate).read_bytes())
    Path(its_key).write_bytes(Path(key).read_bytes())
    with pytest.raises(ConfigError, match=r"good\.pem expired"):
        home.listening()
