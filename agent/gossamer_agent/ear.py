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
        self._worker = hands.worker
        self._out, self._err = hands.stdout, hands.stderr
        self._tape = TapeReader(hands.page)
        self._said = SaidReader(hands.page)
        self._heard = 0

    def stirs(self) -> bool:
        """Tell whether there is something to be heard. Ask at every tick."""
        settled = self._tape.settled()
        return settled or bool(self._out.fresh or self._err.fresh) or self._said.changed

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
        heard = self._heard
        if not (heard or self._tape.written or self._out.fresh or self._err.fresh):
            return None
        rest = None
        if heard and any(result.seq == heard for result in results):
            self._heard = 0
            rest = self._new(heard, ended=True)
        self._tape.read(results[-1].seq)
        self._out.new()
        self._err.new()
        return rest

    def last(self, seq: int) -> Printed | None:
        """Return what is left of call `seq`, which its worker did not survive."""
        return self._new(seq, ended=True)

    def _new(self, seq: int, *, ended: bool) -> Printed | None:
        pieces = [
            Piece("stderr" if piece.stream == STDERR else "stdout", piece.text, piece.left)
            for piece in self._tape.read(seq, settled=not ended)
            if piece.seq == seq and (piece.text or piece.left)
        ]
        left = self._tape.left(seq) if ended else 0
        if left:
            # Of which stream is not known; most likely it went on as before.
            pieces.append(Piece(pieces[-1].stream if pieces else "stdout", "", left))
        self._add(pieces, "stdout", self._out)
        self._add(pieces, "stderr", self._err)
        said = self._said.read() if self._said.changed else None
        how_far = Said(said[1], said[2]) if said is not None and said[0] == seq else None
        if not pieces and how_far is None:
            return None
        return Printed(self._worker, seq, pieces, how_far, ended)

    @staticmethod
    def _add(pieces: list[Piece], stream: StreamName, pipe: Pipe) -> None:
        if pipe.fresh:
            text, missed = pipe.new()
            if text:
                pieces.append(Piece(stream, text))
            if missed:
                pieces.append(Piece(stream, "", missed))
