"""The plots of the docs. Matplotlib is loaded when they are drawn, not before.

Its own annotations are only partly there, hence `Any`.
"""

from __future__ import annotations

import importlib
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from testbed.placement import policies
from testbed.placement.rows import P50_US, P99_US, products

if TYPE_CHECKING:
    from testbed.placement.jobs import Found
    from testbed.placement.measure import Response

SIZE: Final = (7.0, 4.2)
DPI: Final = 110
MOST: Final = 100.0
"""A response so many times the clairvoyant's is drawn at the edge."""


def draw(found: Found, folder: Path) -> None:
    """Write the PNGs into `folder`."""
    importlib.import_module("matplotlib").use("Agg")
    plt: Any = importlib.import_module("matplotlib.pyplot")
    for name, plot in (
        ("response-mean", _mean),
        ("response-p99", _p99),
        ("regret", _regret),
        ("decision-time", _decision),
        ("energy-delay", _energy),
        ("campaign", _campaign),
    ):
        figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
        plot(found, axes)
        figure.savefig(folder / f"{name}.png", dpi=DPI)
        plt.close(figure)


def _mean(found: Found, axes: Any) -> None:
    _over_load(found, axes, "mean")


def _p99(found: Found, axes: Any) -> None:
    _over_load(found, axes, "p99")


def _over_load(found: Found, axes: Any, what: str) -> None:
    def figure(response: Response) -> float:
        return response.mean_s if what == "mean" else response.p99_s

    base = {
        load: figure(response)
        for load, response in found.loads
        if response.policy == policies.CLAIRVOYANT
    }
    for policy in policies.POLICIES:
        points = sorted(
            (load, min(figure(response) / base[load], MOST))
            for load, response in found.loads
            if response.policy == policy
        )
        ours = policy.startswith("ours")
        axes.plot(
            [load for load, _ in points],
            [value for _, value in points],
            label=policy,
            marker="o",
            markersize=3,
            linewidth=2.2 if ours else 1.1,
            color="black" if policy == policies.CLAIRVOYANT else None,
        )
    axes.set_yscale("log")
    axes.set_xlabel("load of the whole fleet")
    axes.set_ylabel(f"{what} response / clairvoyant")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7)


def _regret(found: Found, axes: Any) -> None:
    for policy in dict.fromkeys(each.policy for _, each in found.regret):
        runs = [each for _, each in found.regret if each.policy == policy]
        points = min(len(run.calls) for run in runs)
        totals = [
            statistics.median(run.total_s[at] for run in runs) / max(1, runs[0].calls[at])
            for at in range(points)
        ]
        axes.plot(runs[0].calls[:points], totals, label=policy)
    axes.set_yscale("log")
    axes.set_xlabel("calls of 16 clients together")
    axes.set_ylabel("regret per call so far, s")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)


def _decision(found: Found, axes: Any) -> None:
    timings = sorted((each for _, each in found.timing), key=lambda each: each.agents)
    agents = [each.agents for each in timings]
    axes.plot(agents, [each.p50_us for each in timings], marker="o", label="decision, p50")
    axes.plot(agents, [each.p99_us for each in timings], marker="o", label="decision, p99")
    axes.plot(agents, [each.move_us for each in timings], marker="o", label="join or leave, mean")
    axes.axhline(P50_US, color="tab:blue", linestyle=":", linewidth=1)
    axes.axhline(P99_US, color="tab:orange", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("agents")
    axes.set_ylabel("µs")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)


def _energy(found: Found, axes: Any) -> None:
    over = {name: statistics.median(values) for name, values in products(found).items()}
    names = sorted(over, key=over.__getitem__, reverse=True)
    colours = ["tab:orange" if name.startswith("ours") else "tab:blue" for name in names]
    axes.barh(names, [over[name] for name in names], color=colours)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("energy-delay product / best single site")


def _campaign(found: Found, axes: Any) -> None:
    groups: dict[str, list[float]] = {}
    for _, each in found.campaign:
        known = "known" if each.known else "unknown"
        after = f", after {each.before} calls" if each.before else ""
        name = f"{each.policy}{after}\nlengths {known}"
        groups.setdefault(name, []).append(each.makespan_s / each.bound_s)
        groups.setdefault(f"fastest single class\nlengths {known}", []).append(
            each.single_s / each.bound_s
        )
    names = sorted(groups, key=lambda name: -statistics.median(groups[name]))
    axes.barh(names, [statistics.median(groups[name]) for name in names])
    axes.axvline(1.0, color="black", linewidth=1)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("makespan / lower bound")
