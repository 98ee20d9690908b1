"""Who measures when. Systems take turns in blocks, round after round, in alternating order.

Phase `alone`: ours, the floor and the pool; no peer has been started. Then one phase per peer:
ours and that peer, which is suspended (with all its processes) while ours measures. Ours is not
suspended while the peer measures, since it would lose its lease; what it uses meanwhile is in
the table as its idle load.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from testbed.bench.blocks import Block, Measure
from testbed.bench.driver import Driver, DriverError
from testbed.bench.systems import System

ASK_S: Final = 300.0
"""Far above what any block takes: the slowest, 20,000 tasks of Dask, take about 50 s."""

CHUNKSIZE: Final = 64
PAYLOAD_BYTES: Final = 8 * 1024**2
TIMES: Final = frozenset({"latency", "payload"})
"""Measures of which each call is a sample."""


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured. `calls`, `payloads`, `futures`, `items` are those of one block.

    `stream_bytes` are sent over a link as often as there are heavy rounds.
    """

    rounds: int = 7
    calls: int = 300
    payloads: int = 20
    futures: int = 20_000
    heavy_rounds: int = 3
    items: int = 200_000
    stream_bytes: int = 1024 * 1024**2


QUICK: Final = Sizes(
    rounds=3,
    calls=100,
    payloads=5,
    futures=2_000,
    heavy_rounds=2,
    items=50_000,
    stream_bytes=64 * 1024**2,
)


class TurnError(DriverError):
    """The system of that name failed in its turn."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class Player(NamedTuple):
    """A system that is up. `suspend`: whether it is put to sleep while others measure."""

    system: System
    driver: Driver
    suspend: bool = False


def play(
    phase: str,
    players: Sequence[Player],
    sizes: Sizes,
    say: Callable[[str], None],
) -> Iterator[Block]:
    """Yield the blocks of one phase as they are measured; `TurnError` when a system fails."""
    plan: tuple[tuple[Measure, int], ...] = (
        ("latency", sizes.rounds),
        ("payload", sizes.rounds),
        ("burst", sizes.heavy_rounds),
        ("map", sizes.rounds),
    )
    # A ratio needs two: what only one of them can do is not asked of it.
    for measure, rounds in plan:
        able = [player for player in players if measure in player.system.measures]
        if len(able) < min(2, len(players)):
            continue
        for number in range(rounds):
            say(f"{phase}: {measure}, round {number + 1} of {rounds}")
            # Alternating order: whoever is second does not always follow the same other one.
            for player in able if number % 2 == 0 else reversed(able):
                with _asleep(players, awake=player):
                    yield from _turn(phase, number, player, measure, sizes)


def _turn(
    phase: str, number: int, player: Player, measure: Measure, sizes: Sizes
) -> Iterator[Block]:
    details: dict[str, int] = {
        "latency": {"calls": sizes.calls},
        "payload": {"calls": sizes.payloads, "size": PAYLOAD_BYTES},
        "burst": {"count": sizes.futures},
        "map": {"count": sizes.items, "chunksize": CHUNKSIZE},
    }[measure]
    for name, face in player.system.faces.items():
        try:
            answer = player.driver.ask(measure, ASK_S, face=face, **details)
        except DriverError as error:
            raise TurnError(player.system.name, str(error)) from error
        samples: tuple[float, ...] = tuple(answer) if measure in TIMES else (answer,)
        yield Block(phase, number, name, measure, samples)


@contextlib.contextmanager
def _asleep(players: Sequence[Player], awake: Player) -> Generator[None]:
    with contextlib.ExitStack() as stack:
        for player in players:
            if player.suspend and player is not awake:
                stack.enter_context(player.driver.suspended())
        yield
