"""What a task prints while it runs, as its caller holds it: the last of it, within bounds.

Written in the link's thread, read by any. Who follows has a place of their own, and sees a note
where something is missing: cut at the agent, lost on the way, or older than what is kept.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from gossamer_mesh import wire
from gossamer_mesh.wire import StreamName

KEPT: Final = 64 * 1024
"""Characters, of both streams together: as many as an agent keeps of one unless configured."""

PIECE: Final = 64
"""An empty piece costs something as well."""

UNKNOWN: Final = -1


class LogLine(msgspec.Struct, frozen=True):
    """A line that a task has printed, `at_s` seconds after the attempt's start, without its end.

    `skipped`: it is a note in the place of so many characters that are missing, -1 if nobody
    knows how many. `begins`: it is a note that an attempt begins here, after one that is gone.
    """

    stream: StreamName
    text: str
    at_s: float
    attempt: int = 1
    skipped: int = 0
    begins: bool = False

    def __str__(self) -> str:
        return self.text


class Progress(msgspec.Struct, frozen=True):
    """How far a task says it is: `fraction` from 0 to 1."""

    fraction: float
    note: str = ""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What came at a time, which may be less than a line, or several.

    `begins`: it is the first of its attempt, and the one before had printed something.
    """

    stream: StreamName
    text: str
    at_s: float
    attempt: int
    skipped: int = 0
    begins: bool = False

    @property
    def shown(self) -> str:
        """The text, after a note if an attempt begins with it, or something is missing."""
        return f"\n{_beginning(self.attempt)}\n{self.noted}" if self.begins else self.noted

    @property
    def noted(self) -> str:
        """The text, after a note if something is missing before it."""
        return f"{_note(self.skipped)}\n{self.text}" if self.skipped else self.text


class Transcript:
    """One task's. `follow` and `text` are for any thread."""

    def __init__(self) -> None:
        self._pieces: collections.deque[Piece] = collections.deque()
        self._first = 0
        self._size = 0
        self._attempt = 0
        self._number = 0
        self._ended = False
        self._changed = threading.Condition(threading.Lock())
        self._told: list[Callable[[], object]] = []

    # -- the link's thread -------------------------------------------------------------------

    def add(self, log: wire.Log) -> None:
        """Take a log in, unless it is known, or of an earlier attempt."""
        if log.attempt < self._attempt:
            return
        begins = False
        if log.attempt > self._attempt:
            begins = self._attempt > 0
            self._attempt, self._number = log.attempt, 0
        if log.number <= self._number:
            return
        skipped = log.left if log.number == self._number + 1 else UNKNOWN
        self._number = log.number
        self._append([Piece(log.stream, log.text, log.at_s, log.attempt, skipped, begins)])

    def end(self, attempt: int, done: wire.Done | None) -> None:
        """There will be no more; `done` has what was printed by an attempt that told nothing."""
        if self._ended:
            return
        last: list[Piece] = []
        if done is not None and (attempt != self._attempt or self._number == 0):
            if done.stdout:
                last.append(Piece("stdout", done.stdout, done.ran_s, attempt))
            if done.stderr:
                last.append(Piece("stderr", done.stderr, done.ran_s, attempt))
            if last and 0 < self._attempt < attempt:
                last[0] = msgspec.structs.replace(last[0], begins=True)
        self._append(last, ended=True)

    def _append(self, pieces: list[Piece], *, ended: bool = False) -> None:
        with self._changed:
            if self._ended:
                return
            self._ended = ended
            for piece in pieces:
                self._pieces.append(piece)
                self._size += PIECE + len(piece.text)
            while self._size > KEPT and len(self._pieces) > 1:
                self._shorten(self._size - KEPT)
            self._changed.notify_all()
        for tell in list(self._told):
            tell()

    def _shorten(self, excess: int) -> None:
        """Drop the oldest piece, or so much of its beginning."""
        oldest = self._pieces.popleft()
        if len(oldest.text) > excess:
            rest = msgspec.structs.replace(oldest, text=oldest.text[excess:], skipped=UNKNOWN)
            self._pieces.appendleft(rest)
            self._size -= excess
        else:
            self._size -= PIECE + len(oldest.text)
            self._first += 1

    # -- readers -----------------------------------------------------------------------------

    def text(self, stream: StreamName, attempt: int) -> str:
        """Return what this attempt has written to this stream, as far as it is kept."""
        with self._changed:
            pieces, older = list(self._pieces), self._first > 0
        noted = bool(pieces) and pieces[0].stream == stream and pieces[0].skipped
        older = older and pieces[0].attempt == attempt and not noted
        shown = [each.noted for each in pieces if each.stream == stream and each.attempt == attempt]
        return (_note(UNKNOWN) + "\n" if older and shown else "") + "".join(shown)

    def after(self, place: int) -> tuple[list[Piece], int, bool]:
        """Return what came after `place`, the next place, and whether that is the end."""
        with self._changed:
            return self._after(place)

    def follow(self, *, wait: bool) -> Iterator[Piece]:
        """Iterate over what is there, and with `wait` over what comes until the end."""
        place, ended = 0, False
        while not ended:
            with self._changed:
                pieces, place, ended = self._after(place)
                if not pieces and wait and not ended:
                    self._changed.wait()
                    continue
            yield from pieces
            ended = ended or not wait

    def tell(self, fn: Callable[[], object]) -> Callable[[], object]:
        """Call `fn` in the link's thread at every change; return what ends that."""
        self._told.append(fn)
        return lambda: self._told.remove(fn)

    def _after(self, place: int) -> tuple[list[Piece], int, bool]:
        skip = place - self._first
        pieces = list(self._pieces)[max(0, skip) :]
        if skip < 0 and pieces:
            # Who is so slow, or comes so late, has missed something.
            pieces[0] = msgspec.structs.replace(pieces[0], skipped=UNKNOWN)
        return pieces, self._first + len(self._pieces), self._ended


class Lines:
    """Cuts pieces into lines, each stream for itself."""

    def __init__(self) -> None:
        self._begun: dict[StreamName, Piece] = {}

    def take(self, piece: Piece) -> Iterator[LogLine]:
        """Return the lines that end in this piece."""
        begun = self._begun.get(piece.stream)
        text = piece.text
        if piece.begins:
            yield from self.rest()
            begun = None
            note = _beginning(piece.attempt)
            yield LogLine(piece.stream, note, piece.at_s, piece.attempt, begins=True)
        if begun is not None and (piece.skipped or begun.attempt != piece.attempt):
            yield self._line(self._begun.pop(piece.stream))
        elif begun is not None:
            text = begun.text + text
        if piece.skipped:
            note = _note(piece.skipped)
            yield LogLine(piece.stream, note, piece.at_s, piece.attempt, piece.skipped)
        *whole, rest = text.split("\n")
        for line in whole:
            yield LogLine(piece.stream, line, piece.at_s, piece.attempt)
        self._begun.pop(piece.stream, None)
        if rest:
            self._begun[piece.stream] = msgspec.structs.replace(piece, text=rest)
            if len(rest) > KEPT:
                yield self._line(self._begun.pop(piece.stream))

    def rest(self) -> Iterator[LogLine]:
        """Return what was begun and not ended."""
        for piece in self._begun.values():
            yield self._line(piece)
        self._begun.clear()

    @staticmethod
    def _line(piece: Piece) -> LogLine:
        return LogLine(piece.stream, piece.text, piece.at_s, piece.attempt)


def _beginning(attempt: int) -> str:
    return f"[... attempt {attempt} ...]"


def _note(skipped: int) -> str:
    return f"[... {skipped} characters cut ...]" if skipped > 0 else "[... cut ...]"
