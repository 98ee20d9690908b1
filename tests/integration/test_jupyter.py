"""A notebook: cells run by a real kernel, inside its asyncio loop."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

import gossamer

pytestmark = [
    pytest.mark.integration,
    # jupyter_client's own, of its own loop and sockets.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WITHIN_S = 30.0

Cell = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def cell(shared: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """Run cells one after the other; return what each shows, by MIME type."""
    directory: Path = tmp_path_factory.mktemp("notebook")
    kernel = KernelManager()
    kernel.start_kernel(cwd=str(directory))
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=WITHIN_S)

        def run(source: str) -> dict[str, Any]:
            shown: dict[str, Any] = {}

            def heard(message: dict[str, Any]) -> None:
                content = message["content"]
                if message["msg_type"] in {"execute_result", "display_data"}:
                    shown.update(content["data"])
                elif message["msg_type"] == "stream":
                    shown[content["name"]] = shown.get(content["name"], "") + content["text"]

            reply = client.execute_interactive(
                textwrap.dedent(source), timeout=WITHIN_S, output_hook=heard, allow_stdin=False
            )
            content = reply["content"]
            text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(content.get("traceback", [])))
            assert content["status"] == "ok", text
            return shown

        run(f"""
            import asyncio, time, gossamer
            ACCESS = {str(shared.access)!r}
        """)
        yield run
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
        kernel.cleanup_resources()


def test_connect_works_in_a_cell_which_runs_inside_a_loop(cell: Cell):
    shown = cell("""
        asyncio.get_running_loop()
        mesh = gossamer.connect(ACCESS)
        mesh.submit(pow, 2, 10).result(10)
    """)
    assert shown["text/plain"] == "1024"
    assert "shared" in cell("mesh.agents()")["text/html"]


def test_a_function_of_a_cell_runs_elsewhere_and_its_objects_come_back(cell: Cell):
    shown = cell("""
        class Point:
            def __init__(self, x):
                self.x = x

        def shift(point):
            import os
            return Point(point.x + 1), os.getpid()

        import os
        point, pid = mesh.submit(shift, Point(1)).result(10)
        type(point) is Point, point.x, pid != os.getpid()
    """)
    assert shown["text/plain"] == "(True, 2, True)"


def test_the_kernels_loop_goes_on_while_tasks_are_awaited(cell: Cell):
    shown = cell("""
        def nap(seconds):
            import time
            time.sleep(seconds)
            return seconds

        ticks = []
        async def tick():
            while True:
                ticks.append(time.monotonic())
                await asyncio.sleep(0.01)

        ticking = asyncio.ensure_future(tick())
        amesh = await gossamer.open_mesh(ACCESS)
        task = amesh.submit(nap, 1.0)
        results = [await task, await amesh.run(nap, 0.5)]
        results += [value async for value in amesh.map(nap, [0.2, 0.1, 0.0], ordered=False)]
        agents = await amesh.agents()
        await amesh.aclose()
        ticking.cancel()
        gaps = sorted(after - before for before, after in zip(ticks, ticks[1:]))
        sorted(results), len(agents), len(ticks), gaps[int(0.99 * len(gaps))], gaps[-1]
    """)
    results, agents, ticks, p99, longest = eval(shown["text/plain"])  # noqa: S307  our own cell's
    assert results == [0.0, 0.1, 0.2, 0.5, 1.0]
    assert agents == 1
    # 1.5 s of waiting at the least, in steps of 10 ms; the machine is a busy one.
    assert ticks > 50, (ticks, p99, longest)
    assert p99 < 0.1, (ticks, p99, longest)
    assert longest < 0.4, (ticks, p99, longest)


def test_many_cells_tasks_are_gathered(cell: Cell):
    shown = cell("""
        async with gossamer.open_mesh(ACCESS) as amesh:
            found = await asyncio.gather(*[amesh.submit(pow, 2, x) for x in range(20)])
        found == [2 ** x for x in range(20)]
    """)
    assert shown["text/plain"] == "True"


def test_what_a_task_prints_is_shown_while_it_runs(cell: Cell):
    shown = cell("""
        def speak():
            import sys, time, gossamer
            gossamer.progress(0.5, "half of it")
            print("<b>hello</b>")
            time.sleep(0.3)
            sys.stderr.write("<i>oops</i>")

        async with gossamer.open_mesh(ACCESS) as amesh:
            task = amesh.submit(speak)
            async for line in amesh.logs(task):
                print(line, task.done())
        task
    """)
    assert shown["stdout"] == "<b>hello</b> False\n<i>oops</i> True\n"
    html = shown["text/html"]
    assert "&lt;b&gt;hello&lt;/b&gt;" in html
    assert "<b>hello" not in html
    assert "succeeded" in html
    assert "half of it" in html
    assert html.startswith("<")


def test_a_decision_is_shown_as_a_table(cell: Cell):
    html = cell("mesh.explain(pow, 2, 3)")["text/html"]
    assert "<th>agent</th>" in html
    assert "shared" in html


def test_the_kernel_ends_what_it_opened(cell: Cell):
    shown = cell("mesh.close(); repr(mesh)")
    assert "closed" in shown["text/plain"]
    assert (
        gossamer.LinkClosedError.__name__
        in cell("""
        try:
            mesh.submit(pow, 2, 2)
        except gossamer.LinkClosedError as error:
            said = repr(error)
        said
    """)["text/plain"]
    )
