"""What the calls of one worker print and say while they run: its tape, its pipes, its progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossamer_agent.dispatcher.events import Piece, Printed, Said
from gossamer_agent.worker.tape import STDERR, SaidReader, TapeReader

if TYPE_CHECKING:
    from gossamer_agent.handset import Handset
    from gossamer_agent.pipe import Pipe
    from gossamer_agent.worker.frames import ResultFrame
    from gossamer_mesh.wire import StreamName


class Ear:
    """Reads only when it is asked to: what nobody wants to hear stays where it is, and is cut."""

    def __init__(self, hands: Handset) -> None:
        self._hands = hands
        self._tape = TapeReader(hands.page)
        self._said = SaidReader(hands.page)
        self._heard = 0

    def stirs(self) -> bool:
        """Tell whether there is something to be heard. Ask at every tick."""
        hands = self._hands
        settled = self._tape.settled()
        return settled or hands.stdout.fresh or hands.stderr.fresh or self._said.changed

    def listen(self, seq: int) -> Printed | None:
        """Return what is new of call `seq`, which runs; None if it is nothing."""
        heard = self._new(seq, ended=False)
        if heard is not None:
            self._heard = seq
        return heard

    def rest(self, results: list[ResultFrame]) -> Printed | None:
        """Return what was not heard of a call that has ended, if anything of it was.

        The result of any other call carries all that it has printed.
        """
        hands, heard = self._hands, self._heard
        if not (heard or self._tape.written or hands.stdout.fresh or hands.stderr.fresh):
            return None
        rest = None
        if heard and any(result.seq == heard for result in results):
            self._heard = 0
            rest = self._new(heard, ended=True)
        self._tape.read(results[-1].seq)
        hands.stdout.new()
        hands.stderr.new()
        return rest

    def last(self, seq: int) -> Printed | None:
        """Return what is left of call `seq`, which its worker did not survive."""
        return self._new(seq, ended=True)

    def _new(self, seq: int, *, ended: bool) -> Printed | None:
        pieces = [
            Piece("stderr" if piece.stream == STDERR else "stdout", piece.text, piece.left)
            for piece in self._tape.read(seq, settled=not ended)
            if piece.seq == seq
        ]
        left = self._tape.left(seq) if ended else 0
        if left:
            pieces.append(Piece("stdout", "", left))
        self._add(pieces, "stdout", self._hands.stdout)
        self._add(pieces, "stderr", self._hands.stderr)
        said = self._said.read() if self._said.changed else None
        how_far = Said(said[1], said[2]) if said is not None and said[0] == seq else None
        if not pieces and how_far is None:
            return None
        return Printed(self._hands.worker, seq, pieces, how_far, ended)

    @staticmethod
    def _add(pieces: list[Piece], stream: StreamName, pipe: Pipe) -> None:
        if pipe.fresh:
            text, missed = pipe.new()
            if text:
                pieces.append(Piece(stream, text))
            if missed:
                pieces.append(Piece(stream, "", missed))
