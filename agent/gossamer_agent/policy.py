"""Whether a caller's calls of a function are taken here, and why not. A machine: no I/O, no clock.

In this order: what is denied is refused; what is not on the list of what is allowed is refused;
administrators, and whom the list names, may run the rest; others need a grant. Each answer is
kept by caller and function, so that it costs the next `Run` one look.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from gossamer_agent.granted import Granted
from gossamer_agent.quota import Meter, Quota
from gossamer_agent.rules import Rules
from gossamer_mesh import subjects
from gossamer_mesh.errors import CredentialsError
from gossamer_mesh.identity.witness import Speaker, Witness
from gossamer_mesh.registered import Registered
from gossamer_mesh.wire import Job, Refusal

MOST_KEPT: Final = 16_384

ADMIN: Final = "admin"


class Verdict(NamedTuple):
    """Holds until then (seconds since 1970). Without a `refusal` the calls are taken.

    `registered`: with the registry's code, not the caller's. `meters` count them.
    """

    refusal: tuple[Refusal, str] | None
    until: float = math.inf
    registered: bool = False
    meters: tuple[Meter, ...] = ()


class Policy:
    """One agent's. `now` is always in seconds since 1970, by this machine's clock."""

    def __init__(self, agent: str, rules: Rules, witness: Witness) -> None:
        self._agent = agent
        self._rules = rules
        self.witness = witness
        self._speakers: dict[str, Speaker] = {}
        self._told: dict[str, str] = {}
        self._doubts: dict[str, str] = {}
        self._kept: dict[tuple[str, bytes], Verdict] = {}
        self._grants: tuple[Granted, ...] = ()
        self._entries: dict[bytes, tuple[Registered, ...]] = {}
        self._meters: dict[tuple[str, str], Meter] = {}

    def granted(self, grants: Iterable[Granted]) -> None:
        """Take in all that is granted now, and whom the account says by now to be revoked."""
        # Of two that fit, first those for any code, so that a caller's code is its own or never.
        self._grants = tuple(
            sorted(grants, key=lambda each: (each.functions is not None, -each.expires, each.id))
        )
        ids = {each.id for each in self._grants}
        self._meters = {
            key: meter for key, meter in self._meters.items() if key[1] in ids or not key[1]
        }
        for name, speaker in list(self._speakers.items()):
            if self.witness.is_revoked(speaker):
                del self._speakers[name]
        self._kept.clear()

    def registered(self, entries: Iterable[Registered]) -> None:
        """Take in which registered functions are here that grants are about."""
        self._entries.clear()
        for entry in entries:
            self._entries[entry.digest] = (*self._entries.get(entry.digest, ()), entry)
        self._kept.clear()

    def met(self, caller: str, jwt: str, now: float) -> str:
        """Take in who a caller says to be; return why that is not believed, "" if it is."""
        name = subjects.user_of(caller)
        if self._told.get(name) == jwt and name in self._speakers:
            return ""
        try:
            speaker = self.witness.recognise(jwt, name, now)
        except CredentialsError as error:
            # What was known of it before, from another of its sessions, still holds.
            self._doubts[name] = str(error)
            self._trim(self._doubts)
            self._kept.clear()
            return str(error)
        known = self._speakers.get(name)
        if known is None or known.issued <= speaker.issued:
            self._speakers[name], self._told[name] = speaker, jwt
            self._trim(self._speakers)
            self._trim(self._told)
        self._doubts.pop(name, None)
        self._kept.clear()
        return ""

    def is_admin(self, caller: str, now: float) -> bool:
        speaker = self._speaker(subjects.user_of(caller), now)
        return speaker is not None and speaker.role == ADMIN

    def verdict(self, caller: str, job: Job, now: float) -> Verdict:
        """Say whether calls of this job are taken now."""
        key = caller, job.function
        kept = self._kept.get(key)
        if kept is not None and now < kept.until:
            return kept
        made = self._judge(subjects.user_of(caller), job, now)
        self._trim(self._kept)
        self._kept[key] = made
        return made

    def _judge(self, name: str, job: Job, now: float) -> Verdict:
        speaker = self._speaker(name, now)
        if speaker is None:
            doubt = self._doubts.get(name)
            if doubt is None:
                return Verdict(("stranger", f"{self._agent} does not know who {name} is"))
            return Verdict(("denied", f"identity: {doubt}"))
        return self._weigh(speaker, job, now)

    def _weigh(self, speaker: Speaker, job: Job, now: float) -> Verdict:
        name = speaker.name
        until = speaker.expires or math.inf
        denied = self._denies(speaker, job) or self._allows_not(speaker)
        if denied:
            return Verdict(("denied", denied), until)
        if speaker.role == ADMIN:
            return Verdict(None, until)
        quota = self._meter(name, "", self._rules.quota)
        if self._rules.people is not None:
            return Verdict(None, until, meters=quota)
        grant = self._grant(speaker, job.function, now)
        if grant is not None:
            until = min(until, grant.expires or math.inf)
            meters = (*quota, *self._meter(name, grant.id, grant.quota))
            return Verdict(None, until, grant.functions is not None, meters)
        why = (
            f"grants: {speaker.role} {name!r} has none for {job.name} ({job.function.hex()}): ask "
            "an administrator for one (gossamer grant), or to be named in that agent's [allow]"
        )
        return Verdict(("denied", why), until)

    def _grant(self, speaker: Speaker, function: bytes, now: float) -> Granted | None:
        entries = self._entries.get(function, ())
        for grant in self._grants:
            if not grant.holds(now) or not grant.is_to(speaker):
                continue
            allowed = grant.functions
            if allowed is None or any(allowed.allows(entry) for entry in entries):
                return grant
        return None

    def _meter(self, name: str, grant: str, quota: Quota) -> tuple[Meter, ...]:
        """Return what counts a caller's calls under a grant, "" for the agent's own rule."""
        if quota == Quota():
            return ()
        key = name, grant
        if key not in self._meters:
            self._meters[key] = Meter(quota, f"quota of grant {grant}" if grant else "quota")
            self._trim(self._meters)
        return (self._meters[key],)

    def _denies(self, speaker: Speaker, job: Job) -> str:
        deny = self._rules.deny
        if deny.people.has(speaker.name, speaker.groups):
            return f"deny: {deny.people} may run nothing there, and {speaker.name!r} is one of them"
        rule = deny.names(job.name, job.function)
        return f"deny.functions: {rule} does not run there" if rule else ""

    def _allows_not(self, speaker: Speaker) -> str:
        people = self._rules.people
        if people is None or people.has(speaker.name, speaker.groups):
            return ""
        return f"allow: only {people} may run anything there, and {speaker.name!r} is none of them"

    def _speaker(self, name: str, now: float) -> Speaker | None:
        speaker = self._speakers.get(name)
        if speaker is None or not speaker.expires or now < speaker.expires:
            return speaker
        del self._speakers[name]
        return None

    @staticmethod
    def _trim(kept: dict[Any, Any]) -> None:
        if len(kept) > MOST_KEPT:
            del kept[next(iter(kept))]
