"""How things look: tables in a terminal, HTML in a notebook, progress bars. The door to rich."""

from __future__ import annotations

import html
import io
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gossamer.move import Move
from gossamer_mesh.registered import Registered
from gossamer_mesh.units import show_bytes, show_seconds
from gossamer_placement.candidate import Candidate

if TYPE_CHECKING:
    from gossamer.task import Task

T = TypeVar("T")

MOVES_S: Final = 0.1

LINES: Final = 20
CHARACTERS: Final = 4096
"""So much of what a task has printed is shown with it."""

COLUMNS = ("agent", "site", "slots", "free", "queue", "arch", "python", "memory", "has")
PRICE = "price/h"
CARBON = "g CO2/kWh"


class AgentTable(list[Candidate]):
    """The agents on a mesh, by name. A list, and a table when it is shown."""

    def __init__(self, agents: Iterable[Candidate]) -> None:
        super().__init__(sorted(agents, key=lambda candidate: candidate.document.agent))

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads of the table; those of price and carbon if an agent states one."""
        priced = any(each.document.price is not None for each in self)
        weighed = any(_carbon(each) for each in self)
        return (*COLUMNS, *((PRICE,) if priced else ()), *((CARBON,) if weighed else ()))

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of the table, one tuple per agent, in the order of `columns`."""
        columns = self.columns
        return [
            (
                *_row(candidate),
                *((_price(candidate),) if PRICE in columns else ()),
                *((_carbon(candidate),) if CARBON in columns else ()),
            )
            for candidate in self
        ]

    def __repr__(self) -> str:
        return table(self.columns, self.rows()) if self else "no agents on the mesh"

    def _repr_html_(self) -> str:
        return html_table(self.columns, self.rows())


class FunctionTable(list[Registered]):
    """Registered functions, by name and owner, the newest first. A list, shown as a table."""

    columns = ("function", "owner", "description", "created", "python", "code")

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of the table, one tuple per version, in the order of `columns`."""
        return [
            (
                f"{each.name}@{each.version}",
                each.owner,
                plain(each.description),
                plain(each.created),
                each.python or "any",
                f"{each.digest.hex()[:12]} ({show_bytes(each.code_bytes)})",
            )
            for each in self
        ]

    def __repr__(self) -> str:
        return table(self.columns, self.rows()) if self else "no functions"

    def _repr_html_(self) -> str:
        return html_table(self.columns, self.rows())


def _price(candidate: Candidate) -> str:
    """Return what one slot of the agent costs in an hour."""
    price = candidate.document.price
    return "" if price is None else f"{price.per_slot_hour:g}"


def _carbon(candidate: Candidate) -> str:
    power = candidate.document.power
    return "" if power is None or power.carbon is None else f"{power.carbon:g}"


def _row(candidate: Candidate) -> tuple[str, ...]:
    document, state = candidate.document, candidate.state
    has = [gpu.name for gpu in document.gpus]
    has += [scheduler.name for scheduler in document.schedulers]
    has += [runtime.name for runtime in document.runtimes]
    has += [
        name if count == 1 else f"{name}×{count}"
        for name, count in sorted(document.resources.items())
    ]
    if document.allow is not None:
        has.append(f"allow-list of {len(document.allowed)}")
    has += [f"{key}={value}" for key, value in sorted(document.labels.items())]
    queue = f"{state.queued} ({show_seconds(state.queue_s)})" if state.queued else "0"
    return (
        document.agent + (" (suspect)" if candidate.suspect else ""),
        document.site,
        str(state.slots),
        "draining" if state.draining else str(state.free),
        queue,
        document.arch,
        document.python,
        show_bytes(document.memory_bytes) if document.memory_bytes else "",
        ", ".join(has),
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a plain-text table."""
    from rich import box  # noqa: PLC0415  slow to import: only to show something
    from rich.console import Console  # noqa: PLC0415  as above
    from rich.table import Table  # noqa: PLC0415  as above

    shown = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        shown.add_row(*row)
    text = io.StringIO()
    # What is shown is text of others: no markup, no emoji.
    Console(
        file=text, width=200, color_system=None, highlight=False, markup=False, emoji=False
    ).print(shown)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join(line for line in lines if line)


def plain(text: str) -> str:
    """Return text of others on one line, without what a terminal would obey."""
    return "".join(each if each.isprintable() else "�" for each in " ".join(text.split()))


def html_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table for a notebook, with nothing in it but text."""

    def cells(tag: str, values: Iterable[str]) -> str:
        return "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values)

    head = cells("th", columns)
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_task(task: Task[Any]) -> str:
    """Return what a notebook shows of a task: where and how it is, and what it has printed last."""
    timings, said = task.timings, task.progress
    facts = {
        "task": task.id,
        "function": task.function,
        "state": task.state,
        "agent": task.agent or "",
        "attempt": str(task.attempt),
        "progress": f"{said.fraction:.0%} {said.note}".strip() if said is not None else "",
        "ran": show_seconds(timings.ran_s) if timings.ran_s else "",
        "altogether": show_seconds(timings.total_s),
    }
    shown = {name: fact for name, fact in facts.items() if fact}
    parts = [html_table(tuple(shown), [tuple(shown.values())])]
    for name, text in (("stdout", task.stdout), ("stderr", task.stderr)):
        lines = text.splitlines()
        if lines:
            last = "\n".join(lines[-LINES:])[-CHARACTERS:]
            parts.append(f"<b>{name}</b><pre>{html.escape(last)}</pre>")
    return "".join(parts)


def length(iterables: Sequence[Iterable[Any]]) -> int | None:
    """Return how many calls a map over these makes, if they say so."""
    lengths = [len(each) for each in iterables if isinstance(each, Sized)]
    return min(lengths) if len(lengths) == len(iterables) and lengths else None


@contextmanager
def bar(what: str, total: int | None) -> Generator[Callable[[int], None], None, None]:
    """Show a bar on stderr; the block gets the function that advances it."""
    from rich.console import Console  # noqa: PLC0415  as above
    from rich.progress import (  # noqa: PLC0415  as above
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    row = shown.add_task(what, total=total)
    with shown:
        yield lambda count: shown.advance(row, count)


def moves(moving: Callable[[], list[Move]]) -> None:
    """Show on stderr what is `moving`, until that is nothing; nothing stays on the screen."""
    from rich.console import Console  # noqa: PLC0415  as above
    from rich.progress import (  # noqa: PLC0415  as above
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    rows: dict[Move, TaskID] = {}
    with shown:
        while now := moving():
            for gone in rows.keys() - set(now):
                shown.remove_task(rows.pop(gone))
            for move in now:
                # What is there already, or lies on the same machine, does not move.
                done = move.done()
                if move not in rows and 0 < done < move.size:
                    rows[move] = shown.add_task(move.what, total=move.size)
                if move in rows:
                    shown.update(rows[move], completed=min(done, move.size))
            time.sleep(MOVES_S)


def progress(
    start: Callable[[Callable[[int], None]], Iterator[T]], *, total: int | None, what: str
) -> Iterator[T]:
    """Iterate over what `start(advanced)` returns, with a bar on stderr."""
    advance: list[Callable[[int], None]] = []

    def advanced(count: int) -> None:
        advance[0](count)

    # Started here, not at the first result: the calls run already.
    results = start(advanced)

    def iterate() -> Iterator[T]:
        with bar(what, total) as show:
            advance.append(show)
            yield from results

    return iterate()
