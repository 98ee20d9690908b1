"""How calls are run: what people say of it, in their units, and what it means. No I/O."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict, Unpack, cast

import msgspec

from gossamer.hints import hint_of
from gossamer.work import RETRIES
from gossamer_mesh import wire
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.nearest import nearest
from gossamer_mesh.subjects import check_name
from gossamer_mesh.text import check_text
from gossamer_mesh.units import parse_bytes, parse_seconds
from gossamer_placement.model import Hint


class GivenToMap(TypedDict, total=False):
    """All options but `timeout`, which `map` has a meaning of its own for. None: not given."""

    cpus: int | None
    gpus: int | None
    memory: int | str | None
    arch: str | None
    scheduler: str | None
    runtime: str | None
    data: str | None
    resources: str | Mapping[str, int] | None
    where: str | None
    on: str | None
    labels: Mapping[str, str] | None
    place: str | Hint | None
    wait: float | str | None
    retries: int | None
    idempotent: bool | None
    hedge: bool | None
    orphans: wire.Orphans | None


class Given(GivenToMap, total=False):
    """The options as people give them; `gossamer.function` says what each means."""

    timeout: float | str | None


NAMES: Final = frozenset(Given.__annotations__)


class Options(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """How the calls of a function are run. SI units; 0 means no limit, "" any.

    `agent` or else `pin`, a label, is what `on=` named. `idempotent` None: as `retries` imply.
    """

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    arch: str = ""
    scheduler: str = ""
    runtime: str = ""
    data: str = ""
    resources: tuple[tuple[str, int], ...] = ()
    where: str = ""
    agent: str = ""
    pin: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    hint: Hint = Hint()
    wait_s: float = 0.0
    timeout_s: float = 0.0
    retries: int = RETRIES
    idempotent: bool | None = None
    hedge: bool = False
    orphans: wire.Orphans = "cancel"

    @property
    def may_run_twice(self) -> bool:
        """Whether running a call twice does no harm: as was said, else if it may be retried."""
        return self.retries > 0 if self.idempotent is None else self.idempotent


DEFAULT: Final = Options()


def override(options: Options, **given: Unpack[Given]) -> Options:
    """Return `options` with what is given changed.

    `ConfigError` names what is out of bounds, or does not go together; `TypeError` what is no
    option.
    """
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name not in NAMES:
            close = nearest(name, NAMES, most=1)
            known = f": there are {', '.join(sorted(NAMES))}"
            hint = f" (did you mean {close[0]!r}?)" if close else known
            raise TypeError(f"{name!r} is no option{hint}")
        if name == "on" and value is not None:
            changes["agent"], changes["pin"] = _on(value)
        elif value is not None:
            field, read = _READ[name]
            changes[field] = read(name, value)
    if not changes:
        return options
    changed = msgspec.structs.replace(options, **changes)
    if changed.hedge and (changed.retries == 0 or not changed.may_run_twice):
        why = "retries=0" if changed.retries == 0 else "idempotent=False"
        raise ConfigError(
            f"hedge=True with {why}: a hedged call may run twice, and this one must not; "
            "leave one of them out",
            hedge=True,
            retries=changed.retries,
            idempotent=changed.idempotent,
        )
    return changed


def _one_or_more(what: str, value: object) -> int:
    return _count(what, value, 1)


def _none_or_more(what: str, value: object) -> int:
    return _count(what, value, 0)


def _count(what: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{what}={value!r}: give a whole number, {least} or more", value=value)
    return value


def _seconds(what: str, value: object) -> float:
    try:
        return parse_seconds(value)
    except ConfigError as error:
        raise ConfigError(f"{what}={value!r}: {error}", value=value) from None


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        # It may have been meant for the function, and be of any size.
        raise ConfigError(f"{what}={reprlib.repr(value)}: give a name as text")
    return check_text(value.strip(), f"{what}=")


def _flag(what: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{what}={value!r}: give True or False", value=value)
    return value


def _bytes(what: str, value: object) -> int:
    try:
        return parse_bytes(value)
    except ConfigError as error:
        raise ConfigError(f"{what}={value!r}: {error}", value=value) from None


def _where(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(
            f"{what}={value!r}: give an expression as text, like \"site == 'lab'\"", value=value
        )
    text = value.strip()
    if text:
        from gossamer_placement.where import parse  # noqa: PLC0415  only who filters needs it

        parse(text)
    return text


def _on(value: object) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return `Options.agent` and `Options.pin`."""
    if not isinstance(value, str):
        raise ConfigError(
            f"on={value!r}: give the name of an agent, or a label like 'room=lab-2'", value=value
        )
    label, equals, is_value = value.partition("=")
    if not equals:
        return check_name(value, "the agent's name") if value else "", ()
    if not label.strip():
        raise ConfigError(f"on={value!r}: before '=' stands the name of a label", value=value)
    check_text(value, "on=")
    return "", ((label.strip(), is_value.strip()),)


def _hint(_: str, value: object) -> Hint:
    return hint_of(value)


def _labels(what: str, value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what}={value!r}: give a mapping, like {{'room': 'lab'}}", value=value)
    given = cast("Mapping[object, object]", value)
    labels: list[tuple[str, str]] = []
    for key, label in given.items():
        if not isinstance(key, str) or not isinstance(label, str):
            raise ConfigError(
                f"{what}={{{key!r}: {label!r}}}: give names and values as text", value=given
            )
        labels.append((check_text(key, f"{what}="), check_text(label, f"{what}[{key!r}]=")))
    return tuple(sorted(labels))


def _resources(what: str, value: object) -> tuple[tuple[str, int], ...]:
    if isinstance(value, str):
        return ((check_name(value, "the resource's name"), 1),)
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{what}={reprlib.repr(value)}: give a name, or a mapping from names to how many, "
            'like {"camera-7": 1}'
        )
    given = cast("Mapping[object, object]", value)
    needs: list[tuple[str, int]] = []
    for name, count in given.items():
        if not isinstance(name, str):
            raise ConfigError(f"{what}={{{name!r}: {count!r}}}: give names as text", value=given)
        needs.append(
            (check_name(name, "the resource's name"), _one_or_more(f"{what}[{name!r}]", count))
        )
    return tuple(sorted(needs))


def _orphans(what: str, value: wire.Orphans) -> wire.Orphans:
    if value not in {"cancel", "finish"}:
        raise ConfigError(f"{what}={value!r}: give 'cancel' or 'finish'", value=value)
    return value


# Option → the field it sets, and what reads it. `on` sets two.
_READ: Final[Mapping[str, tuple[str, Callable[[str, Any], object]]]] = {
    "cpus": ("cpus", _one_or_more),
    "gpus": ("gpus", _none_or_more),
    "memory": ("memory_bytes", _bytes),
    "arch": ("arch", _text),
    "scheduler": ("scheduler", _text),
    "runtime": ("runtime", _text),
    "data": ("data", _text),
    "resources": ("resources", _resources),
    "where": ("where", _where),
    "labels": ("labels", _labels),
    "place": ("hint", _hint),
    "wait": ("wait_s", _seconds),
    "timeout": ("timeout_s", _seconds),
    "retries": ("retries", _none_or_more),
    "idempotent": ("idempotent", _flag),
    "hedge": ("hedge", _flag),
    "orphans": ("orphans", _orphans),
}
