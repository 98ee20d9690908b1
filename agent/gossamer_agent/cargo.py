"""The agent's large payloads: has those of its calls, keeps results until their callers have them.

In the link's thread, beside the data plane; performs what the dispatcher decides.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

from gossamer_agent.dispatcher import events as ev
from gossamer_mesh.blob import Depot, Held
from gossamer_mesh.blob.place import Place, is_incoming
from gossamer_mesh.errors import LinkClosedError, MeshError, PayloadError, PayloadTooLargeError
from gossamer_mesh.link import Link

Step = Callable[[ev.Event], None]


class Cargo:
    """`places` are where workers write their results, in the order in which they know them."""

    def __init__(self, link: Link, depot: Depot, places: list[Place]) -> None:
        self._link = link
        self._depot = depot
        self._places = places
        self._staged: dict[tuple[str, bytes], Held] = {}
        self._results: dict[tuple[str, int], Held] = {}

    @property
    def untaken(self) -> int:
        """How many results are here that their callers have not fetched."""
        return len(self._results)

    # -- payloads of calls -------------------------------------------------------------------

    def fetch(self, effect: ev.Fetch, step: Step) -> None:
        caller, blob = effect.caller, effect.blob

        def fetched(outcome: Held | MeshError) -> None:
            if isinstance(outcome, Held):
                self._staged[caller, blob.digest] = outcome
                step(ev.Staged(caller, blob.digest, str(outcome.path)))
                return
            # With nothing in use here that could go, waiting would not help.
            in_use = bool(self._staged or self._results)
            full = isinstance(outcome, PayloadTooLargeError) and in_use
            step(ev.StageFailed(caller, blob.digest, str(outcome), full))

        if blob.holder == caller:
            self._depot.fetch(blob, lambda outcome: self._post(fetched, outcome))
        else:
            # Or anybody could have us fetch what only we may have.
            why = PayloadError(f"a call's payload is at its caller, not at {blob.holder!r}")
            self._post(fetched, why)

    def release(self, unused: Iterable[tuple[str, bytes]]) -> None:
        """Let go of what no call needs any more; it stays in the cache while there is room."""
        for key in unused:
            held = self._staged.pop(key, None)
            if held is not None:
                held.release()

    def _post(self, fn: Callable[[Any], object], outcome: Held | MeshError) -> None:
        try:
            self._link.post(functools.partial(fn, outcome))
        except LinkClosedError:
            return

    # -- results -----------------------------------------------------------------------------

    def store(self, effect: ev.Store, step: Step) -> None:
        caller, task = effect.caller, effect.task

        def stored(outcome: Held | MeshError) -> None:
            if not isinstance(outcome, Held):
                step(ev.Stored(caller, task, None, str(outcome)))
                return
            # An earlier attempt's is nobody's: its caller could not have it.
            self._let_go(caller, task)
            self._results[caller, task] = outcome
            self._depot.allow(outcome.digest, caller)
            step(ev.Stored(caller, task, self._depot.card(outcome)))

        def adopt() -> None:
            try:
                place, name = self._told(effect.told)
                outcome: Held | MeshError = self._depot.store.adopt(place, name)
            except MeshError as error:
                outcome = error
            self._post(stored, outcome)

        self._depot.store.chore(adopt)

    def taken(self, caller: str, task: int, digest: bytes = b"") -> None:
        """A caller has fetched a result, or does not want it; who names no task, names the blob."""
        if not task:
            found = [
                t for (c, t), held in self._results.items() if (c, held.digest) == (caller, digest)
            ]
            task = found[0] if found else 0
        self._let_go(caller, task)

    def _let_go(self, caller: str, task: int) -> None:
        held = self._results.pop((caller, task), None)
        if held is not None:
            self._depot.withdraw(held.digest, caller)
            held.release()

    def ended(self, worker: int) -> None:
        """A worker has ended: what it did not finish is of no use."""

        def clear() -> None:
            for place in self._places:
                for path in place.incoming.glob(f"{worker}-*"):
                    path.unlink(missing_ok=True)

        # After what it did finish has been taken in: chores are done in turn.
        self._depot.store.chore(clear)

    def forget(self, knows: Callable[[str], bool]) -> None:
        """Keep nothing for callers that nobody knows any more."""
        callers = {caller for caller, _ in self._results} | self._depot.store.users()
        for caller in callers:
            if not knows(caller):
                self.release([key for key in self._staged if key[0] == caller])
                for key in [key for key in self._results if key[0] == caller]:
                    self._results.pop(key).release()
                self._depot.forget(caller)

    def _told(self, told: bytes) -> tuple[Place, str]:
        """Return what a worker says of its file. It may say anything."""
        try:
            found: Any = json.loads(told)
            index: int = found["place"]
            place, name = self._places[index], found["name"]
        except (ValueError, TypeError, LookupError) as error:
            raise PayloadError("the worker tells of a result that is nowhere") from error
        if not isinstance(name, str) or not is_incoming(name):
            raise PayloadError("the worker tells of a result by no name of a result")
        return place, name
