"""Why a task goes where it goes, as text: plain, aligned, at most 100 columns. Pure."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer_mesh.units import counted, show_seconds

if TYPE_CHECKING:
    from gossamer_placement.model import Decision, Term

WIDTH: Final = 100
LEAST_NAME: Final = 12
"""A name is not cut to less than so many characters."""

_GAP: Final = "  "


def _show_time(seconds: float) -> str:
    return show_seconds(seconds) if seconds else "0"


def _show_amount(amount: float) -> str:
    return f"{amount:.3g}"


def _show_grams(grams: float) -> str:
    return f"{grams:.3g}g" if grams else "0"


class _Column(msgspec.Struct, frozen=True):
    """`read` takes it from a term; a column in which all are 0 is not shown."""

    title: str
    read: Callable[[Term], float]
    show: Callable[[float], str] = _show_time


_TIMES: Final = (
    _Column("rtt", lambda term: term.rtt_s),
    _Column("wait", lambda term: term.queue_s),
    _Column("transfer", lambda term: term.transfer_s),
    _Column("cold", lambda term: term.cold_s),
    _Column("run", lambda term: term.run_s),
    _Column("result", lambda term: term.result_s),
)
_ETA: Final = _Column("eta", lambda term: term.eta_s)
_LOAD: Final = _Column("load", lambda term: term.load, _show_amount)
_COST: Final = _Column("cost", lambda term: term.cost, _show_amount)
_CARBON: Final = _Column("carbon", lambda term: term.carbon_g, _show_grams)


def explain(decision: Decision) -> str:
    """Return several lines: where, by which objective, the best three with their terms, who could.

    What is shown adds up within the digits that are shown: `eta` by the formula below the table,
    where the call's data travel while it would wait. The first agent, marked, is the chosen one.
    """
    wrapped = [
        part
        for line in _said(decision)
        for part in textwrap.wrap(line, WIDTH, break_on_hyphens=False)
    ]
    return "\n".join([*wrapped, *_table(decision)])


def explain_html(decision: Decision) -> str:
    """Return the same for a notebook: the chosen agent in bold, and nothing but text in it."""
    said = "<br>".join(map(html.escape, _said(decision)))
    columns = _columns(decision)
    terms = decision.considered
    if not terms:
        return f"<p>{said}</p>"
    rows = [["agent", *(column.title for column in columns)]]
    rows += [
        [term.agent, *(column.show(column.read(term)) for column in columns)] for term in terms
    ]
    head, *body = [[html.escape(cell) for cell in row] for row in rows]
    for row, term in zip(body, terms, strict=True):
        if term.agent == decision.agent:
            row[0] = f"<b>{row[0]}</b>"
    lines = [f"<tr><th>{'</th><th>'.join(head)}</th></tr>"]
    lines += [f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in body]
    return f"<p>{said}</p><table>{''.join(lines)}</table>"


def _said(decision: Decision) -> list[str]:
    count = decision.feasible
    can = f"{counted(count, 'agent')} can run it"
    looked = len(decision.sampled)
    if 0 < looked < count:
        can += f", {looked} looked at"
    lines = [f"on {decision.agent}, objective {decision.objective}; {can}"]
    if decision.ruled_out:
        lines.append(ruled_out(decision.ruled_out))
    if decision.explored:
        lines.append(
            "explored: another agent was expected to be better; this one is tried to learn of it"
        )
    if decision.burst > 1:
        lines.append(f"burst: {decision.burst} calls went there on this decision")
    return lines


def ruled_out(counts: Mapping[str, int]) -> str:
    """Return which constraint excluded how many agents, the worst first, on one line."""
    worst = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{constraint} ruled out {count}" for constraint, count in worst)


def parts(term: Term) -> str:
    """Return what the `eta_s` of an agent is made of, the largest first, on one line."""
    largest = sorted(_TIMES, key=lambda column: -column.read(term))
    shown = [f"{each.title} {each.show(each.read(term))}" for each in largest if each.read(term)]
    return ", ".join(shown)


def _columns(decision: Decision) -> list[_Column]:
    """Return those in which there is something to see."""
    terms = decision.considered
    others = [_ETA, _COST, _CARBON]
    if decision.objective == "spread":
        others.insert(0, _LOAD)
    return [each for each in (*_TIMES, *others) if any(each.read(term) for term in terms)]


def _table(decision: Decision) -> list[str]:
    terms, columns = decision.considered, _columns(decision)
    if not terms:
        return []
    times = [column for column in columns if column in _TIMES]
    cells = [
        [column.title, *(column.show(column.read(term)) for term in terms)] for column in columns
    ]
    widths = [max(map(len, column)) for column in cells]
    left = WIDTH - len("* ") - sum(widths) - len(_GAP) * len(widths)
    names = [_cut(name, max(left, LEAST_NAME)) for name in ("agent", *(t.agent for t in terms))]
    width = max(map(len, names))
    lines: list[str] = []
    for row, name in enumerate(names):
        mark = "* " if row and terms[row - 1].agent == decision.agent else "  "
        numbers = (
            f"{_GAP}{column[row]:>{wide}}" for column, wide in zip(cells, widths, strict=True)
        )
        lines.append(f"{mark}{name:<{width}}{''.join(numbers)}")
    return [*lines, _formula(times)] if times else lines


def _formula(times: Sequence[_Column]) -> str:
    titles = [column.title for column in times]
    if "wait" in titles and "transfer" in titles:
        titles[titles.index("wait")] = "max(wait, transfer)"
        titles.remove("transfer")
    return f"eta = {' + '.join(titles)}"


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"
