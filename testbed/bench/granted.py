"""What it costs a warm call that agents ask who calls, and that they write down what has ended.

`python -m testbed.bench.granted`: a client with a grant of a registered function, with quotas,
calls three agents in turns: one that knows nobody, one that checks, one that writes an audit. A
pair's ratio is of their medians.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

import gossamer
from gossamer import agent_process
from gossamer.agent_process import AgentOptions
from gossamer_mesh import access as access_file
from gossamer_mesh import server, subjects
from gossamer_mesh.access import Access
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.claims import GrantPart
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.permissions import Role
from gossamer_mesh.places import runtime_dir

CHECKED: Final = 1.05
AUDITED: Final = 1.02
WARM_CALLS: Final = 100
MANY: Final = 10**8
WITHIN_S: Final = 30.0


def echo(number: int) -> int:
    return number


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testbed.bench.granted", description=__doc__)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--calls", type=int, default=300, help="of each kind in a pair")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if one is missed")
    given = parser.parse_args()
    rounds = measure(given.pairs, given.calls)
    plain_us = statistics.median(each["plain"] for each in rounds) / 1000
    missed = False
    for kind, limit in (("checked", CHECKED), ("audited", AUDITED)):
        ratios = [each[kind] / each["plain"] for each in rounds]
        median = statistics.median(ratios)
        missed |= median > limit
        print(
            f"call, {kind} / plain: {median:.3f} ({min(ratios):.3f}-{max(ratios):.3f}), "
            f"{given.pairs} pairs of {given.calls} calls each, p50 plain {plain_us:.0f} µs; "
            f"to reach: ≤ {limit}{', NOT REACHED' if median > limit else ''}"
        )
    return 1 if given.check and missed else 0


def measure(pairs: int, calls: int) -> list[dict[str, float]]:
    """Return the median time of a call in ns, by the kind of agent, for each pair."""
    with contextlib.ExitStack() as undo:
        # What lies there has no audit.
        passing = Path(undo.enter_context(tempfile.TemporaryDirectory(dir=runtime_dir())))
        lasting = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        made = server.start(passing / "server", lifeline=True)
        undo.callback(made.stop)
        owner = access_file.load(passing / "server" / "access.json")
        nobody = msgspec.structs.replace(owner, account="")
        ways = {"plain": passing / "plain", "audited": lasting / "audited"}
        for way in ways.values():
            nobody.save(way)
        ways["checked"] = passing / "server" / "access.json"
        for name, way in ways.items():
            log = passing / f"{name}.log"
            agent = agent_process.launch(way, AgentOptions(name=name), log=log, lifeline=True)
            undo.callback(agent.end, 5.0)
            agent.wait_ready()
        authority = Authority.load(passing / "server" / "keys.json")
        with gossamer.Mesh.open(owner) as mesh:
            reference = str(mesh.register(echo))
        _grant(authority, owner, reference)
        ada = undo.enter_context(gossamer.Mesh.open(_user(authority, owner, "client", "ada")))
        _warm(ada, reference, list(ways))
        return [_round(ada, reference, list(ways), calls) for _ in range(pairs)]


def _user(authority: Authority, owner: Access, role: Role, name: str) -> Access:
    pair = KeyPair.new("user")
    jwt = authority.issuer(role).vouch(name, pair.public, int(time.time()))
    return Access(owner.url, jwt=jwt, seed=pair.seed)


def _grant(authority: Authority, owner: Access, reference: str) -> None:
    part = GrantPart(functions=(reference,), per_hour=MANY, concurrent=MANY, cpu_s=float(MANY))
    number, made = authority.grant("ada", part, int(time.time()), 3600)
    link = NatsLink.connect(_user(authority, owner, "grants", "granter"), name="granter.1")
    try:
        bucket = link.key_value(subjects.GRANTS_BUCKET)
        bucket.put(number, made.encode(), lambda _: None)
    finally:
        link.close()


def _warm(mesh: gossamer.Mesh, reference: str, agents: list[str]) -> None:
    deadline = time.monotonic() + WITHIN_S
    for agent in agents:
        while True:
            try:
                mesh.submit(reference, 0, on=agent, wait=WITHIN_S).result(WITHIN_S)
                break
            except gossamer.NotAllowedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        for number in range(WARM_CALLS):
            mesh.submit(reference, number, on=agent).result()


def _round(mesh: gossamer.Mesh, reference: str, agents: list[str], calls: int) -> dict[str, float]:
    times: dict[str, list[int]] = {agent: [] for agent in agents}
    orders = list(itertools.permutations(agents))
    for number in range(calls):
        # Who comes after whom should make no difference to any of them.
        for agent in orders[number % len(orders)]:
            before = time.perf_counter_ns()
            mesh.submit(reference, number, on=agent).result()
            times[agent].append(time.perf_counter_ns() - before)
    return {agent: statistics.median(each) for agent, each in times.items()}


if __name__ == "__main__":
    sys.exit(main())
