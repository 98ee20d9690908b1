"""Which names a result may hold: the allow-list, the caller's own modules, what the user trusts.

Nothing is trusted for being in a module or package, unless the user said so by `Trust.add`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Final

from gossamer_mesh.errors import PayloadError, UntrustedResultError
from gossamer_mesh.origin import included
from gossamer_mesh.payload.allowed import is_listed
from gossamer_mesh.payload.own import find_own, why_not
from gossamer_mesh.payload.parts import Name

_MAIN: Final = "__main__"


class Trust:
    """What one mesh accepts in results. Thread-safe; it only ever grows."""

    def __init__(self, owner_modules: Iterable[str] = ()) -> None:
        self._growing = threading.Lock()
        self._packages: frozenset[str] = frozenset()
        self._own: frozenset[str] = frozenset()
        for module in owner_modules:
            self.own(module)

    def add(self, *packages: str) -> None:
        """Accept everything that these packages define, submodules too.

        Results may then call into them while they are read: say so of packages whose classes
        may be built by any agent that runs your tasks.
        """
        for package in packages:
            if not all(part.isidentifier() for part in package.split(".")):
                raise PayloadError(f"cannot trust {package!r}: name a package, like 'mypackage'")
        with self._growing:
            self._packages |= frozenset(packages)

    def own(self, module: str) -> None:
        """Rebuild the classes that this module of the caller's defines, by their state alone.

        The standard library is nobody's own: of its modules, only what is listed is accepted.
        """
        if module in self._own:
            return
        if module == _MAIN or module.partition(".")[0] not in sys.stdlib_module_names:
            with self._growing:
                self._own |= {module}

    def trusts(self, module: str) -> bool:
        """Tell whether the user trusts `module`, or a package that it is in."""
        packages = self._packages
        return bool(packages) and any(
            module == package or module.startswith(package + ".") for package in packages
        )

    def name(self, module: str, qualname: str, agent: str) -> Name:
        """Return the name if it is accepted, else raise `UntrustedResultError`."""
        if is_listed(module, qualname):
            return Name(module, qualname, "listed")
        if self.trusts(module):
            return Name(module, qualname, "trusted")
        package = module.partition(".")[0]
        reason = "is not on the list of types that results may hold"
        way_out = (
            f"If agents may run code of {package!r} here, call "
            f'mesh.trust("{package}") and ask for the result again; else return plain values'
        )
        if module in self._own or package in included:
            cls = find_own(module, qualname)
            refusal = None if cls is None else why_not(cls)
            if cls is None:
                reason = "has no class of that name at the top level of its module here"
                way_out = "Define it there, not inside a function, or return plain values"
            elif refusal is None:
                return Name(module, qualname, "own")
            else:
                reason = f"is refused: {refusal}"
        raise UntrustedResultError(
            f"the result from agent {agent!r} holds {module}.{qualname}, which {reason}. {way_out}",
            kind=f"{module}.{qualname}",
            agent=agent,
        )
