"""What one considered agent's score is made of, as users read it."""

from __future__ import annotations

import msgspec


class Term(msgspec.Struct, frozen=True):
    """One considered agent and what its score is made of.

    `eta_s` = `rtt_s` + max(`queue_s`, `transfer_s`) + `cold_s` + `run_s` + `result_s`, in
    seconds. `cost` is in the mesh's currency, `energy_j` in joules, `carbon_g` in grams of CO2
    equivalent. `score` is what the objective minimises; `load` the calls before it, per slot.
    """

    agent: str
    score: float
    rtt_s: float = 0.0
    queue_s: float = 0.0
    transfer_s: float = 0.0
    cold_s: float = 0.0
    run_s: float = 0.0
    result_s: float = 0.0
    load: float = 0.0
    cost: float = 0.0
    energy_j: float = 0.0
    carbon_g: float = 0.0

    @property
    def eta_s(self) -> float:
        return (
            self.rtt_s
            + max(self.queue_s, self.transfer_s)
            + self.cold_s
            + self.run_s
            + self.result_s
        )
