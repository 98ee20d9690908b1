"""Which registered functions an agent was told to run, and no others. Pure.

A rule is the name of a function, of one version of it, or a digest: the function's own, which is
as the registry says, or that of its code as it is kept there, which is checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

import msgspec

from gossamer_agent.setting import UnfitError
from gossamer_mesh import registered
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.registered import Registered

ANY_VERSION: Final = "@*"

_ALLOWED: Final = (
    'allowed: a list of registered functions, such as ["describe@2", "describe"], or of digests, '
    "as `gossamer functions show` tells them"
)


class Allowance(msgspec.Struct, frozen=True):
    """The rules, as they were written."""

    rules: tuple[str, ...]

    def allows(self, entry: Registered) -> bool:
        """Return whether a rule is about this function.

        None is about one whose digest is not of its meaning: what has it could be anything.
        """
        names = {entry.name, str(entry), entry.digest.hex(), entry.content}
        return entry.stable and not names.isdisjoint(self.rules)

    def of(self, entries: Iterable[Registered]) -> list[Registered]:
        """Return those of the entries that may run."""
        return [entry for entry in entries if self.allows(entry)]

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
        rule = each.removesuffix(ANY_VERSION)
        if not registered.is_digest(rule.lower()):
            try:
                registered.parse(rule)
            except ConfigError as error:
                raise UnfitError(f"{rule!r} is none of them; {_ALLOWED}") from error
            rules.append(rule)
        else:
            rules.append(rule.lower())
    return Allowance(tuple(dict.fromkeys(rules)))
