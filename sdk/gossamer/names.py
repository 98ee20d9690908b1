"""Registered functions as a client uses them: registered, found by name, made into jobs.

What a user registers is that user's; a name without an owner means one's own, or else the only one.
Their code is fetched, checked and sent on as bytes; it is never loaded here.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from gossamer.asked import ANSWER_S, AskedBucket, outcome
from gossamer.functions import job_of
from gossamer.registration import entry_of, is_same
from gossamer_mesh import registered, subjects
from gossamer_mesh.errors import (
    ConfigError,
    ConnectError,
    MeshError,
    NotAllowedError,
    ProtocolError,
    UnknownFunctionError,
    VersionTakenError,
)
from gossamer_mesh.kept import unpack
from gossamer_mesh.nearest import MOST, nearest
from gossamer_mesh.registered import Reference, Registered
from gossamer_mesh.registry import Registry
from gossamer_mesh.units import counted

if TYPE_CHECKING:
    from gossamer.options import Options
    from gossamer.work import Job
    from gossamer_mesh.code.function import FunctionCode
    from gossamer_mesh.link import Entry, Link

T = TypeVar("T")

RACES: Final = 16
"""So many who register under the same name at the same time are given way to."""


class Names:
    """Made when it is first needed, in a user's thread, where everything else is called, too.

    `epoch` grows when what a name means may have changed. Every method but that waits for the
    server, for some seconds at most: `ConnectError`, or `ServerError` if it keeps no buckets.
    `check` raises what is to be raised where the mesh is closed.
    """

    def __init__(self, link: Link, owner: str, check: Callable[[], None]) -> None:
        """`owner`: who registers here."""
        self._link = link
        self._owner = owner
        self._check = check
        self._settled = threading.Event()
        self._functions = AskedBucket(link.key_value(subjects.FUNCTIONS_BUCKET))
        self._code = AskedBucket(link.key_value(subjects.CODE_BUCKET))
        self._codes: dict[tuple[str, bytes], FunctionCode] = {}
        self._found: dict[str, Registered] = {}
        self._found_in = -1
        self._jobs: dict[tuple[Registered, Options], Job] = {}
        self._registry = Registry(link, self._settled.set)

    @property
    def epoch(self) -> int:
        return self._registry.epoch

    def register(
        self,
        fn: Callable[..., object],
        name: str | None,
        version: int | None,
        description: str | None,
    ) -> Registered:
        """See `Mesh.register`."""
        wanted, kept = entry_of(fn, self._owner, name, version, description)
        name = wanted.name
        self._check()
        self._code.put(wanted.code_key, kept)
        for _ in range(RACES):
            newest = self._newest(wanted)
            if version is None and newest is not None:
                if is_same(newest, wanted):
                    return newest
                wanted = msgspec.structs.replace(wanted, version=newest.version + 1)
            if self._functions.create(wanted.key, registered.encode(wanted)):
                # Again: who has not seen this entry may be about to delete the code as it was.
                self._code.put(wanted.code_key, kept)
                self._take_in(wanted)
                if not wanted.stable:
                    _warn(wanted)
                return wanted
            found = self._look(wanted.key)
            if found is not None and is_same(found, wanted):
                return found
            if found is not None and version is not None:
                raise self._taken(found, wanted)
        raise ConnectError(
            f"{name!r} is being registered by other processes of {self._owner}'s all the time: "
            "try again"
        )

    def _newest(self, entry: Registered) -> Registered | None:
        return self._ask(lambda: self._registry.newest(entry.owner, entry.name))

    def _take_in(self, entry: Registered) -> None:
        self._ask(lambda: self._registry.put(entry))

    def _taken(self, found: Registered, wanted: Registered) -> VersionTakenError:
        newest = self._newest(found) or found
        what = "other code" if found.digest != wanted.digest else "the same code, other options"
        return VersionTakenError(
            f"{found} is registered with {what} ({found.created}): register "
            f"this as version={newest.version + 1}, or leave the version out",
            name=found.name,
            version=found.version,
            next_version=newest.version + 1,
        )

    def unregister(self, reference: str | Registered, *, anybodys: bool = True) -> Registered:
        """See `Mesh.unregister`. `anybodys`: whether the server lets us delete what others have."""
        if registered.parse(str(reference)).version is None:
            newest = self.find(reference)
            raise ConfigError(
                f'{reference!s} has versions: say which one is to be deleted, as in "{newest}"',
                value=str(reference),
            )
        entry = self.find(reference)
        if entry.owner != self._owner and not anybodys:
            raise NotAllowedError(
                f"{entry} is {entry.owner}'s, and you are {self._owner}: only {entry.owner} and "
                "administrators may delete it",
                name=entry.name,
                owner=entry.owner,
            )
        # Whoever registers the same code meanwhile puts it once more after its entry. So either
        # that entry is seen below, or the code is newer than this.
        revision = self._code.revision(entry.code_key)
        self._functions.delete(entry.key)
        self._ask(lambda: self._registry.drop(entry.key))
        if revision and not any(_may_need(other, entry) for other in self._functions.all()):
            self._code.delete(entry.code_key, at=revision)
        return entry

    def find(self, reference: str | Registered) -> Registered:
        """Return what is registered as "describe@2", or as the newest "describe".

        `UnknownFunctionError` if nothing is, or if what was registered is not what it is now.
        Asks nobody for what was found before and has not changed.
        """
        text, epoch = str(reference), self.epoch
        if epoch != self._found_in:
            self._found, self._found_in = {}, epoch
        known = self._found
        found = known.get(text)
        if found is None:
            found = known[text] = self._search(registered.parse(text))
        if isinstance(reference, Registered) and reference.digest != found.digest:
            raise UnknownFunctionError(
                f"{found} has other code now than when it was looked up: look it up again with "
                f'"{found}"',
                name=found.name,
                version=found.version,
            )
        return found

    def _search(self, wanted: Reference) -> Registered:
        def resolve() -> tuple[str, Registered | None]:
            # What nobody has we may have registered a moment ago, in another process.
            owner = self._registry.whose(wanted, self._owner) or self._owner
            return owner, self._registry.find(owner, wanted.name, wanted.version)

        owner, found = self._ask(resolve)
        if found is None and wanted.version is not None:
            # So may its owner have.
            found = self._look(subjects.function_key(owner, wanted.name, wanted.version))
        if found is None:
            raise self._unknown(wanted, owner)
        return found

    def _unknown(self, wanted: Reference, owner: str) -> UnknownFunctionError:
        name, registry = wanted.name, self._registry
        newest, owners, names, count = self._ask(
            lambda: (
                registry.newest(owner, name),
                registry.owners(name),
                registry.names(),
                len(registry),
            )
        )
        if newest is not None:
            return UnknownFunctionError(
                f"{owner}/{name} has no version {wanted.version}: the newest is {newest}",
                name=name,
                version=wanted.version,
            )
        # Of this very name, only another owner's is near.
        near = [f"{each}/{name}" for each in owners[:MOST]] or nearest(name, names)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        verb = "is" if count == 1 else "are"
        there = f"{counted(count, 'function')} {verb}" if count else "none is"
        return UnknownFunctionError(
            f"no function is registered as {str(wanted._replace(version=None))!r}{hint} ({there} "
            "registered on this mesh: `gossamer functions`)",
            name=name,
            nearest=tuple(near),
        )

    def _look(self, key: str) -> Registered | None:
        value = self._functions.get(key)
        if value is None:
            return None
        found = registered.decode(key, value)
        self._take_in(found)
        return found

    def all(self, search: str | None = None) -> list[Registered]:
        """Return all versions of all functions in which `search` is found, whatever its case."""
        entries = self._ask(lambda: list(self._registry))
        if search is None:
            return entries
        word = search.casefold()
        return [
            each
            for each in entries
            if any(
                word in text.casefold()
                for text in (str(each), each.function, each.description, each.owner)
            )
        ]

    def job(self, entry: Registered, options: Options) -> Job:
        """Return what all its calls under these options have in common: the same for the same."""
        job = self._jobs.get((entry, options))
        if job is None:
            code = msgspec.structs.replace(self.code_of(entry), name=str(entry))
            job = self._jobs.setdefault((entry, options), job_of(code, options))
        return job

    def code_of(self, entry: Registered) -> FunctionCode:
        """Return the code of a version; it is fetched once."""
        key = entry.code_key, entry.digest
        code = self._codes.get(key)
        if code is not None:
            return code

        kept = self._code.get(entry.code_key)
        if kept is None:
            raise UnknownFunctionError(
                f"the code of {entry} is not in the registry any more: register it again",
                name=entry.name,
                version=entry.version,
            )
        code = self._codes[key] = unpack(entry, kept)
        return code

    def close(self) -> None:
        """Watch the registry no more. Link thread only."""
        self._registry.close()

    def _ask(self, question: Callable[[], T]) -> T:
        """Run `question` in the link's thread, once the registry has been read."""
        self._check()
        if not self._settled.wait(ANSWER_S):
            raise ConnectError(
                f"the mesh's server has not said in {ANSWER_S:g} s which functions are registered: "
                "is it there?"
            )
        registry = self._registry

        def start(done: Callable[[T | MeshError], None]) -> None:
            def answer() -> None:
                trouble = None if registry.read else registry.trouble
                try:
                    done(question() if trouble is None else trouble)
                except MeshError as error:
                    done(error)

            self._link.post(answer)

        return outcome(start)


def _may_need(other: Entry, entry: Registered) -> bool:
    """Return whether the code of `entry` may be what another entry of its owner runs."""
    if subjects.owner_of(other.key) != entry.owner:
        return False
    try:
        assert other.value is not None
        return registered.decode(other.key, other.value).content == entry.content
    except ProtocolError:
        # Of a newer version, perhaps: nobody here knows what it needs.
        return True


def _warn(entry: Registered) -> None:
    warnings.warn(
        f"{entry} is registered, but the digest of its code is none of what it means "
        f"({entry.reason}): registered anew it is another function, and no agent can allow it by a "
        "list",
        stacklevel=4,
    )
