"""What an agent with an allow-list may run, kept up to date from the registry, with the code.

A shell in the link thread. The code that runs is the registry's and never a caller's: that a
caller's has the digest it claims cannot be told without loading it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from gossamer_agent.allowance import Allowance, Allowed
from gossamer_mesh import subjects
from gossamer_mesh.errors import MeshError, ProtocolError
from gossamer_mesh.link import Entry, Link
from gossamer_mesh.registered import Registered
from gossamer_mesh.registry import Registry

if TYPE_CHECKING:
    from gossamer_mesh.code.function import FunctionCode

AGAIN_S: Final = 5.0
"""Code that could not be fetched is asked for again after so long."""

_log = logging.getLogger("gossamer.agent")


class Opening(NamedTuple):
    """What may run: digest → code; and what may not as a rule means several, and why, by digest."""

    code: Mapping[bytes, bytes]
    lapsed: Mapping[bytes, str] = {}


class Gate:
    """Made in any thread. `told` hears, in the link's, what may run.

    First when the registry has been read, or cannot be; then whenever it is not what it was. A
    function may run once its code is here. What its code includes comes from the registry, too.
    `entries` are those functions, as they are registered.
    """

    def __init__(self, link: Link, allowance: Allowance, told: Callable[[Opening], None]) -> None:
        self._link = link
        self._allowance = allowance
        self._told = told
        self._allowed = Allowed([], {})
        self._open: Opening | None = None
        self.entries: list[Registered] = []
        self._code: dict[str, FunctionCode] = {}
        self._fetching: set[str] = set()
        self._bucket = link.key_value(subjects.CODE_BUCKET)
        self._registry = Registry(link, self._changed)

    def close(self) -> None:
        """Hear and tell no more. Link thread only."""
        self._registry.close()

    def allow(self, allowance: Allowance) -> None:
        """Go by other rules from now on. Link thread only."""
        if allowance != self._allowance:
            self._allowance = allowance
            # Told again, should it come to the same code under other names.
            self._open = None
            if self._registry.read:
                self._changed()

    def _changed(self) -> None:
        if not self._registry.read:
            _log.warning("nothing may run here yet: %s", self._registry.trouble)
            self._tell(Opening({}))
            return
        self._allowed = self._allowance.of(self._registry)
        wanted = {entry.code_key: entry for entry in self._allowed.entries}
        self._code = {key: code for key, code in self._code.items() if key in wanted}
        for key, entry in wanted.items():
            if key not in self._code and key not in self._fetching:
                self._fetching.add(key)
                self._bucket.get(key, functools.partial(self._fetched, entry))
        self._tell_what_is_here()

    def _tell_what_is_here(self) -> None:
        entries, lapsed = self._allowed
        if self._fetching.isdisjoint(entry.code_key for entry in entries):
            may_run: dict[bytes, bytes] = {}
            here = [each for each in entries if self._has(each)]
            if here != self.entries:
                self.entries, self._open = here, None
            # Of two that claim a digest, the first runs: what the first rule allows.
            for each in reversed(here):
                code = self._code[each.code_key]
                may_run[each.digest] = code.code
                may_run |= {include.digest: include.content for include in code.includes}
            self._tell(Opening(may_run, lapsed))

    def _has(self, entry: Registered) -> bool:
        code = self._code.get(entry.code_key)
        return code is not None and code.digest == entry.digest

    def _tell(self, opening: Opening) -> None:
        if opening != self._open:
            for why in {*opening.lapsed.values()} - {*(self._open or Opening({})).lapsed.values()}:
                _log.warning("%s", why)
            self._open = opening
            self._told(opening)

    def _fetched(self, entry: Registered, found: Entry | MeshError | None) -> None:
        self._fetching.discard(entry.code_key)
        if isinstance(found, MeshError):
            _log.warning("the code of %s cannot be fetched: %s", entry, found)
            self._link.call_later(AGAIN_S, self._changed)
        elif found is None or found.value is None:
            _log.warning("the code of %s is not in the registry: it cannot run here", entry)
        else:
            # Slow to import, and only for agents with an allow-list.
            from gossamer_mesh.kept import unpack  # noqa: PLC0415  see above

            try:
                self._code[entry.code_key] = unpack(entry, found.value)
            except ProtocolError as error:
                _log.warning("%s: it cannot run here", error)
        self._tell_what_is_here()
