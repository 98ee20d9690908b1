"""What a function's calls demand, said once where it is defined; the function is unchanged."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable
from typing import Final, ParamSpec, TypeVar, Unpack

from gossamer.options import DEFAULT, NAMES, Given, Options, override
from gossamer.work import Job
from gossamer_mesh.code.function import FunctionCode, describe, describe_bound, name_of
from gossamer_mesh.nearest import did_you_mean
from gossamer_placement.model import Demand

P = ParamSpec("P")
R = TypeVar("R")

JOBS_KEPT: Final = 256
"""Sets of options that a function's jobs are remembered for: a budget may differ with each call."""

NO_FUNCTION: Final = FunctionCode(digest=b"", name="a call", code=b"", python="")
"""Stands for whatever might be run, where only its demand matters."""

_options: weakref.WeakKeyDictionary[Callable[..., object], Options] = weakref.WeakKeyDictionary()
_jobs: weakref.WeakKeyDictionary[Callable[..., object], dict[Options, Job]] = (
    weakref.WeakKeyDictionary()
)
_bound_jobs: weakref.WeakKeyDictionary[Callable[..., object], dict[Options, Job]] = (
    weakref.WeakKeyDictionary()
)
_takes: weakref.WeakKeyDictionary[Callable[..., object], frozenset[str]] = (
    weakref.WeakKeyDictionary()
)
_ANY: Final = "**"
_own_names: weakref.WeakKeyDictionary[Callable[..., object], frozenset[str]] = (
    weakref.WeakKeyDictionary()
)


def function(**given: Unpack[Given]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say what the calls of a function need: `@gossamer.function(cpus=2, timeout="30s")`.

    What must be there: `cpus` and `gpus`, counts; `memory`, bytes or "2GiB", beyond which the
    call fails with `MemoryError`; `arch`, like "arm64"; `scheduler` and `runtime`, a batch
    system or container runtime to be reached, like "slurm" and "podman"; `data`, the name of
    data kept there; `resources`, what a call has for itself, by the names that agents give it:
    "camera-7", or {"licence": 2}; `labels`, a mapping (`site` counts as a label); `on`, an agent
    by its name or those of one label, "room=lab-2"; `where`, an expression over what agents say
    of themselves, like "gpu.memory >= 16GiB and site != 'field'".

    Which is preferred: `place`, "nearest", "fastest", "cheapest", "greenest", "spread", or a
    hint with bounds, like `fastest(within="200ms")`. `wait` is how long a call waits for an agent
    to join when there is none that can run it ("5m"); without it, that is an error at once.

    How it is run: `timeout`, seconds or "30s" of running, after which the call is killed;
    `retries`, how often a call whose worker or agent died is tried again; `idempotent`, whether
    running it twice does no harm (so it is taken to be if it may be retried); `hedge=True`: a
    call that is late is started a second time elsewhere, and the first result counts;
    `orphans="finish"` lets calls go on when their caller vanishes.

    The function is returned unchanged. `ConfigError` names what is out of bounds.
    """
    options = override(DEFAULT, **given)

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        _options[fn] = options
        return fn

    return decorate


def options_of(fn: Callable[..., object]) -> Options:
    """Return what `@function` said of `fn`."""
    try:
        return _options.get(fn, DEFAULT)
    except TypeError:  # neither hashable nor weakly referenced: it was never decorated
        return DEFAULT


def own_names(fn: Callable[..., object]) -> frozenset[str]:
    """Return the names of options that `fn` has parameters of, remembered per function.

    What it would take as `**kwargs` does not count.
    """
    try:
        names = _own_names.get(fn)
        if names is None:
            names = _own_names[fn] = _parameters(fn) & NAMES
    except TypeError:  # neither hashable nor weakly referenced
        return _parameters(fn) & NAMES
    return names


def check_keywords(
    fn: Callable[..., object], names: Iterable[str], *, options: bool = True
) -> None:
    """Raise `TypeError` for a keyword that is neither an option nor a parameter of `fn`.

    What takes any keyword, or does not tell what it takes, is believed. `options`: whether those
    may stand among the keywords.
    """
    try:
        takes = _takes.get(fn)
        if takes is None:
            takes = _takes[fn] = _keywords(fn)
    except TypeError:  # neither hashable nor weakly referenced
        takes = _keywords(fn)
    if _ANY in takes:
        return
    if not options:
        takes = (takes - NAMES) | own_names(fn)
    if takes.issuperset(names):
        return
    for name in names:
        if name not in takes:
            if name in NAMES:
                raise TypeError(
                    f"{name!r} is no parameter of {name_of(fn)}, and options are not given here: "
                    f"write mesh.executor({name}=…)"
                )
            hint = did_you_mean(name, takes)
            raise TypeError(f"{name!r} is no parameter of {name_of(fn)} and no option{hint}")


def _keywords(fn: Callable[..., object]) -> frozenset[str]:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # some builtins do not tell
        return frozenset({_ANY})
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return frozenset({_ANY})
    return NAMES | _parameters(fn)


def job_for(fn: Callable[..., object], options: Options, *, bound: bool = False) -> Job:
    """Return what all calls of `fn` with these options have in common, remembered per function.

    `bound`: those whose arguments bring code, and so can be run by this version of Python alone.
    """
    remembered, make = (_bound_jobs, describe_bound) if bound else (_jobs, describe)
    try:
        jobs = remembered.get(fn)
    except TypeError:
        return job_of(make(fn), options)
    if jobs is None:
        jobs = {}
        try:
            remembered[fn] = jobs
        except TypeError:
            return job_of(make(fn), options)
    job = jobs.get(options)
    if job is None:
        if len(jobs) >= JOBS_KEPT:
            # All at once: another thread may be looking on.
            jobs.clear()
        job = jobs[options] = job_of(make(fn), options)
    return job


def forget() -> None:
    """Make every function's jobs anew: what is included has changed."""
    _jobs.clear()
    _bound_jobs.clear()


def job_of(code: FunctionCode, options: Options) -> Job:
    """Return the job that runs `code` under `options`."""
    labels = options.labels
    if options.pin:
        labels = tuple(sorted({*labels, *options.pin}))
    return Job(
        function=code.digest,
        name=code.name,
        code=code.code,
        demand=Demand(
            cpus=options.cpus,
            gpus=options.gpus,
            memory_bytes=options.memory_bytes,
            python=code.python,
            arch=options.arch,
            agent=options.agent,
            scheduler=options.scheduler,
            runtime=options.runtime,
            data=options.data,
            labels=labels,
            where=options.where,
            resources=options.resources,
            function=code.digest,
        ),
        hint=options.hint,
        timeout_s=options.timeout_s,
        retries=options.retries,
        orphans=options.orphans,
        wait_s=options.wait_s,
        idempotent=options.may_run_twice,
        hedge=options.hedge,
        bound=code.bound,
        includes=tuple((include.digest, include.content) for include in code.includes),
    )


def _parameters(fn: Callable[..., object]) -> frozenset[str]:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # some builtins do not tell
        return frozenset()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(parameter.name for parameter in parameters if parameter.kind in by_name)
