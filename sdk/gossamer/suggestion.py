"""What a demand that nobody can meet may have meant: the names there are that are most like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossamer_mesh.nearest import nearest
from gossamer_placement.fields import architecture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gossamer_placement.fleet import Fleet
    from gossamer_placement.model import Demand


def meant(demand: Demand, fleet: Fleet) -> str:
    """Return "; did you mean arch='aarch64'?", with all that no agent has and that is like a name.

    As the options are written; "" if there is nothing to say.
    """
    close = " and ".join(_meant(demand, fleet))
    return f"; did you mean {close}?" if close else ""


def _meant(demand: Demand, fleet: Fleet) -> Iterator[str]:
    documents = [candidate.document for candidate in fleet]
    if demand.agent:
        yield from _like("on={!r}", demand.agent, (each.agent for each in documents))
    arch = architecture(demand.arch)
    if arch not in {architecture(each.arch) for each in documents}:
        yield from _like("arch={!r}", demand.arch, (each.arch for each in documents))
    for key, value in demand.labels:
        has = {each.site for each in documents} if key == "site" else set[str]()
        has |= {each.labels[key] for each in documents if key in each.labels}
        if has:
            yield from _like(f"{key}={{}}", value, has)
        else:
            keys = {name for each in documents for name in each.labels} | {"site"}
            yield from _like(f"{{}}={value}", key, keys)
    for name, _ in demand.resources:
        yield from _like("resources={!r}", name, (n for each in documents for n in each.resources))
    kinds = (
        ("scheduler", demand.scheduler, (s.name for each in documents for s in each.schedulers)),
        ("runtime", demand.runtime, (r.name for each in documents for r in each.runtimes)),
        ("data", demand.data, (name for each in documents for name in each.data)),
    )
    for option, name, known in kinds:
        if name:
            yield from _like(f"{option}={{!r}}", name, known)


def _like(form: str, name: str, known: Iterable[str]) -> Iterator[str]:
    """Give the name that is most like this one, unless this one is there."""
    there = {each for each in known if each}
    if name not in there:
        for close in nearest(name, there, most=1):
            yield form.format(close)
