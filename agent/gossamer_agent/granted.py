"""What was granted to whom, as one agent understands it. Values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from gossamer_agent import allowance
from gossamer_agent.allowance import ANY, Allowance
from gossamer_agent.quota import Quota
from gossamer_agent.setting import UnfitError
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.identity.claims import Grant
from gossamer_mesh.identity.witness import Speaker
from gossamer_placement import where

GROUP: Final = "group:"


class Granted(msgspec.Struct, frozen=True):
    """`to`: a user, or `group:NAME`. `functions` None: whatever code. `expires` 0: never."""

    id: str
    to: str
    functions: Allowance | None
    expires: int = 0
    quota: Quota = Quota()

    def is_to(self, speaker: Speaker) -> bool:
        if self.to.startswith(GROUP):
            return self.to.removeprefix(GROUP) in speaker.groups
        return self.to == speaker.name

    def holds(self, now: float) -> bool:
        """Return whether it has not expired at `now`, in seconds since 1970."""
        return not self.expires or now < self.expires


def understood(claims: Grant, document: Capabilities) -> Granted | None:
    """Return what a grant means for the agent of this document; None: nothing.

    `ConfigError` if it cannot be understood.
    """
    part = claims.gsm
    if part.agents:
        clauses = where.parse(part.agents).clauses
        if not all(clause.holds(document) for clause in clauses):
            return None
    try:
        functions = None if ANY in part.functions else allowance.read(part.functions)
    except UnfitError as error:
        raise ConfigError(f"grant {claims.jti} names {part.functions}; {error.allowed}") from error
    if functions is not None and functions.plain:
        # Signed before names had owners: whoever registers it next would come to be meant.
        raise ConfigError(
            f"grant {claims.jti} names {', '.join(functions.plain)}, and not whose: grant it anew"
        )
    quota = Quota(part.per_hour, part.concurrent, part.cpu_s)
    return Granted(claims.jti, claims.sub, functions, claims.exp, quota)


def functions_of(grants: Iterable[Granted]) -> Allowance:
    """Return which registered functions any of these is about."""
    rules = [rule for each in grants if each.functions for rule in each.functions.rules]
    return Allowance(tuple(dict.fromkeys(rules)))
