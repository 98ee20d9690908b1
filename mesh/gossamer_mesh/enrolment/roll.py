"""Who has been let in, and by which tokens others may be: what the registrar knows of its buckets.

Kept up to date by who makes the writes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gossamer_mesh import subjects
from gossamer_mesh.enrolment.decision import Write
from gossamer_mesh.enrolment.messages import Token, User

DAY_S: Final = 86_400


class Roll:
    """Of users by name and of join tokens by number, each with the revision that it has there."""

    def __init__(self, void: Mapping[str, int] | None = None) -> None:
        """`void`: keys that are so, whatever became of what is kept of whom they were."""
        self.users: dict[str, tuple[User, int]] = {}
        self.tokens: dict[str, tuple[Token, int]] = {}
        self._void = dict(void or {})
        self._spoiled: dict[tuple[str, str], int] = {}
        self._agents: set[str] = set()

    def saw_agent(self, name: str, there: bool) -> None:  # noqa: FBT001 - whether there is one
        """Take in whether an agent of this name has a document, whoever has let it in."""
        (self._agents.add if there else self._agents.discard)(name)

    def learn(self, write: Write, revision: int) -> None:
        """Take in what a bucket has by now."""
        if isinstance(write.value, User):
            self.users[write.key] = (write.value, revision)
        else:
            self.tokens[write.key] = (write.value, revision)

    def spoil(self, bucket: str, key: str, revision: int) -> None:
        """Take in that a bucket has something there that no registrar has written.

        What is known of that key still holds, and goes over it with the next write.
        """
        if bucket == subjects.USERS_BUCKET and key in self.users:
            self.users[key] = (self.users[key][0], revision)
        elif bucket == subjects.TOKENS_BUCKET and key in self.tokens:
            self.tokens[key] = (self.tokens[key][0], revision)
        else:
            self._spoiled[bucket, key] = revision

    def revision(self, bucket: str, key: str) -> int:
        """Return the revision that we know of; 0: of none."""
        known = self.users if bucket == subjects.USERS_BUCKET else self.tokens
        return known[key][1] if key in known else self._spoiled.get((bucket, key), 0)

    def forget(self, bucket: str, key: str) -> None:
        """Take in that a bucket has nothing there."""
        (self.users if bucket == subjects.USERS_BUCKET else self.tokens).pop(key, None)

    def stale(self, now: int) -> list[str]:
        """Return the join tokens that nobody can ask about any more."""
        return [number for number, (token, _) in self.tokens.items() if token.expires < now - DAY_S]

    def revoked(self) -> Mapping[str, int]:
        """Return the keys that are void, with since when."""
        void = dict(self._void)
        for user, _ in self.users.values():
            void.update(user.void)
        return void

    def write(self, name: str, user: User) -> Write:
        """Return what keeps `user`, if nobody has been quicker."""
        return Write(subjects.USERS_BUCKET, name, user, self.revision(subjects.USERS_BUCKET, name))

    def is_unenrolled_agent(self, name: str) -> bool:
        """Say whether an agent has a name that nobody was given here.

        Who got it as well would hear what that agent is sent, or be called in its place.
        """
        return name in self._agents and name not in self.users
