"""What a function's calls demand, said once where it is defined; the function is unchanged."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import msgspec

from gossamer.work import RETRIES, Job
from gossamer_mesh import wire
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.functions import describe
from gossamer_mesh.subjects import check_name
from gossamer_mesh.units import parse_bytes, parse_seconds
from gossamer_placement.model import Demand

P = ParamSpec("P")
R = TypeVar("R")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls of a function are run. SI units; 0 means no limit, "" any."""

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    timeout_s: float = 0.0
    retries: int = RETRIES
    orphans: wire.Orphans = "cancel"
    agent: str = ""
    labels: tuple[tuple[str, str], ...] = ()


DEFAULT = Options()
_options: weakref.WeakKeyDictionary[Callable[..., object], Options] = weakref.WeakKeyDictionary()
_jobs: weakref.WeakKeyDictionary[Callable[..., object], dict[Options, Job]] = (
    weakref.WeakKeyDictionary()
)


def function(
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    memory: int | str | None = None,
    timeout: float | str | None = None,
    retries: int | None = None,
    orphans: wire.Orphans | None = None,
    on: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say what the calls of a function need: `@gossamer.function(cpus=2, timeout="30s")`.

    `cpus` and `gpus` are counts; `memory` is bytes or "2GiB", beyond which the call fails with
    `MemoryError`; `timeout` is seconds or "30s" of running, after which the call is killed;
    `retries` is how often a call whose worker or agent died is tried again; `orphans="finish"`
    lets calls go on when their caller vanishes; `on` pins to an agent by name, `labels` to
    agents that carry them (`site` counts as a label). The function is returned unchanged.
    """
    options = override(
        DEFAULT,
        cpus=cpus,
        gpus=gpus,
        memory=memory,
        timeout=timeout,
        retries=retries,
        orphans=orphans,
        on=on,
        labels=labels,
    )

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        _options[fn] = options
        return fn

    return decorate


def override(  # noqa: PLR0913  as `function`
    options: Options,
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    memory: int | str | None = None,
    timeout: float | str | None = None,
    retries: int | None = None,
    orphans: wire.Orphans | None = None,
    on: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Options:
    """Return `options` with what is given changed; `ConfigError` names what is out of bounds."""
    return Options(
        cpus=options.cpus if cpus is None else _count("cpus", cpus, 1),
        gpus=options.gpus if gpus is None else _count("gpus", gpus, 0),
        memory_bytes=options.memory_bytes if memory is None else parse_bytes(memory),
        timeout_s=options.timeout_s if timeout is None else parse_seconds(timeout),
        retries=options.retries if retries is None else _count("retries", retries, 0),
        orphans=options.orphans if orphans is None else _orphans(orphans),
        agent=options.agent if on is None else _agent(on),
        labels=options.labels if labels is None else _labels(labels),
    )


def options_of(fn: Callable[..., object]) -> Options:
    """Return what `@function` said of `fn`."""
    try:
        return _options.get(fn, DEFAULT)
    except TypeError:  # neither hashable nor weakly referenced: it was never decorated
        return DEFAULT


def job_for(fn: Callable[..., object], options: Options) -> Job:
    """Return what all calls of `fn` with these options have in common, remembered per function."""
    try:
        jobs = _jobs.get(fn)
    except TypeError:
        return _make_job(fn, options)
    if jobs is None:
        jobs = {}
        try:
            _jobs[fn] = jobs
        except TypeError:
            return _make_job(fn, options)
    job = jobs.get(options)
    if job is None:
        job = jobs[options] = _make_job(fn, options)
    return job


def _make_job(fn: Callable[..., object], options: Options) -> Job:
    code = describe(fn)
    return Job(
        function=code.digest,
        name=code.name,
        code=code.code,
        demand=Demand(
            cpus=options.cpus,
            gpus=options.gpus,
            memory_bytes=options.memory_bytes,
            python=code.python,
            agent=options.agent,
            labels=options.labels,
        ),
        timeout_s=options.timeout_s,
        retries=options.retries,
        orphans=options.orphans,
    )


def _count(what: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{what}={value!r}: give a whole number, {least} or more", value=value)
    return value


def _agent(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"on={value!r}: give the name of an agent", value=value)
    return check_name(value, "on") if value else value


def _labels(value: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    labels: list[tuple[str, str]] = []
    for key, label in value.items():
        if not isinstance(key, str) or not isinstance(label, str):
            raise ConfigError(
                f"labels={{{key!r}: {label!r}}}: give names and values as text", value=value
            )
        labels.append((key, label))
    return tuple(sorted(labels))


def _orphans(value: wire.Orphans) -> wire.Orphans:
    if value not in {"cancel", "finish"}:
        raise ConfigError(f"orphans={value!r}: give 'cancel' or 'finish'", value=value)
    return value
