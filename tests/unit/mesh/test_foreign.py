"""ID tokens: what is believed of one, and that nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer_mesh.errors import ConfigError, EnrolmentError
from gossamer_mesh.identity import foreign
from testbed.issuer import Keys

KEYS = Keys()
PUBLISHED = foreign.published(KEYS.jwks())
CLAIMS = {"iss": "https://issuer.example", "sub": "1001", "exp": 2_000_000_000}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def read(token: str, keys=PUBLISHED) -> foreign.Signed:
    return foreign.read(foreign.unread(token), keys)


def refused(token: str, reason: str, keys=PUBLISHED) -> str:
    with pytest.raises(EnrolmentError) as caught:
        read(token, keys)
    assert caught.value.fields["reason"] == reason
    return str(caught.value)


def coded(said: object) -> str:
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("kid", KEYS.pairs)
def test_what_a_published_key_has_signed_is_believed(kid):
    token = KEYS.sign(CLAIMS, kid)
    signed = read(token)
    assert signed.claims == CLAIMS
    assert signed.digest == hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()
    assert read(KEYS.sign(CLAIMS, kid), [key for key in PUBLISHED if key.kid == kid])


TOKENS = {kid: KEYS.sign(CLAIMS, kid) for kid in KEYS.pairs}


@pytest.mark.parametrize("kid", TOKENS)
@given(at=st.integers(0, 2000), put=st.characters(codec="ascii"))
@settings(max_examples=300)
def test_a_token_with_any_character_altered_is_refused(kid, at, put):
    token = TOKENS[kid]
    at %= len(token)
    altered = token[:at] + put + token[at + 1 :]
    if altered != token:
        with pytest.raises(EnrolmentError):
            read(altered)


@pytest.mark.parametrize("kid", TOKENS)
def test_of_the_spellings_of_the_last_bits_one_is_right(kid):
    token, same = TOKENS[kid], 0
    signature = base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        other = token[:-1] + last
        if other == token or base64.urlsafe_b64decode(f"{other.rpartition('.')[2]}==") != signature:
            continue
        same += 1
        with pytest.raises(EnrolmentError):
            foreign.unread(other)
    assert same


@pytest.mark.parametrize("kid", TOKENS)
@given(length=st.integers(0, 2000))
@settings(max_examples=50)
def test_a_token_that_was_cut_off_is_refused(kid, length):
    token = TOKENS[kid]
    with pytest.raises(EnrolmentError):
        read(token[: length % len(token)])


@given(st.text(max_size=200))
def test_what_is_no_token_is_refused_and_not_repeated(text):
    with pytest.raises(EnrolmentError) as caught:
        foreign.unread(text)
    assert len(text) < 20 or text not in str(caught.value)


def test_a_signature_that_can_be_written_twice_has_one_digest():
    """Who has seen a token of ES256 can write another signature that is as right."""
    token = TOKENS["ec"]
    body, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = decode_dss_signature(
        encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    )
    other = r.to_bytes(32) + (P256_ORDER - s).to_bytes(32)
    again = f"{body}.{coded(other)}"
    assert again != token
    assert read(again) == read(token)


def test_a_token_that_nobody_signed_is_refused():
    for alg in ("none", "None", "NONE", ""):
        token = f"{coded({'alg': alg, 'kid': 'rsa'})}.{coded(CLAIMS)}."
        assert "allowed are RS256, ES256, EdDSA" in refused(token, "id-token")


@pytest.mark.parametrize("kid", KEYS.pairs)
@pytest.mark.parametrize("alg", ["HS256", "HS512", "RS256", "ES256", "EdDSA"])
def test_a_public_key_is_not_taken_for_a_secret_whatever_the_token_says(kid, alg):
    body = f"{coded({'alg': alg, 'kid': kid})}.{coded(CLAIMS)}"
    for secret in (KEYS.pem(kid), KEYS.pem(kid).strip(), KEYS.jwks().decode()):
        made = hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest()
        with pytest.raises(EnrolmentError):
            read(f"{body}.{coded(made)}")


def test_a_key_signs_with_its_own_algorithm_and_no_other():
    pair = KEYS.pairs["rsa"][0]
    for alg in ("RS384", "RS512", "PS256"):
        assert alg in refused(jwt.encode(CLAIMS, pair, alg, {"kid": "rsa"}), "id-token")
    other = KEYS.sign(CLAIMS, "ec").split(".")
    head = coded({"alg": "RS256", "kid": "rsa"})
    refused(".".join([head, *other[1:]]), "id-token")
    head = coded({"alg": "RS256", "kid": "ec"})
    refused(".".join([head, *other[1:]]), "unknown-key")


def test_a_key_that_is_not_published_is_said_and_another_of_that_name_is_refused():
    strangers = Keys()
    refused(strangers.sign(CLAIMS, "rsa"), "id-token")
    strangers.add("new", rsa.generate_private_key(65537, 2048), "RS256")
    assert "'new'" in refused(strangers.sign(CLAIMS, "new"), "unknown-key")


def test_a_key_without_a_name_may_be_any_tokens():
    keys = foreign.given(KEYS.pem("ec") + KEYS.pem("rsa"), "keys.pem")
    assert read(KEYS.sign(CLAIMS, "rsa"), keys).claims == CLAIMS
    assert read(KEYS.sign(CLAIMS, "ec"), keys).claims == CLAIMS


@pytest.mark.parametrize("head", [{"typ": "at+jwt"}, {"typ": "logout+jwt"}, {"crit": ["b64"]}])
def test_what_is_no_id_token_is_not_taken_for_one(head):
    refused(KEYS.sign(CLAIMS, "rsa", **head), "id-token")


def test_a_token_that_is_too_long_is_not_read():
    long = KEYS.sign({**CLAIMS, "much": "x" * foreign.MOST_TOKEN}, "rsa")
    assert str(foreign.MOST_TOKEN) in refused(long, "id-token")


def test_keys_that_are_weak_or_for_something_else_are_passed_over():
    other = Keys()
    other.pairs.clear()
    other.add("short", rsa.generate_private_key(65537, 1024), "RS256")  # noqa: S505  so it is refused
    other.add("curve", ec.generate_private_key(ec.SECP384R1()), "ES256")
    assert foreign.published(other.jwks()) == ()
    listed = json.loads(KEYS.jwks())["keys"]
    for fault in ({"use": "enc"}, {"alg": "RS512"}, {"kty": "oct", "k": "AAAA"}, {"n": "AQ"}):
        assert foreign.published(json.dumps({"keys": [{**listed[0], **fault}]}).encode()) == ()


def test_a_published_secret_half_is_not_read():
    """Some publish it by mistake. Then everybody vouches for everybody; but not through us."""
    pair = KEYS.pairs["rsa"][0]
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(pair))
    (found,) = foreign.published(json.dumps({"keys": [private]}).encode())
    assert isinstance(found.public, rsa.RSAPublicKey)


@pytest.mark.parametrize("text", ["", "nonsense", "{}", '{"keys": 3}', '{"keys": [1]}'])
def test_a_file_that_has_no_keys_is_said(text):
    with pytest.raises(ConfigError, match=r"their\.json is no file of public keys"):
        foreign.given(text, "their.json")


def test_a_file_with_a_private_key_is_refused():
    pair = KEYS.pairs["ec"][0]
    pem = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    jwk = json.dumps({"keys": [json.loads(jwt.algorithms.ECAlgorithm.to_jwk(pair))]})
    for text in (pem + KEYS.pem("ec"), KEYS.pem("ec") + pem, jwk):
        with pytest.raises(ConfigError, match="private key"):
            foreign.given(text, "their.pem")


def test_a_file_of_keys_that_sign_nothing_here_is_said():
    with pytest.raises(ConfigError, match="allowed are RSA of 2048 bits or more"):
        foreign.given('{"keys": []}', "their.json")
