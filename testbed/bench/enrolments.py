"""A thousand agents that join at once, and one that starts: how long until they are in.

`python -m testbed.bench.enrolments`: a mesh of its own, served by a process of its own. Each
joiner has its own token, key and connection, and all begin at one moment; of every tenth token
two try to join with it, and one must be refused. Then one agent is timed from its token to its
first heartbeat, again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from nats.aio.client import Client

from gossamer_mesh import subjects
from gossamer_mesh.access import Access
from gossamer_mesh.enrolment import invitation, messages
from gossamer_mesh.enrolment.asking import Asker
from gossamer_mesh.enrolment.invitation import Invitation
from gossamer_mesh.enrolment.messages import Enrolled, Invite, Invitee, Join, ListUsers, Users
from gossamer_mesh.identity.claims import User, peek
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink

MOST_S: Final = 60.0
FIRST_BEAT_S: Final = 2.0
RIVALS_EVERY: Final = 10
PATIENCE_S: Final = 120.0
GOSSAMER: Final = str(Path(sys.executable).with_name("gossamer"))
PARTY: Final = subjects.session("owner", "bench")


class Outcome(NamedTuple):
    """Of so many joiners: how many are in, how many rivals were refused, when the last was."""

    joiners: int
    inside: int
    keys: int
    refused: int
    last_s: float
    median_s: float

    @property
    def right(self) -> bool:
        rivals = len(range(0, self.joiners, RIVALS_EVERY))
        return (self.inside, self.keys, self.refused) == (self.joiners, self.joiners, rivals)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testbed.bench.enrolments", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--check", action="store_true", help="exit with status 1 if it is missed")
    given = parser.parse_args()
    with served() as access:
        found = asyncio.run(rush(access, invited(access, given.count)))
        starts = [start(access, number) for number in range(given.starts)]
    reached = found.right and found.last_s <= MOST_S
    print(
        f"{given.count} joining at once: {found.inside} in, {found.keys} keys, {found.refused} "
        f"rivals refused, the last after {found.last_s:.2f} s, the median after "
        f"{found.median_s:.2f} s; to reach: all, none twice, ≤ {MOST_S:.0f} s"
        f"{'' if reached else ', NOT REACHED'}"
    )
    quick = not starts or statistics.median(starts) <= FIRST_BEAT_S
    if starts:
        print(
            f"join token to first heartbeat: {statistics.median(starts):.2f} s "
            f"({min(starts):.2f}–{max(starts):.2f}), {given.starts} agents, one after the other; "
            f"to reach: ≤ {FIRST_BEAT_S:.0f} s{'' if quick else ', NOT REACHED'}"
        )
    return 1 if given.check and not (reached and quick) else 0


@contextmanager
def served() -> Iterator[Access]:
    """A mesh on loopback, made and served as people do; yield its owner's access."""
    from gossamer import contexts  # noqa: PLC0415  after its directories were chosen

    with tempfile.TemporaryDirectory(prefix="gsm-enrolments-") as folder:
        before = dict(os.environ)
        os.environ.update(machine(Path(folder)))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        serving = None
        try:
            init = [GOSSAMER, "mesh", "init", "bench", "--listen", f"127.0.0.1:{port}"]
            subprocess.run(init, check=True, stdout=subprocess.DEVNULL)
            serving = subprocess.Popen(
                [GOSSAMER, "mesh", "serve", "bench", "--json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert serving.stdout is not None
            if not json.loads(serving.stdout.readline())["ready"]:
                raise RuntimeError("the mesh is not served")
            yield contexts.load("bench")
        finally:
            if serving is not None:
                serving.terminate()
                serving.communicate()
            os.environ.clear()
            os.environ.update(before)


def machine(at: Path) -> dict[str, str]:
    """Return the environment of a machine with directories of its own."""
    (at / "r").mkdir(parents=True)
    return {
        "XDG_STATE_HOME": str(at / "s"),
        "XDG_CONFIG_HOME": str(at / "c"),
        "XDG_RUNTIME_DIR": str(at / "r"),
    }


def invited(access: Access, count: int) -> list[Invitation]:
    """Return a token for each."""
    link = NatsLink.connect(access, name=PARTY)
    try:
        asker, subject = Asker(link, PARTY), subjects.enrol_admin("owner")
        made = [asker.ask(subject, Invite(role="agent"), Invitee) for _ in range(count)]
    finally:
        link.close()
    return [
        Invitation(
            mesh="bench", url=access.url, jwt=each.jwt, seed=each.seed, role="agent",
            expires=each.expires,
        )
        for each in made
    ]  # fmt: skip


async def rush(access: Access, tokens: list[Invitation]) -> Outcome:
    begun = time.perf_counter()
    rivals = [
        _join(token, f"rival-{number}")
        for number, token in enumerate(tokens)
        if number % RIVALS_EVERY == 0
    ]
    joiners = [_join(token, f"agent-{number}") for number, token in enumerate(tokens)]
    answers = await asyncio.gather(*joiners, *rivals)
    ends = sorted(at - begun for at, _ in answers)
    let_in = [answer for _, answer in answers if isinstance(answer, Enrolled)]
    keys = {peek(answer.jwt, User).sub for answer in let_in}
    known = await asyncio.to_thread(_users, access)
    inside = sum(answer.name in known for answer in let_in)
    refused = len(answers) - len(let_in)
    return Outcome(len(tokens), inside, len(keys), refused, ends[-1], statistics.median(ends))


async def _join(token: Invitation, name: str) -> tuple[float, messages.Answer]:
    """Join as an agent does, without its process; return when it was answered, and how."""
    key, signer = KeyPair.new("user"), KeyPair.from_seed(token.seed)
    inbox = subjects.inbox_root(subjects.session(token.id, secrets.token_hex(4)))
    client = Client()
    await client.connect(
        token.url,
        user_jwt_cb=token.jwt.encode,
        signature_cb=functools.partial(_proof, signer),
        inbox_prefix=inbox,
        connect_timeout=int(PATIENCE_S),
        error_cb=_unsaid,
    )
    try:
        request = messages.encode(Join(public=key.public, role="agent", name=name))
        subject = subjects.enrol_join(token.id)
        said = await client.request(subject, request, timeout=PATIENCE_S)
    finally:
        await client.close()
    return time.perf_counter(), messages.decode_answer(said.data)


def _proof(signer: KeyPair, nonce: str) -> bytes:
    return base64.b64encode(signer.sign(nonce.encode()))


async def _unsaid(error: Exception) -> None:
    """What goes wrong is seen where it was asked."""


def _users(access: Access) -> dict[str, messages.User]:
    link = NatsLink.connect(access, name=PARTY)
    try:
        return Asker(link, PARTY).ask(subjects.enrol_admin("owner"), ListUsers(), Users).users
    finally:
        link.close()


def start(access: Access, number: int) -> float:
    """Return the seconds from an agent's being given its token to its first heartbeat."""
    (token,) = invited(access, 1)
    name, beaten = f"start-{number}", threading.Event()
    link = NatsLink.connect(access, name=PARTY)
    with tempfile.TemporaryDirectory(prefix="gsm-start-") as folder:
        try:
            heard = subjects.heartbeat("*", "*")
            link.subscribe(heard, lambda said: beaten.set() if name in said.subject else None)
            begun = time.perf_counter()
            agent = subprocess.Popen(
                [GOSSAMER, "agent", "join", "-", "--name", name],
                env={**os.environ, **machine(Path(folder))},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            assert agent.stdin is not None
            agent.stdin.write(f"{invitation.written(token)}\n".encode())
            agent.stdin.close()
            seen = beaten.wait(PATIENCE_S)
            took_s = time.perf_counter() - begun
            agent.terminate()
            agent.wait()
        finally:
            link.close()
    if not seen:
        raise RuntimeError(f"no heartbeat of {name}")
    return took_s


if __name__ == "__main__":
    sys.exit(main())
