"""Logging in as an issuer vouches for one: real servers and issuers, and the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import gossamer
from gossamer import contexts, registrar
from gossamer_mesh import access as access_file
from gossamer_mesh.enrolment import asking, door, invitation
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.enrolment.messages import (
    Give,
    Given,
    ListUsers,
    Readmit,
    Readmitted,
    Revoke,
    Revoked,
    Users,
)
from gossamer_mesh.enrolment.serving import Serving
from gossamer_mesh.errors import CredentialsError, EnrolmentError
from gossamer_mesh.identity import certificates
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import GrantPart, User, peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.places import write_private
from gossamer_mesh.vouching import issuer as issuers
from gossamer_mesh.vouching import web
from gossamer_mesh.vouching.trust import Trusted
from testbed.issuer import AUDIENCE, Issuer, Keys
from tests.integration.machines import GOSSAMER, WITHIN_S, Machine, free_port, until
from tests.integration.test_enrolment import invite

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made


class Lab:
    """A mesh that is served, and believes the issuer."""

    def __init__(self, issuer: Issuer, **options) -> None:
        self.issuer = issuer
        self.home, self.access, self.first = Home.make("lab", f"127.0.0.1:{free_port()}", **options)
        self.address = self.home.door()
        self.word = door.written(self.address)
        self.trust()
        self.serving = Serving(self.home)

    def trust(self, **options) -> None:
        known = {"issuer": self.issuer.url, "audience": AUDIENCE, "client": AUDIENCE}
        self.home.trust.put(Trusted(**{**known, **options}))

    def login(self, token: str, key: KeyPair | None = None):
        return door.login(self.address, key or KeyPair.new("user"), token)

    def refused(self, token: str, key: KeyPair | None = None) -> tuple[str, str]:
        with pytest.raises(EnrolmentError) as caught:
            self.login(token, key)
        return caught.value.fields["reason"], str(caught.value)

    def users(self):
        return registrar.ask_as_admin(self.access, ListUsers(), Users).users


@pytest.fixture
def lab(here: Path, issuer: Issuer) -> Iterator[Lab]:
    made = Lab(issuer)
    yield made
    issuer.go.set()
    made.serving.close()


class Login:
    """`gossamer login` as a person runs it: it waits until they have confirmed the code."""

    def __init__(self, machine: Machine, *words: str) -> None:
        self.process = subprocess.Popen(
            [GOSSAMER, "login", *words],
            env=machine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        machine.started.append(self.process)

    def code(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.match(r"type +(\S+)", line):
                return found[1]
        raise AssertionError("no code was shown")

    def end(self) -> tuple[int, str, str]:
        out, error = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, out, error


def test_who_confirms_a_code_in_a_browser_is_in_and_runs_what_its_group_may(lab, issuer, machines):
    lab.trust(groups_claim="groups", groups={"/beam/staff": "beam"})
    issuer.people["1001"] = {"groups": ["/beam/staff", "other"]}
    agent = machines("pi").start(
        "agent", "join", invitation.written(lab.first), "--name", "pi-7", "--json"
    )
    assert json.loads(agent.stdout.readline())["ready"]
    registrar.ask_as_admin(
        lab.access, Give(to="group:beam", part=GrantPart(functions=("any",)), ttl_s=600), Given
    )
    laptop = machines("laptop")
    login = Login(laptop, lab.word, "--issuer", issuer.url, "--json")
    issuer.confirm(login.code(), "1001")
    status, out, error = login.end()
    assert status == 0, error
    assert json.loads(out)["name"] == "ada"
    known = json.loads(laptop.run("whoami", "--json").stdout)
    assert (known["name"], known["role"], known["groups"]) == ("ada", "client", ["beam"])
    assert (known["issuer"], known["subject"]) == (issuer.url, "1001")
    assert f"by      {issuer.url}, as 1001" in laptop.run("whoami").stdout
    path = Path(laptop.environment["XDG_CONFIG_HOME"]) / "gossamer" / "contexts" / "lab.json"
    with gossamer.connect(path) as mesh:
        assert mesh.submit(os.getpid).result(timeout=WITHIN_S) != os.getpid()
    # Again, without an address: that of the context, with one issuer to choose from.
    login = Login(laptop)
    issuer.confirm(login.code(), "1001")
    assert login.end()[0] == 0
    assert len(lab.users()["ada"].vouched.keys) == 2
    contexts.save("lab", lab.access)
    owner = Machine(Path(os.environ["XDG_STATE_HOME"]).parent)
    listed = owner.run("users", "--context", "lab")
    assert re.search(rf"ada .* {re.escape(issuer.url)}, as 1001", listed.stdout), listed


def test_a_job_gives_the_token_that_it_has_and_needs_no_browser(lab, issuer, machines):
    lab.trust(login_for_s=3600, allow={"repository": ("org/project",)})
    subject = "repo:org/project:ref:refs/heads/main"
    token = issuer.token(subject, "ec", preferred_username=None, repository="org/project")
    runner = machines("runner")
    runner.environment["GOSSAMER_ADDRESS"] = lab.word
    kept = Path(runner.environment["XDG_RUNTIME_DIR"], "token")
    kept.write_text(token)
    done = runner.run("login", "--id-token", str(kept), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["name"] == "repo-org-project-ref-refs-heads-main"
    assert said["until"] <= time.time() + 3600
    kept = Path(runner.environment["XDG_CONFIG_HOME"], "gossamer", "contexts", "lab.json")
    assert kept.stat().st_mode & 0o077 == 0
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_a_file_of_public_keys_vouches_where_no_issuer_is_reached(lab, here, machines):
    keys, pem = Keys(), here / "site.pem"
    pem.write_text(keys.pem("ed"))
    owner = Machine(Path(os.environ["XDG_STATE_HOME"]).parent)
    trusted = owner.run(
        "mesh", "trust", "lab", "--issuer", "site-ca", "--audience", "lab", "--claim", "sub",
        "--keys", str(pem), "--allow", "shift=night",
    )  # fmt: skip
    assert trusted.returncode == 0, trusted.stderr
    now = int(time.time())
    said = {"iss": "site-ca", "aud": "lab", "sub": "bob", "iat": now, "exp": now + 60}
    access, answer = lab.login(keys.sign({**said, "shift": "night"}, "ed"))
    assert (access.name, answer.role) == ("bob", "client")
    assert lab.refused(keys.sign({**said, "shift": "day"}, "ed"))[0] == "claim"
    assert lab.refused(Keys().sign({**said, "shift": "night"}, "ed"))[0] == "id-token"
    gone = owner.run("mesh", "distrust", "lab", "--issuer", "site-ca")
    assert gone.returncode == 0
    assert lab.refused(keys.sign({**said, "shift": "night"}, "ed"))[0] == "issuer"


def test_a_mesh_is_made_with_an_issuer_in_one_line(here, issuer):
    owner = Machine(here / "owner")
    listen = f"127.0.0.1:{free_port()}"
    made = owner.run(
        "mesh", "init", "lab", "--listen", listen, "--issuer", issuer.url, "--audience", AUDIENCE,
        "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "everybody for whom" in made.stderr
    shown = owner.run("mesh", "address", "lab")
    assert shown.stdout.strip() == json.loads(made.stdout)["address"]
    assert issuer.url in owner.run("mesh", "trust", "lab").stdout
    # The owner's own context is not lost by it.
    lost = owner.run("login")
    assert "who has not logged in, and would be lost" in lost.stderr


def test_the_address_says_whose_server_is_believed(here, issuer):
    home, _, _ = Home.make("lab", f"0.0.0.0:{free_port()}", hosts=("127.0.0.1",))
    home.trust.put(Trusted(issuer=issuer.url, audience=AUDIENCE, client=AUDIENCE))
    address = door.read(door.written(home.door()))
    with Serving(home):
        access, _ = door.login(address, KeyPair.new("user"), issuer.token())
        assert access.url.startswith("tls://")
        NatsLink.connect(access, name="ada.s1").close()
        ca = certificates.vouching("lab", time.time()).certificate.decode()
        with pytest.raises(CredentialsError, match="does not show that it is this mesh's"):
            door.doors(msgspec.structs.replace(address, ca=ca))


# -- what is wrong is said ----------------------------------------------------------------------


def test_what_a_token_lacks_is_said_by_the_mesh(lab, issuer):
    now = int(time.time())
    strangers = Keys()
    strangers.add("new", *strangers.pairs["rsa"])
    for token, reason, said in (
        (issuer.token(aud="another"), "audience", f"takes those for '{AUDIENCE}'"),
        (issuer.token(exp=now - 61), "expired", "by the mesh's clock"),
        (issuer.token(iat=now + 120), "clock", "set the clock that is wrong"),
        (issuer.token(iss="https://x.example"), "issuer", f"it believes {issuer.url}"),
        (issuer.token(nonce="another"), "replayed", "another key"),
        (issuer.token()[:-5], "id-token", "altered"),
        (issuer.token()[:300], "id-token", "cut off"),
        (strangers.sign(issuer.claims(), "rsa"), "id-token", "another than its issuer"),
        (strangers.sign(issuer.claims(), "new"), "unknown-key", "does not publish"),
    ):
        assert lab.refused(token)[0] == reason
        assert said in lab.refused(token)[1]
    lab.trust(allow={"hd": ("x.org",)})
    assert "no claim 'hd'" in lab.refused(issuer.token())[1]
    lab.home.trust.remove(issuer.url)
    assert lab.refused(issuer.token())[0] == "no-issuer"
    assert list(lab.users()) == ["owner"]


def test_a_name_is_not_shared_and_a_token_is_not_used_twice(lab, issuer):
    token, key = issuer.token("1001"), KeyPair.new("user")
    lab.login(token, key)
    assert lab.refused(token)[0] == "replayed"
    assert lab.login(token, key)[1].name == "ada"
    reason, said = lab.refused(issuer.token("1002"))
    assert reason == "name-taken"
    assert "gossamer readmit ada" in said
    assert lab.refused(issuer.token("1", preferred_username="owner"))[0] == "name-taken"


def test_an_issuers_keys_serve_while_it_talks_nonsense(lab, issuer):
    lab.login(issuer.token("1", preferred_username="a"))
    issuer.mood = "garbage"
    lab.login(issuer.token("2", preferred_username="b"))
    assert issuer.asked.count("/keys") == 1


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ("garbage", "does not say what it offers"),
        ("huge", "more than 524288 bytes"),
        ("elsewhere", "it answers 302"),
        ("another", "calls itself 'https://another.example'"),
        ("drip", "no answer within 1 s"),
        ("slow", "no answer within 1 s"),
    ],
)
def test_an_issuer_that_misbehaves_is_said_and_not_waited_for(issuer, mood, said):
    issuer.mood = mood
    started = time.monotonic()
    never = mood in {"drip", "slow"}
    with pytest.raises(EnrolmentError) as caught:
        web.ask(f"{issuer.url}/keys", within_s=1) if never else issuers.keys(issuer.url)
    assert said in str(caught.value)
    assert time.monotonic() - started < 5


def test_an_issuer_whose_certificate_nobody_vouches_for_is_not_believed(here, monkeypatch):
    now = time.time()
    ca = certificates.vouching("elsewhere", now)
    made = certificates.of_server(ca, ["127.0.0.1"], now)
    for name, data in (("c.pem", made.certificate), ("c.key", made.key), ("ca", ca.certificate)):
        write_private(here / name, data)
    with Issuer((str(here / "c.pem"), str(here / "c.key"))) as private:
        assert private.url.startswith("https://")
        with pytest.raises(EnrolmentError, match="CERTIFICATE_VERIFY_FAILED"):
            issuers.keys(private.url)
        monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(here / "ca"))
        assert len(issuers.keys(private.url)) == 3
        private.mood = "plain"
        with pytest.raises(EnrolmentError, match="which is not https"):
            issuers.keys(private.url)


def test_while_an_issuer_takes_its_time_others_are_let_in(lab, issuer):
    issuer.mood = "slow"
    outcome: list[object] = []
    waiting = threading.Thread(target=lambda: outcome.append(lab.login(issuer.token())[1].name))
    waiting.start()
    until(lambda: bool(issuer.asked))
    started = time.monotonic()
    asking.enrol(invite(lab.access, "client"), agent=False, name="bob")
    assert time.monotonic() - started < 5
    assert not outcome
    issuer.mood = ""
    issuer.go.set()
    waiting.join(WITHIN_S)
    assert outcome == ["ada"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gsmlogin1_AAAA",), "was cut off or altered"),
        (("gsm1_AAAA",), "this is a join token"),
        (("hello",), "this is no address to log in at"),
        (("@/nowhere",), "no address can be read from /nowhere"),
        ((), "no address to log in at (and there is no current context)"),
        (("--context", "nowhere"), "the context 'nowhere' has none"),
    ],
)
def test_an_address_that_is_none_is_said_in_one_line(machines, words, said):
    done = machines("somewhere").run("login", *words)
    assert done.returncode != 0
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_wrong_on_ones_own_side_is_said_before_anything_is_sent(lab, issuer, machines):
    there = machines("there")

    def said(*words: str, **environment: str) -> str:
        there.environment.update(environment)
        done = there.run("login", lab.word, *words)
        assert done.returncode == 1, done
        return done.stderr

    other = "https://other.example"
    assert f"believes {issuer.url}: choose one with --issuer" in said("--issuer", other)
    token = Path(there.environment["XDG_RUNTIME_DIR"], "token")
    token.write_text(issuer.token()[:200])
    assert "was cut off or altered" in said("--id-token", str(token))
    token.write_text(issuer.token())
    assert f"not of {other}" in said("--id-token", str(token), "--issuer", other)
    assert "no such client" in said("--client-id", "nobody")
    issuer.errors = ["access_denied"]
    assert "you have refused it" in said()
    issuer.close()
    assert "the issuer cannot be asked at" in said()
    lab.home.trust.remove(issuer.url)
    assert "believes no issuer" in said()
    lab.serving.close()
    assert "no connection to nats://127.0.0.1" in said()


def test_the_address_of_a_mesh_that_was_made_anew_is_said(lab):
    other = Authority.new("lab")
    stale = msgspec.structs.replace(
        lab.address, account=other.account.public, seed=other.scopes["visitor"].seed
    )
    with pytest.raises(CredentialsError, match=r"made anew: ask for its address \(gossamer mesh"):
        door.doors(stale)


def test_it_waits_as_it_is_told_and_ctrl_c_ends_it(lab, issuer, machines):
    issuer.errors = ["authorization_pending"] * 3
    login = Login(machines("laptop"), lab.word)
    login.code()
    assert until(lambda: not issuer.errors)
    login.process.send_signal(signal.SIGINT)
    status, _, error = login.end()
    assert status == 130
    assert "interrupted" in error
    assert list(lab.users()) == ["owner"]


# -- staying, and going -------------------------------------------------------------------------


def test_a_login_is_renewed_until_it_is_over(here, issuer):
    lab = Lab(issuer, lifetime_s=60)
    lab.trust(login_for_s=4)
    with lab.serving:
        access, answer = lab.login(issuer.token())
        again = registrar.renewed(access)
        assert peek(again.jwt, User).exp == peek(access.jwt, User).exp == answer.until
        assert again.name == "ada"
        # What is connected is renewed by itself until then, and is let go.
        access.save(here / "ada.json")
        link = NatsLink.connect(access_file.load(here / "ada.json"), name="ada.s1")
        told: list[str] = []
        link.on_status(told.append)
        assert until(lambda: "down" in told)
        assert time.time() >= answer.until - 1
        link.close()
        # The server takes what ends within this second, and ends it then.
        assert until(lambda: time.time() > answer.until + 1)
        over = r"come back: the login of 'ada' is over: log in again \(gossamer login\)"
        with pytest.raises(CredentialsError, match=over):
            registrar.renewed(again)


def test_who_is_revoked_is_out_everywhere_until_an_administrator_lets_it_in(lab, issuer):
    one, other = lab.login(issuer.token())[0], lab.login(issuer.token(jti="2"))[0]
    for number, access in enumerate((one, other)):
        NatsLink.connect(access, name=f"ada.s{number}").close()
    registrar.ask_as_admin(lab.access, Revoke(name="ada"), Revoked)
    for access in (one, other):
        with pytest.raises(CredentialsError):
            NatsLink.connect(access, name="ada.s3")
    assert lab.refused(issuer.token(jti="3"))[0] == "revoked"
    registrar.ask_as_admin(lab.access, Readmit(name="ada"), Readmitted)
    again, _ = lab.login(issuer.token(jti="4"))
    NatsLink.connect(again, name="ada.s4").close()
    with pytest.raises(CredentialsError):
        NatsLink.connect(one, name="ada.s5")


def test_nothing_of_it_is_imported_on_the_way_of_a_call(lab, machines):
    program = (
        "import sys, gossamer\n"
        "with gossamer.connect(sys.argv[1]): pass\n"
        "print([name for name in sys.modules if 'vouching' in name or name in "
        "{'urllib.request', 'gossamer_mesh.identity.foreign', 'gossamer.device'}])"
    )
    path = contexts.save("lab", lab.access)
    python = GOSSAMER.with_name("python")
    done = subprocess.run(
        [python, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
