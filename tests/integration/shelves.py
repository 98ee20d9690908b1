"""One of the two in `test_spares`: `python -m tests.integration.shelves caller|agent SEED FD`."""

from __future__ import annotations

import random
import sys
from multiprocessing.connection import Connection

import numpy as np

from gossamer_agent.worker import blobs
from gossamer_mesh.blob import SHARED_MEMORY, Store
from gossamer_mesh.wire import Blob

KiB = 1024
KEPT = 5
"""Arrays that each process keeps mapped while others come and go."""

ROUNDS = 300


class Shelf:
    """Arrays of one number each, kept for a while and looked at again and again."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.arrays: list[tuple[int, np.ndarray]] = []
        self.wrong = 0

    def take(self, number: int, view: memoryview) -> None:
        self.arrays.append((number, np.frombuffer(view, np.uint8)))
        while len(self.arrays) > KEPT:
            self._look(*self.arrays.pop(self.rng.randrange(KEPT)))
        self._look(*self.rng.choice(self.arrays))

    def _look(self, number: int, array: np.ndarray) -> None:
        self.wrong += not (array == number % 256).all()

    def count(self) -> int:
        for kept in self.arrays:
            self._look(*kept)
        return self.wrong


def caller(pipe: Connection, seed: int) -> None:
    """Give blobs away and have results, as a client does."""
    store, shelf, rng = Store("caller", [SHARED_MEMORY]), Shelf(seed), random.Random(seed)
    pipe.send(store.places()[0].spare is not None)
    for number in range(ROUNDS):
        size = rng.randrange(300 * KiB, 500 * KiB)
        held = store.add(b"", [memoryview(np.full(size, number % 256, np.uint8)).cast("B")])
        shelf.take(number, memoryview(held.read()[1][0]))
        pipe.send(store.card(held, "caller"))
        card: Blob = pipe.recv()
        result = store.link(card)
        assert result is not None
        pipe.send("taken")
        shelf.take(number + 1, memoryview(result.read()[1][0]))
        held.release()
        result.release()
    pipe.send((shelf.count(), store.reused))
    pipe.recv()
    store.close()


def agent(pipe: Connection, seed: int) -> None:
    """Have blobs by links, write results as a worker does, and give them away."""
    store, shelf = Store("agent", [SHARED_MEMORY], keeps=True), Shelf(seed)
    rng, reused = random.Random(seed), 0
    place = store.places()[0]
    for number in range(ROUNDS):
        card: Blob = pipe.recv()
        argument = store.link(card)
        assert argument is not None
        _, views = blobs.read(str(argument.path))
        shelf.take(number, views[0])
        answer = np.full(rng.randrange(300 * KiB, 500 * KiB), (number + 1) % 256, np.uint8)
        before = store.spare_bytes
        blobs.write([str(place.incoming)], f"1-{number}", b"", [memoryview(answer).cast("B")])
        reused += store.spare_bytes < before
        result = store.adopt(place, f"1-{number}")
        if rng.random() < 0.5:
            argument.release()
        pipe.send(store.card(result, "agent"))
        pipe.recv()
        if rng.random() < 0.5:
            shelf.take(number + 1, memoryview(result.read()[1][0]))
        result.release()
    pipe.send((shelf.count(), reused))
    pipe.recv()
    store.close()


if __name__ == "__main__":
    role, seed, fd = sys.argv[1:]
    {"caller": caller, "agent": agent}[role](Connection(int(fd)), int(seed))
