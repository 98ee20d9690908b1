"""What a `where=` expression may name: fields of the capability document, and how they compare.

What a document does not say, or says in a number that cannot be meant, is missing: `read` gives
None. Nothing here raises, whatever the document holds.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from gossamer_mesh.nearest import nearest as names_like

if TYPE_CHECKING:
    from gossamer_mesh.capability import Capabilities

Kind = Literal[
    "text",
    "texts",
    "version",
    "architecture",
    "number",
    "share",
    "size",
    "boolean",
    "names",
    "list",
]

KINDS: Final[dict[Kind, str]] = {
    "text": "text",
    "texts": "text for each GPU",
    "version": "a version",
    "architecture": "an architecture",
    "number": "a number",
    "share": "a share",
    "size": "a size",
    "boolean": "true or false",
    "names": "a set of names",
    "list": "a list",
}
"""How a message puts it."""

LITERALS: Final[dict[Kind, frozenset[Kind]]] = {
    "text": frozenset({"text"}),
    "texts": frozenset({"text"}),
    "version": frozenset({"text"}),
    "architecture": frozenset({"text"}),
    "number": frozenset({"number", "share"}),
    "size": frozenset({"size", "number"}),
    "boolean": frozenset({"boolean"}),
    "names": frozenset(),
}
"""What a field of a kind can be compared with."""

ORDERED: Final = frozenset({"text", "version", "number", "size"})
CONTAINERS: Final = frozenset({"text", "texts", "names"})
"""Fields that something can be in; of a text, its parts are."""

Test = Callable[["Capabilities"], bool]
# The kind says what it is; a union would have to be taken apart at each comparison.
Read = Callable[["Capabilities"], Any]

_SYNONYMS: Final = {
    "arm64": "aarch64",
    "armv8": "aarch64",
    "amd64": "x86_64",
    "x86-64": "x86_64",
    "x64": "x86_64",
    "armv7": "armv7l",
    "armhf": "armv7l",
}

_VERSION_PART: Final = re.compile(r"([0-9]+)|[A-Za-z]+")
_VERSION_CHARACTERS: Final = 64
_WORD, _END, _NUMBER = range(3)


class Field(msgspec.Struct, frozen=True):
    """A field's `name`, `kind` and one line of `meaning`.

    `read` returns its value in a document, None if missing: text, number or boolean as they are,
    a version by its key, an architecture by its first name, texts and names as a collection.
    """

    name: str
    kind: Kind
    meaning: str
    read: Read

    def constant(self, literal: Any) -> Read:
        """Return what reads `literal` from every document, in the form of this field's values."""
        key = self.key(literal)
        return lambda _: key

    def key(self, literal: Any) -> Any:
        if self.kind == "version":
            return version_key(literal)
        return architecture(literal) if self.kind == "architecture" else literal


def architecture(name: str) -> str:
    """Return the one name of an architecture that has several: arm64 is aarch64."""
    lower = name.lower()
    return _SYNONYMS.get(lower, lower)


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return what orders versions: 3.9 < 3.11rc1 < 3.11 = 3.11.0 < 3.11.1."""
    return _version_key(version[:_VERSION_CHARACTERS])


@functools.lru_cache(maxsize=512)
def _version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    parts: list[tuple[int, int, str]] = []
    # What is after a "+" is a build of the same version.
    for part in _VERSION_PART.finditer(version.partition("+")[0]):
        if not part[1]:
            _drop_zeros(parts)
        digits = part[0].lstrip("0")
        # Of two numbers without zeros before them, the longer is the greater.
        parts.append((_NUMBER, len(digits), digits) if part[1] else (_WORD, 0, part[0].lower()))
    _drop_zeros(parts)
    return (*parts, (_END, 0, ""))


def _drop_zeros(parts: list[tuple[int, int, str]]) -> None:
    while parts and parts[-1] == (_NUMBER, 0, ""):
        parts.pop()


def _stated(number: float) -> float | None:
    # NaN fails every comparison.
    return number if 0 <= number < math.inf else None


def _gpu_memory(document: Capabilities) -> int | None:
    largest = 0
    for gpu in document.gpus:
        largest = max(largest, gpu.memory_bytes)
    return largest or None


def _version(version: str) -> tuple[tuple[int, int, str], ...] | None:
    return version_key(version) if version else None


_FIELDS: Final = (
    Field("name", "text", "the agent's name", lambda d: d.agent),
    Field("agent", "text", "the same as name", lambda d: d.agent),
    Field("site", "text", "where the agent is, as its config says", lambda d: d.site or None),
    Field("host", "text", "the machine's host name", lambda d: d.host or None),
    Field("os", "text", "the operating system", lambda d: d.os or None),
    Field(
        "arch",
        "architecture",
        "the processor's architecture; synonyms (arm64, aarch64) are equal",
        lambda d: architecture(d.arch) if d.arch else None,
    ),
    Field("version", "version", "the agent's version of Gossamer", lambda d: _version(d.version)),
    Field(
        "python", "version", 'the Python that runs calls, as "3.11"', lambda d: _version(d.python)
    ),
    Field("slots", "number", "how many calls of one core run at once", lambda d: d.slots),
    Field(
        "cpu.cores",
        "number",
        "the cores that the agent may use",
        lambda d: _stated(d.cpu.cores) if d.cpu else None,
    ),
    Field(
        "cpu.model",
        "text",
        "the processor, as the kernel names it",
        lambda d: (d.cpu.model or None) if d.cpu else None,
    ),
    Field(
        "cpu.mhz",
        "number",
        "the processor's highest clock, in MHz",
        lambda d: (_stated(d.cpu.max_mhz) or None) if d.cpu else None,
    ),
    Field(
        "memory",
        "size",
        "the machine's memory",
        lambda d: d.memory_bytes if d.memory_bytes > 0 else None,
    ),
    Field(
        "disk",
        "size",
        "what is free on the agent's disk",
        lambda d: d.disk_free_bytes if d.disk_free_bytes > 0 else None,
    ),
    Field("gpu.count", "number", "how many GPUs there are", lambda d: len(d.gpus)),
    Field("gpu.memory", "size", "the memory of the GPU that has most", _gpu_memory),
    Field(
        "gpu.name",
        "texts",
        "what the GPUs are called: == if one is called so, != if none is, 'A100' in gpu.name if "
        "it is part of the name of one",
        lambda d: [gpu.name for gpu in d.gpus],
    ),
    Field(
        "schedulers",
        "names",
        "the batch schedulers that can be reached",
        lambda d: {scheduler.name for scheduler in d.schedulers},
    ),
    Field(
        "runtimes",
        "names",
        "the container runtimes found",
        lambda d: {runtime.name for runtime in d.runtimes},
    ),
    Field("data", "names", "the named data kept there", lambda d: d.data),
    Field("resources", "names", "the named resources there", lambda d: d.resources),
    Field(
        "pythons",
        "names",
        'the minor versions of the interpreters found, as "3.11"',
        lambda d: {python.minor for python in d.pythons},
    ),
    Field("battery", "boolean", "whether there is a battery", lambda d: d.battery is not None),
    Field(
        "battery.charge",
        "number",
        "how full it is, 0% to 100%",
        lambda d: _stated(d.battery.charge) if d.battery else None,
    ),
    Field(
        "battery.charging",
        "boolean",
        "whether it is being charged",
        lambda d: d.battery.charging if d.battery else None,
    ),
    Field(
        "price",
        "number",
        "what a slot costs per hour, in the mesh's currency; missing if none is stated",
        lambda d: _stated(d.price.per_slot_hour) if d.price else None,
    ),
    Field(
        "power.idle",
        "number",
        "what the machine draws when idle, in watts",
        lambda d: _stated(d.power.idle_w) if d.power else None,
    ),
    Field(
        "power.busy",
        "number",
        "what it draws with all slots busy, in watts",
        lambda d: _stated(d.power.busy_w) if d.power else None,
    ),
    Field(
        "carbon",
        "number",
        "its grid's carbon now, in grams of CO2 equivalent per kWh",
        lambda d: None if d.power is None or d.power.carbon is None else _stated(d.power.carbon),
    ),
    Field(
        "speed",
        "number",
        "how fast a slot is beside a reference core of 1",
        lambda d: _stated(d.speed) or None,
    ),
)

_BY_NAME: Final = {field.name: field for field in _FIELDS}


def known() -> tuple[Field, ...]:
    """Return all fields, for help and documents; `<name>` stands for every label or resource."""
    return (*_FIELDS, label("<name>"), resource("<name>"))


def find(name: str) -> Field | None:
    """Return the field of this name, labels and resources included; None if there is none."""
    if name.startswith("labels.") and len(name) > len("labels."):
        return label(name.removeprefix("labels."))
    if name.startswith("resources.") and len(name) > len("resources."):
        return resource(name.removeprefix("resources."))
    return _BY_NAME.get(name)


def label(key: str) -> Field:
    """Return the field of the label `key`, which may be any text."""
    return Field(f"labels.{key}", "text", "a label from its config", lambda d: d.labels.get(key))


def resource(name: str) -> Field:
    """Return the field of the named resource `name`: its units, missing where there is none."""
    return Field(
        f"resources.{name}",
        "number",
        "how many units of a named resource there are",
        lambda d: d.resources.get(name),
    )


def nearest(name: str) -> str:
    """Return the known field whose name is most like `name`, "" if none is."""
    if name.startswith("label."):
        return f"labels.{name.removeprefix('label.')}"
    if name.startswith("resource."):
        return f"resources.{name.removeprefix('resource.')}"
    return next(iter(names_like(name, _BY_NAME, most=1)), "")


# -- comparisons; each is false if a value is missing ---------------------------------------------


def equal(field: Field, other: Read) -> Test:
    """Compile `field == other`; of several texts, one must be equal."""
    read = field.read
    if field.kind == "texts":
        return lambda document: other(document) in read(document)

    def holds(document: Capabilities) -> bool:
        found = read(document)
        return found is not None and bool(found == other(document))

    return holds


def ordered(relation: Callable[[Any, Any], bool], field: Field, other: Read) -> Test:
    """Compile `field < other` and its like."""
    read = field.read

    def holds(document: Capabilities) -> bool:
        found = read(document)
        beside = other(document)
        return found is not None and beside is not None and relation(found, beside)

    return holds


def one_of(field: Field, literals: list[Any]) -> Test:
    """Compile `field in [literals]`."""
    read = field.read
    keys = frozenset(field.key(literal) for literal in literals)
    if field.kind == "texts":
        return lambda document: not keys.isdisjoint(read(document))
    return lambda document: read(document) in keys


def part_of(text: Read, field: Field) -> Test:
    """Compile `text in field`: a name in a set of them, a part of a text or of one of several."""
    read = field.read

    def holds(document: Capabilities) -> bool:
        part, whole = text(document), read(document)
        return part is not None and whole is not None and part in whole

    if field.kind != "texts":
        return holds

    def holds_for_one(document: Capabilities) -> bool:
        part = text(document)
        return part is not None and any(part in whole for whole in read(document))

    return holds_for_one
