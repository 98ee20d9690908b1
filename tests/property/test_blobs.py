"""Whatever happens to asks and chunks, what arrives is what was asked for, or an end is told."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer_mesh.blob.chunk import CHUNK_BYTES
from gossamer_mesh.blob.fetching import LEASE_S, WINDOW, Fetching
from gossamer_mesh.blob.serving import RECENT, Serving
from gossamer_mesh.wire import Ask

DIGEST = b"d" * 32


class Transfer:
    """A fetching and a serving machine, and a way between them that does as chance says."""

    def __init__(self, size: int, seed: int, loss: float, doubling: float, late: float) -> None:
        self.size = size
        self.rng = random.Random(seed)
        self.loss, self.doubling, self.late = loss, doubling, late
        self.now = 0.0
        self.serving = Serving()
        self.serving.allow(DIGEST, "bob")
        self.fetching = Fetching(1, DIGEST, size, self.now)
        self.asks: list[Ask] = []
        self.chunks: list[tuple[int, int]] = []
        self.written: dict[int, int] = {}
        self.sent = 0
        self._ask(self.fetching.ask(self.now))

    def run(self, until_s: float) -> None:
        while not (self.fetching.complete or self.fetching.end) and self.now < until_s:
            self._serve()
            if self.chunks:
                self._deliver()
            else:
                self.now += 0.25
                self._ask(self.fetching.tick(self.now))

    def _ask(self, asks: list[Ask]) -> None:
        for ask in asks:
            self.asks += [ask] * self._copies()

    def _serve(self) -> None:
        self.rng.shuffle(self.asks)
        while self.asks:
            ask = self.asks.pop()
            self.serving.asked("bob", ask, self.size)
        while (piece := self.serving.next()) is not None:
            assert piece.length <= CHUNK_BYTES
            self.sent += 1
            self.chunks += [(piece.offset, piece.length)] * self._copies()

    def _deliver(self) -> None:
        at = self.rng.randrange(len(self.chunks)) if self.rng.random() < self.late else 0
        offset, length = self.chunks.pop(at)
        if self.fetching.takes(offset, length, self.now):
            assert offset not in self.written, "nothing is written twice"
            self.written[offset] = length
            self._ask(self.fetching.ask(self.now))
        assert len(self.chunks) <= 8 * WINDOW

    def _copies(self) -> int:
        return (self.rng.random() >= self.loss) + (self.rng.random() < self.doubling)


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(1, 60 * CHUNK_BYTES),
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.1, 0.5]),
    doubling=st.sampled_from([0.0, 0.3]),
    late=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_every_byte_arrives_once_or_an_end_is_told(
    size: int, seed: int, loss: float, doubling: float, late: float
) -> None:
    transfer = Transfer(size, seed, loss, doubling, late)
    transfer.run(3_600.0)
    fetching = transfer.fetching
    assert fetching.complete or fetching.end == "silent"
    if fetching.complete:
        assert sum(transfer.written.values()) == size
        assert fetching.upto == fetching.got_bytes == size
        at = 0
        while at < size:
            at += transfer.written[at]
    if not loss and not doubling:
        assert transfer.sent == -(-size // CHUNK_BYTES), "nothing is sent that is not needed"


@given(size=st.integers(1, 2**40), at=st.floats(0, 1e6))
def test_silence_ends_it_within_the_lease(size: int, at: float) -> None:
    fetching = Fetching(1, DIGEST, min(size, 2**32), at)
    fetching.ask(at)
    now = at
    while not fetching.end:
        now += 0.25
        asks = fetching.tick(now)
        assert sum(ask.length for ask in asks) <= WINDOW * CHUNK_BYTES
    assert now - at <= LEASE_S + 0.5


@given(size=st.integers(1, 2**26), part=st.floats(0, 1), before=st.integers(0, 3))
def test_what_was_not_brought_is_asked_for_and_nothing_else(
    size: int, part: float, before: int
) -> None:
    fetching = Fetching(1, DIGEST, size, 0.0)
    for index in range(min(before, size // CHUNK_BYTES)):
        assert fetching.takes(index * CHUNK_BYTES, CHUNK_BYTES, 0.0)
    start = fetching.upto
    fetching.bring(1.0)
    upto = max(start, int(part * size) // CHUNK_BYTES * CHUNK_BYTES) if part < 1 else size
    assert fetching.brought(upto) == upto - start
    assert fetching.complete == (upto == size)
    # Meanwhile it is no matter of chunks, asked or unasked, nor of the server's.
    assert fetching.tick(1e6) == fetching.reconnected(1e6) == []
    assert not fetching.end
    assert not fetching.takes(upto, min(CHUNK_BYTES, size - upto), 1e6)
    asks, at = fetching.by_chunks(1e6), upto
    while asks:
        for ask in asks:
            assert ask.offset == at
            while at < ask.offset + ask.length:
                length = min(CHUNK_BYTES, size - at)
                assert fetching.takes(at, length, 1e6)
                at += length
        asks = fetching.ask(1e6)
    assert (at, fetching.upto) == (size, size)
    assert fetching.complete


@given(
    asks=st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob", "eve"]),
            st.integers(-5, 2**63 - 1),
            st.integers(-5, 2**63 - 1),
        )
        | st.tuples(
            st.sampled_from(["ann", "bob", "eve"]), st.integers(0, 2**20), st.integers(1, 2**21)
        ),
        max_size=20,
    )
)
def test_only_parties_are_served_and_only_what_there_is(asks: list[tuple[str, int, int]]) -> None:
    serving, size = Serving(), 2**21
    serving.allow(DIGEST, "ann")
    serving.allow(DIGEST, "bob")
    due = 0
    for asker, offset, length in asks:
        fits = asker != "eve" and 0 <= offset < offset + length <= size
        assert serving.asked(asker, Ask(1, DIGEST, offset, length), size) == fits
        due += length if fits else 0
    serving.withdraw(DIGEST, "bob")
    while (piece := serving.next()) is not None:
        assert piece.asker == "ann"
        assert piece.offset + piece.length <= size
        due -= piece.length
    assert due >= 0
    assert not serving.owes


@given(withdrawn=st.integers(0, 600), asked=st.integers(0, 600))
def test_who_was_allowed_until_a_moment_ago_is_no_stranger(withdrawn: int, asked: int) -> None:
    serving = Serving()
    for number in range(withdrawn):
        serving.allow(DIGEST, f"a{number}")
        assert not serving.lapsed(DIGEST, f"a{number}")
        serving.withdraw(DIGEST, f"a{number}")
    assert serving.lapsed(DIGEST, f"a{asked}") == (withdrawn - RECENT <= asked < withdrawn)
    assert not serving.lapsed(DIGEST, "eve")
