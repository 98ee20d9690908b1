"""Garbage on every subject of the mesh, and well-formed nonsense under a name of its own."""

from __future__ import annotations

import inspect
import random
import re
from pathlib import Path

from gossamer_mesh import capability, subjects, wire
from gossamer_mesh.errors import ProtocolError
from gossamer_placement.candidate import Candidate
from testbed.anybody import anybody
from tests.abuse import garbage
from tests.abuse.conftest import WITHIN_S, Bystander, Ground, Trying
from tests.abuse.raw import RawClient, until

BOUND_S = 60.0
A_SUBJECT = 140
AGENTS = ("yard", "steady", "ghost")
NONSENSE = 600
NO_SUBJECT = {
    "as_name",
    "check_name",
    "enrolment_parts",
    "inbox_parts",
    "inbox_root",
    "session",
    "speaker",
    "user_of",
}
FAILED = re.compile(r"Traceback|callback .* failed|Error:")


def double(x: int) -> int:
    return 2 * x


def callers(raw: RawClient) -> set[str]:
    """Return who has something run meanwhile: the bystander."""
    raw.subscribe(subjects.all_runs("steady"))
    until(lambda: any(subject.startswith("gsm.v1.run") for subject, *_ in raw.heard))
    return {subjects.speaker(subject, "steady") for subject, *_ in raw.heard}


def every_subject(names: set[str]) -> list[str]:
    """Fill in every function of `subjects` that spells one: those to come as well."""
    found: list[str] = []
    for name, spell in inspect.getmembers(subjects, inspect.isfunction):
        spelt = inspect.signature(spell)
        if name.startswith("all_") or name in NO_SUBJECT or spelt.return_annotation != "str":
            continue
        for agent in AGENTS:
            for caller in ("mallory", *names):
                given = {"agent": agent, "holder": agent, "site": "local", "number": 7}
                words = {key: given.get(key, caller) for key in spelt.parameters}
                found.append(spell(**words))
    return sorted(set(found))


def decodes(data: bytes) -> bool:
    """Tell whether this is a message: under another's name that would be forgery, not garbage."""
    for decode in (
        *(wire.decode_run, wire.decode_control, wire.decode_out, wire.decode_heartbeat),
        *(wire.decode_claim, wire.decode_asked),
    ):
        try:
            decode(data)
        except ProtocolError:
            continue
        return True
    return False


def complaints(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if FAILED.search(line)]


def check(ground: Ground, bystander: Bystander) -> None:
    """See to it that old and new clients are served, and that nothing broke where it was read."""
    with ground.connect() as newcomer:
        for agent in ("yard", "steady"):
            assert newcomer.options(on=agent).submit(double, 4).result(WITHIN_S) == 8
        assert {"yard", "steady"} <= {row.document.agent for row in newcomer.agents()}
        names = newcomer.options(where="agent != 'mallory'")
        assert list(names.map(double, range(50))) == list(range(0, 100, 2))
    for log in (ground.directory / "yard.log", ground.directory / "steady.log", bystander.log):
        assert not complaints(log), complaints(log)[:5]


def test_garbage_on_every_subject(ground: Ground, bystander: Bystander, case: Trying) -> None:
    rng = random.Random(4)
    with RawClient(ground.access) as raw, case("garbage on every subject", BOUND_S) as told:
        where = every_subject(callers(raw))
        assert len(where) > 15
        sent = 0
        for subject in where:
            for data in garbage.each(A_SUBJECT, rng):
                if not decodes(data):
                    raw.publish(subject, data, rng.choice(("", "_INBOX_mallory.x.1")))
                    sent += 1
        raw.flush()
        check(ground, bystander)
        told.happened = f"{sent} messages on {len(where)} subjects ignored; all calls run"


def test_nonsense_under_a_name_of_its_own(
    ground: Ground, bystander: Bystander, case: Trying
) -> None:
    """Whatever decodes is believed of its sender, and harms nobody else."""
    rng = random.Random(5)
    with RawClient(ground.access) as raw, case("well-formed nonsense", BOUND_S) as told:
        names = callers(raw)
        incarnations = [row.document.incarnation for row in agents(ground)]
        # Who is refused for being nobody could do no harm.
        hello = wire.encode(wire.Hello(anybody(ground.access, "mallory").jwt))
        for agent in AGENTS[:2]:
            raw.publish(subjects.control(agent, "mallory"), hello)
        for number in range(NONSENSE):
            agent = rng.choice(AGENTS[:2])
            run = garbage.silly(wire.Run, rng)
            if rng.random() < 0.7:
                run = wire.Run(rng.choice(incarnations), sane(run.job, rng), run.calls)
            raw.publish(subjects.run(agent, "mallory"), wire.encode(run))
            kind = rng.choice((wire.Ping, wire.Cancel, wire.Return, wire.Resend, wire.Code))
            raw.publish(subjects.control(agent, "mallory"), wire.encode(garbage.silly(kind, rng)))
            ask = garbage.silly(rng.choice((wire.Ask, wire.Taken, wire.Bring)), rng)
            raw.publish(subjects.blob(agent, "mallory"), wire.encode(ask))
            state = garbage.silly(wire.AgentState, rng)
            beat = wire.Heartbeat(
                "mallory", "local", rng.choice((1, 2, number)), rng.choice(garbage.INTEGERS),
                rng.choice(garbage.FLOATS), state, garbage.silly(wire.Heartbeat, rng).coordinate,
            )  # fmt: skip
            raw.publish(subjects.heartbeat("local", "mallory"), wire.encode(beat))
            if number % 10 == 0:
                document = garbage.silly(capability.Capabilities, rng)
                fields = {**fields_of(document), "agent": "mallory", "incarnation": number}
                fields["left"] = number % 50 == 0
                document = capability.Capabilities(**fields)
                raw.publish(
                    subjects.written(subjects.AGENTS_BUCKET, "mallory"), capability.encode(document)
                )
            for caller in names:
                out = garbage.silly(wire.Out, rng)
                out = wire.Out(out.seq, rng.choice((1, 2, number)), state, out.records)
                raw.publish(subjects.out(caller, "mallory"), wire.encode(out))
        raw.publish(subjects.control("yard", "mallory"), wire.encode(wire.Leave()))
        raw.publish(subjects.control("steady", "mallory"), wire.encode(wire.Leave()))
        raw.publish(subjects.written(subjects.AGENTS_BUCKET, "mallory"), b"")
        raw.flush()
        check(ground, bystander)
        told.happened = f"{NONSENSE} of each kind of message believed of nobody else; all calls run"


def agents(ground: Ground) -> list[Candidate]:
    with ground.connect() as mesh:
        return [row for row in mesh.agents() if row.document.agent in AGENTS]


def fields_of(document: capability.Capabilities) -> dict[str, object]:
    return {name: getattr(document, name) for name in document.__struct_fields__}


def sane(job: wire.Job, rng: random.Random) -> wire.Job:
    """Return a job that an agent takes, with something about it that makes no sense."""
    return wire.Job(
        rng.randbytes(16),
        job.name,
        1,
        0,
        rng.choice((0, 2**20, 2**62)),
        job.timeout_s,
        job.orphans,
        "",
        job.code,
    )
