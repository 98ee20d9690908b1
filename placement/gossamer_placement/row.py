"""One agent as a choice scored it: made on the hot path, read when somebody asks why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gossamer_placement.rates import TRANSFER_J_PER_BYTE, Rates
from gossamer_placement.term import Term

if TYPE_CHECKING:
    from gossamer_placement.objective import Objective


PlainRow: TypeAlias = tuple[
    float, str, Rates, float, float, float, float, float, float, float, int, int, float
]
"""A `Row` without names: three times as quick to make."""


class Row(NamedTuple):
    """Seconds, and what they are charged at. `moved_bytes` go there, `result_bytes` come back."""

    eta_s: float
    agent: str
    rates: Rates
    rtt_s: float
    queue_s: float
    transfer_s: float
    cold_s: float
    run_s: float
    result_s: float
    load: float
    cpus: int
    moved_bytes: int
    result_bytes: float

    @property
    def cost(self) -> float:
        """Price × time, a whole block for waking an idle machine; what leaves it is charged."""
        return cost_of(self)

    @property
    def energy_j(self) -> float:
        """What running draws, its share of what idles anyway, and the transfers."""
        rates = self.rates
        watts = (rates.dynamic_w + rates.static_w) * self.cpus
        return watts * self.run_s + TRANSFER_J_PER_BYTE * (self.moved_bytes + self.result_bytes)

    @property
    def carbon_g(self) -> float:
        return self.energy_j * self.rates.carbon

    @property
    def near_s(self) -> float:
        return self.rtt_s + self.transfer_s

    def score(self, objective: Objective) -> float:
        """Return what `objective` minimises."""
        match objective:
            case "nearest":
                return self.near_s
            case "fastest":
                return self.eta_s
            case "cheapest":
                return self.cost
            case "greenest":
                return self.carbon_g
            case "spread":
                return self.load

    def term(self, objective: Objective) -> Term:
        return Term(
            self.agent,
            self.score(objective),
            self.rtt_s,
            self.queue_s,
            self.transfer_s,
            self.cold_s,
            self.run_s,
            self.result_s,
            self.load,
            self.cost,
            self.energy_j,
            self.carbon_g,
        )


def cost_of(row: PlainRow) -> float:
    """Return `Row.cost` of a plain row, without making it one with names."""
    rates, run_s = row[2], row[7]
    billed_s = run_s if row[9] > 0.0 else max(run_s, rates.block_s)
    return rates.price * billed_s * row[10] + rates.egress * row[12]
