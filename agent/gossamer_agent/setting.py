"""One key of the agent's configuration: what it is called, what may be written, what it means.

A reader returns the value in SI, or raises `UnfitError` saying what is allowed.
"""

from __future__ import annotations

import difflib
import keyword
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import msgspec

from gossamer_agent.tables import Table, constant
from gossamer_mesh import subjects, units
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.text import stray

Reader: TypeAlias = Callable[[object], Any]

# CUDA does not survive a fork, and the zygote exists to be forked.
_GPU_LIBRARIES: Final = frozenset(
    {"torch", "torchvision", "torchaudio", "tensorflow", "jax", "jaxlib", "cupy", "pycuda"}
)

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")
_MOST_LABEL_CHARACTERS: Final = 256
_MOST_SHOWN: Final = 80
_TIME_OF_DAY: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class UnfitError(Exception):
    """What was written cannot be used; `inner` and `value`: the part of a table at fault."""

    def __init__(self, allowed: str, *, inner: str = "", value: object = None) -> None:
        super().__init__(allowed)
        self.allowed = allowed
        self.inner = inner
        self.value = value


class Setting(msgspec.Struct, frozen=True):
    """The key as it is written (`work.slots`), the field of `AgentConfig` it sets, its reader."""

    key: str
    field: str
    read: Reader


def token(value: object) -> str:
    """Read a name that can be one token of a subject."""
    text = string(value)
    try:
        return subjects.check_name(text)
    except ConfigError as error:
        raise UnfitError(
            "allowed: 1-63 letters, digits, '-' or '_', starting with a letter or digit"
        ) from error


def string(value: object) -> str:
    """Read text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise UnfitError("allowed: text in quotes, not empty")
    return value


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise UnfitError("allowed: true or false")
    return value


def integer(low: int, high: int) -> Reader:
    """Return the reader of an integer from `low` to `high`."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UnfitError(f"allowed: a whole number from {low} to {high}")
        return value

    return read


def number(low: float, high: float, what: str) -> Reader:
    """Return the reader of a number from `low` to `high`; `what` tells of it: "in watts"."""
    allowed = f"allowed: a number from {low:.7g} to {high:.7g}, {what}"

    def read(value: object) -> float:
        # NaN fails both comparisons.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnfitError(allowed)
        if not low <= value <= high:
            raise UnfitError(allowed)
        return float(value)

    return read


def table(low: float, high: float, what: str, example: str) -> Reader:
    """Return the reader of a number as of `number`, or of a table from times of day to such."""
    one = number(low, high, what)
    entries = f"a table from times of day, in UTC, to such numbers, as in {example}"

    def read(value: object) -> Table:
        if not isinstance(value, Mapping):
            try:
                return constant(one(value))
            except UnfitError as error:
                raise UnfitError(f"{error.allowed}; or {entries}") from error
        found: list[tuple[float, float]] = []
        for time, told in cast("Mapping[object, object]", value).items():
            clock = _TIME_OF_DAY.fullmatch(time) if isinstance(time, str) else None
            if clock is None:
                raise UnfitError(
                    'allowed as a time of day: "00:00" to "23:59", in UTC',
                    inner=str(time),
                    value=told,
                )
            try:
                found.append((3600.0 * int(clock[1]) + 60.0 * int(clock[2]), one(told)))
            except UnfitError as error:
                raise UnfitError(error.allowed, inner=clock[0], value=told) from error
        if not found:
            raise UnfitError(f"allowed: {entries}")
        return tuple(sorted(found))

    return read


def size(low: int, high: int, example: str, *, none: bool = False) -> Reader:
    """Return the reader of bytes from `low` to `high`; with `none`, also of 0."""
    also = "0 for no limit, or " if none else ""
    span = f"{units.show_bytes(low)} to {units.show_bytes(high)}"
    allowed = f"allowed: {also}{span}, such as {example!r}"

    def read(value: object) -> int:
        try:
            found = units.parse_bytes(value)
        except ConfigError as error:
            raise UnfitError(allowed) from error
        if low <= found <= high or (none and found == 0):
            return found
        raise UnfitError(allowed)

    return read


def duration(low: float, high: float, example: str) -> Reader:
    """Return the reader of seconds from `low` to `high`."""
    span = f"{units.show_seconds(low)} to {units.show_seconds(high)}"
    allowed = f"allowed: {span}, such as {example!r}"

    def read(value: object) -> float:
        try:
            found = units.parse_seconds(value)
        except ConfigError as error:
            raise UnfitError(allowed) from error
        if low <= found <= high:
            return found
        raise UnfitError(allowed)

    return read


def choice(known: tuple[str, ...]) -> Reader:
    """Return the reader of one of the words in `known`."""

    def read(value: object) -> str:
        if value not in known:
            raise UnfitError(f"allowed: {', '.join(map(repr, known))}")
        return str(value)

    return read


def directories(value: object) -> tuple[Path, ...]:
    """Read a list of directories that are there, from the root or the home on."""
    names = _strings(value, "a list of directories, as in ['~/.ssh', '/etc/gossamer']")
    found = tuple(Path(os.path.expanduser(name)) for name in names)  # noqa: PTH111 - Path's raises for "~nobody"
    for name, path in zip(names, found, strict=True):
        if not path.is_absolute() or not path.is_dir():
            raise UnfitError(f"{name!r} is no directory here; allowed: directories, from / or ~ on")
    return found


def choices(known: tuple[str, ...]) -> Reader:
    """Return the reader of a list of some of the words in `known`."""

    def read(value: object) -> tuple[str, ...]:
        words = _strings(value, f"a list of some of {', '.join(known)}")
        for word in words:
            if word not in known:
                raise UnfitError(
                    f"{word!r} is unknown, did you mean {closest(word, known)!r}? "
                    f"allowed: {', '.join(known)}"
                )
        return words

    return read


def modules(value: object) -> tuple[str, ...]:
    """Read a list of modules that can be imported before a fork."""
    names = _strings(value, 'a list of module names, such as ["numpy", "scipy.signal"]')
    for name in names:
        parts = name.split(".")
        if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
            raise UnfitError(
                f"{name!r} is not a module's name; allowed: names such as 'numpy', 'scipy.signal'"
            )
        if parts[0] in _GPU_LIBRARIES:
            raise UnfitError(
                f"{name!r} cannot be preloaded: workers are forked from the process that preloads "
                "and CUDA does not survive a fork; import it inside the function instead"
            )
    return names


def labels(value: object) -> dict[str, str]:
    """Read a table of labels, text to text."""
    if not isinstance(value, Mapping):
        raise UnfitError('allowed: a section [labels] of texts, such as room = "lab-2"')
    found: dict[str, str] = {}
    for name, text in _named(cast("Mapping[object, object]", value), "a label"):
        if not isinstance(text, str) or len(text) > _MOST_LABEL_CHARACTERS or stray(text) >= 0:
            raise UnfitError(
                f"allowed: text in quotes, in UTF-8, at most {_MOST_LABEL_CHARACTERS} characters",
                inner=name,
                value=text,
            )
        found[name] = text
    return found


def data(value: object) -> dict[str, int]:
    """Read a table from the names of data to their sizes in bytes, 0 if unknown."""
    if not isinstance(value, Mapping):
        raise UnfitError('allowed: a section [data] of sizes, such as camera-7 = "120GiB"')
    read = size(0, 2**60, "120GiB")
    found: dict[str, int] = {}
    for name, told in _named(cast("Mapping[object, object]", value), "data"):
        try:
            found[name] = 0 if told is True else read(told)
        except UnfitError as error:
            raise UnfitError(
                f"{error.allowed}; true or 0 if its size is not known", inner=name, value=told
            ) from error
    return found


def closest(word: str, known: tuple[str, ...]) -> str:
    """Return the one of `known` that `word` was most likely meant to be."""
    return difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]


def shown(value: object) -> str:
    """Return `value` as its author would recognise it, on one line, not long."""
    text = repr(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _named(entries: Mapping[object, object], what: str) -> Iterator[tuple[str, object]]:
    for name, value in entries.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            raise UnfitError(
                f"allowed as the name of {what}: 1-63 letters, digits, '.', '_', '/' or '-', "
                "starting with a letter or digit",
                inner=str(name),
                value=value,
            )
        yield name, value


def _strings(value: object, allowed: str) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        items = tuple(cast("list[object] | tuple[object, ...]", value))
        words = tuple(item for item in items if isinstance(item, str))
        if len(words) == len(items):
            return tuple(dict.fromkeys(words))
    raise UnfitError(f"allowed: {allowed}")
