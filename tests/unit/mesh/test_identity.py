from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.errors import ConfigError, CredentialsError
from gossamer_mesh.identity import token
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import EARLIER_S, Account, Operator, User, peek
from gossamer_mesh.identity.nkey import KeyPair, kind_of, verifies
from gossamer_mesh.permissions import ROLES

NOW = 1_000_000
AUTHORITY = Authority.new("lab")


@pytest.mark.parametrize(("kind", "letter"), [("operator", "O"), ("account", "A"), ("user", "U")])
def test_a_pair_is_written_as_nats_writes_it_and_read_again(kind, letter):
    pair = KeyPair.new(kind)
    assert pair.public.startswith(letter)
    assert pair.seed.startswith(f"S{letter}")
    assert len(pair.public) == 56
    assert len(pair.seed) == 58
    again = KeyPair.from_seed(pair.seed)
    assert (again.kind, again.public) == (kind, pair.public)
    assert kind_of(pair.public) == kind
    assert pair.seed not in repr(pair)


def test_a_pair_signs_and_nobody_else_does():
    pair, other = KeyPair.new("user"), KeyPair.new("user")
    signature = pair.sign(b"nonce")
    assert verifies(pair.public, b"nonce", signature)
    assert not verifies(other.public, b"nonce", signature)
    assert not verifies(pair.public, b"another", signature)
    assert not verifies("not a key", b"nonce", signature)


@given(st.integers(0, 57), st.characters(codec="ascii"))
def test_an_altered_seed_is_refused_and_not_repeated(at, put):
    seed = KeyPair.new("user").seed
    altered = seed[:at] + put + seed[at + 1 :]
    if altered != seed:
        with pytest.raises(CredentialsError) as caught:
            KeyPair.from_seed(altered)
        assert altered not in str(caught.value)


@given(st.text(max_size=80))
def test_what_is_no_key_is_no_key(text):
    assert kind_of(text) is None
    with pytest.raises(CredentialsError):
        KeyPair.from_seed(text)


@pytest.mark.parametrize("role", ROLES)
def test_a_user_is_vouched_for_by_the_key_of_its_role(role):
    pair = KeyPair.new("user")
    made = AUTHORITY.issuer(role).vouch(
        "pi-7", pair.public, NOW, ttl_s=60, site="f", groups=("a", "b")
    )
    claims = token.read(made, User, {AUTHORITY.scopes[role].public})
    assert (claims.name, claims.sub, claims.role) == ("pi-7", pair.public, role)
    assert (claims.site, claims.groups) == ("f", ("a", "b"))
    assert (claims.iat, claims.exp) == (NOW - EARLIER_S, NOW + 60)
    with pytest.raises(CredentialsError, match="not signed by this mesh"):
        token.read(made, User, {AUTHORITY.account.public})


@given(st.data())
def test_an_altered_token_is_refused(data):
    made = AUTHORITY.issuer("client").vouch("ada", KeyPair.new("user").public, NOW)
    at = data.draw(st.integers(0, len(made) - 1))
    put = data.draw(st.sampled_from("Ab9-_."))
    altered = made[:at] + put + made[at + 1 :]
    last = made.rindex(".") + 1
    # The last character of a part carries bits that mean nothing.
    if altered != made and at not in {len(made) - 1, last - 2, made.index(".") - 1}:
        with pytest.raises(CredentialsError):
            token.read(altered, User, {AUTHORITY.scopes["client"].public})


def test_who_signs_with_another_key_under_our_name_is_refused():
    claims = peek(AUTHORITY.issuer("client").vouch("ada", KeyPair.new("user").public, NOW), User)
    forged = token.sign(claims, KeyPair.new("account"))
    with pytest.raises(CredentialsError, match="altered"):
        token.read(forged, User, {AUTHORITY.scopes["client"].public})


def test_the_operator_vouches_for_the_account_and_its_keys():
    operator = token.read(AUTHORITY.operator_token(NOW), Operator, {AUTHORITY.operator.public})
    assert operator.nats.system_account == AUTHORITY.system.public
    made = AUTHORITY.account_token(NOW, {"*": NOW})
    account = token.read(made, Account, {AUTHORITY.operator.public})
    assert account.nats.revocations == {"*": NOW}
    keys = {scope.role: scope.key for scope in account.nats.signing_keys}
    assert keys == {role: pair.public for role, pair in AUTHORITY.scopes.items()}


@pytest.mark.parametrize("role", ROLES)
def test_who_may_say_nothing_is_not_let_say_all(role):
    made = AUTHORITY.account_token(NOW)
    account = token.read(made, Account, {AUTHORITY.operator.public})
    template = next(each.template for each in account.nats.signing_keys if each.role == role)
    # An empty list is none to the server, which then lets everything through.
    for subjects in (template.pub, template.sub):
        assert subjects.allow or subjects.deny == (">",)


def test_keys_are_kept_for_their_owner_only(tmp_path: Path):
    path = tmp_path / "keys.json"
    AUTHORITY.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Authority.load(path)
    assert again.account.public == AUTHORITY.account.public
    assert again.scopes["agent"].seed == AUTHORITY.scopes["agent"].seed
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        Authority.load(path)


def test_a_mesh_of_before_there_were_leaves_has_a_key_for_them_and_keeps_it(tmp_path: Path):
    path = tmp_path / "keys.json"
    AUTHORITY.save(path)
    keys = json.loads(path.read_text())
    del keys["scopes"]["leaf"]
    path.write_text(json.dumps(keys))
    made = Authority.load(path)
    assert made.scopes["agent"].seed == AUTHORITY.scopes["agent"].seed
    assert Authority.load(path).scopes["leaf"].seed == made.scopes["leaf"].seed


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b'{"name": 1}', b"\xff"])
def test_what_is_not_a_file_of_keys_is_said_so(tmp_path: Path, content: bytes):
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="keys of a mesh"):
        Authority.load(path)


def test_a_file_with_a_broken_seed_is_said_so(tmp_path: Path):
    path = tmp_path / "keys.json"
    AUTHORITY.save(path)
    path.write_text(path.read_text().replace(AUTHORITY.account.seed, "SA" + "A" * 56))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="keys of a mesh"):
        Authority.load(path)


def test_a_mesh_that_was_made_before_there_was_a_role_has_its_key_from_now_on(tmp_path: Path):
    path = tmp_path / "keys.json"
    older = Authority.new("lab")
    del older.scopes["visitor"]
    older.save(path)
    newer = Authority.load(path)
    assert newer.scopes["agent"].seed == older.scopes["agent"].seed
    assert Authority.load(path).scopes["visitor"].seed == newer.scopes["visitor"].seed


@pytest.mark.parametrize("token_", ["", "a", "a.b", "a.b.c", "a.e30.c", "x" * 70_000])
def test_what_is_no_token_is_refused(token_):
    with pytest.raises(CredentialsError):
        peek(token_, User)
