"""Subjects and interest as NATS has them: `*` stands for one token, a last `>` for one or more."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

T = TypeVar("T")

ONE: Final = "*"
REST: Final = ">"


def matches(pattern: str, subject: str) -> bool:
    """Say whether a subscription to `pattern` hears what is published on `subject`."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for i, token in enumerate(wanted):
        if token == REST:
            return len(tokens) > i
        if i >= len(tokens) or token not in (ONE, tokens[i]):
            return False
    return len(wanted) == len(tokens)


class _Node(Generic[T]):
    __slots__ = ("below", "here")

    def __init__(self) -> None:
        self.below: dict[str, _Node[T]] = {}
        self.here: list[T] = []


class Interest(Generic[T]):
    """Who hears what: patterns in a tree by token, so that a match costs the subject's depth."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: str, who: T) -> None:
        node = self._root
        for token in pattern.split("."):
            node = node.below.setdefault(token, _Node())
        node.here.append(who)

    def remove(self, pattern: str, who: T) -> None:
        """Undo one `add`; `ValueError` if there was none."""
        path = [self._root]
        tokens = pattern.split(".")
        for token in tokens:
            below = path[-1].below.get(token)
            if below is None:
                msg = f"nobody subscribed to {pattern!r}"
                raise ValueError(msg)
            path.append(below)
        path[-1].here.remove(who)
        # Inboxes come and go: what is empty must not stay.
        for parent, token, node in zip(path[-2::-1], reversed(tokens), path[:0:-1], strict=True):
            if node.here or node.below:
                break
            del parent.below[token]

    def match(self, subject: str) -> list[T]:
        """Return everyone who hears `subject`, once for each `add` that matches."""
        found: list[T] = []
        level = [self._root]
        for token in subject.split("."):
            following: list[_Node[T]] = []
            for node in level:
                rest = node.below.get(REST)
                if rest is not None:
                    found.extend(rest.here)
                following.extend(node.below[name] for name in (ONE, token) if name in node.below)
            level = following
        for node in level:
            found.extend(node.here)
        return found
