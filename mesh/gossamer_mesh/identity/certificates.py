"""Certificates of a mesh's own: one that vouches, and the server's, in PEM."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gossamer_mesh.errors import ConfigError

CA_DAYS: Final = 3650
SERVER_DAYS: Final = 397
"""The longest that browsers take; it is made anew at the server's start, in good time."""

EARLIER: Final = dt.timedelta(hours=1)
"""Valid since a little before now, for clocks that are behind."""


class Certificate(NamedTuple):
    """A certificate and its secret half."""

    certificate: bytes
    key: bytes


def vouching(mesh: str, now: float, days: int = CA_DAYS) -> Certificate:
    """Return what vouches for a mesh's servers, and for nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"mesh {mesh}")])
    made = (
        _builder(name, name, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _written(made, key)


def of_server(
    by: Certificate, hosts: Sequence[str], now: float, days: int = SERVER_DAYS
) -> Certificate:
    """Return the certificate of a server that is reached by these names and addresses."""
    signer = load_pem_private_key(by.key, None)
    issuer = x509.load_pem_x509_certificate(by.certificate)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ConfigError("the key that vouches for the mesh's server is not one that was made so")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    made = (
        _builder(name, issuer.subject, key.public_key(), now, days)
        .add_extension(x509.SubjectAlternativeName([_host(each) for each in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return _written(made, key)


def valid_until(certificate: bytes) -> float:
    """Return when a certificate expires, in seconds since 1970; `ConfigError` if it is none."""
    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except ValueError as error:
        raise ConfigError(f"not a certificate in PEM ({error})") from error


def matched(certificate: bytes, key: bytes) -> float:
    """Return when a certificate expires; `ConfigError` unless that is its key, unencrypted."""
    until = valid_until(certificate)
    public = x509.load_pem_x509_certificate(certificate).public_key()
    try:
        own = load_pem_private_key(key, None).public_key()
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"not a private key in PEM without a password ({error})") from error
    if own != public:
        raise ConfigError("the key is another certificate's")
    return until


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, days: int
) -> x509.CertificateBuilder:
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(at, at + dt.timedelta(days=days)) - EARLIER)
        .not_valid_after(at + dt.timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _written(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    return Certificate(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
