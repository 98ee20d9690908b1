"""Which registered functions an agent was told to run, and no others. Pure.

A rule is the name of a function, with its owner's or without, of one version of it, or a digest:
the function's own, which is as the registry says, or that of its code as it is kept there, which is
checked. What others can come to be meant by holds only while nobody else is: see `Allowance.of`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, cast

import msgspec

from gossamer_agent.setting import UnfitError
from gossamer_mesh import registered
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.registered import Reference, Registered

ANY: Final = "any"
"""Whatever code, or whomever; where that can be meant."""

_ALLOWED: Final = (
    'allowed: a list of registered functions, such as ["ada/describe@2", "ada/describe"], or of '
    "digests, as `gossamer functions show` tells them"
)


class Allowed(NamedTuple):
    """What rules allow of what is registered, what the first rule does first.

    `lapsed`: which rules hold for nothing, as they may mean several owners' functions, and why, by
    the digest of each function.
    """

    entries: list[Registered]
    lapsed: dict[bytes, str]


class Allowance(msgspec.Struct, frozen=True):
    """The rules, as they were written."""

    rules: tuple[str, ...]

    @property
    def plain(self) -> list[str]:
        """Those that are names without an owner."""
        return [rule for rule in self.rules if _plain_name(rule)]

    def allows(self, entry: Registered) -> bool:
        """Return whether a rule is about this function, whoever else it may be about.

        None is about one whose digest is not of its meaning: what has it could be anything.
        """
        return entry.stable and not _rules_about(entry).isdisjoint(self.rules)

    def of(self, entries: Iterable[Registered]) -> Allowed:
        """Return what may run, of all that is registered.

        A name without an owner holds while one owner alone has registered it, a function's own
        digest, which anybody may claim, while it is that of one owner's code.
        """
        about: dict[str, list[Registered]] = {rule: [] for rule in self.rules}
        owners: dict[str, set[str]] = {name: set() for name in map(_plain_name, about) if name}
        digests = {rule for rule in about if registered.is_digest(rule)}
        names = {rule.rpartition("/")[2].partition("@")[0] for rule in about} - digests
        for entry in entries:
            # There may be very many, and rules are about few of them.
            if entry.name not in names and not (
                digests and (entry.content in digests or entry.digest.hex() in digests)
            ):
                continue
            if entry.name in owners:
                owners[entry.name].add(entry.owner)
            for rule in _rules_about(entry) & about.keys() if entry.stable else ():
                about[rule].append(entry)
        allowed: dict[Registered, None] = {}
        lapsed: dict[bytes, str] = {}
        for rule, found in about.items():
            why = _lapse(rule, found, owners)
            if not why:
                allowed |= dict.fromkeys(found)
            lapsed |= {entry.digest: why for entry in found if why}
        for entry in allowed:
            lapsed.pop(entry.digest, None)
        return Allowed(list(allowed), lapsed)

    def __str__(self) -> str:
        return ", ".join(self.rules) or "nothing"


def read(value: object) -> Allowance:
    """Read a list of rules."""
    if not isinstance(value, list | tuple):
        raise UnfitError(_ALLOWED)
    rules: list[str] = []
    for each in cast("list[object]", value):
        if not isinstance(each, str):
            raise UnfitError(_ALLOWED)
        if each == ANY:
            raise UnfitError(
                f'"{ANY}" names no function ("OWNER/{ANY}" would be one that is called so): '
                f'without a list allow is about all code, deny.callers = ["{ANY}"] about everybody'
            )
        try:
            rules.append(str(registered.parse_pattern(each)))
        except ConfigError as error:
            raise UnfitError(f"{each!r} is none of them; {_ALLOWED}") from error
    return Allowance(tuple(dict.fromkeys(rules)))


def _rules_about(entry: Registered) -> set[str]:
    name, version = entry.name, entry.version
    plain, full = Reference(None, name), Reference(entry.owner, name)
    return {
        str(plain),
        str(plain._replace(version=version)),
        str(full),
        str(entry),
        entry.digest.hex(),
        entry.content,
    }


def _plain_name(rule: str) -> str:
    """Return the name of a rule that says no owner; "" for other rules."""
    return "" if "/" in rule or registered.is_digest(rule) else rule.partition("@")[0]


def _lapse(rule: str, found: list[Registered], owners: dict[str, set[str]]) -> str:
    """Return why a rule does not hold for what it is about, "" if it does."""
    name = _plain_name(rule)
    whose = sorted(owners[name] if name else {entry.owner for entry in found})
    if len(whose) == 1 or not found or (not name and len({each.content for each in found}) == 1):
        return ""
    meant = registered.parse(rule) if name else Reference(None, found[0].name, found[0].version)
    why = registered.say_whose(meant, whose)
    return f"the rule {rule!r} does not hold: {why}"
