"""The GPU probe against a real shared library (ours), and against none. Each in a process of its
own: the loader reads LD_LIBRARY_PATH once."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")
LIBRARY = "libnvidia-ml.so.1"
COMPILER = shutil.which("cc") or shutil.which("gcc")

PROBE = """
import json, sys
sys.modules.update(dict.fromkeys(sys.argv[2:]))
from gossamer_agent.probe import gpu
from msgspec import to_builtins
visible = None if sys.argv[1] == "all" else sys.argv[1]
found = to_builtins(gpu.probe(visible))
print(json.dumps({**found, "imported": "pynvml" in sys.modules}))
"""

SURVEY = """
from gossamer_agent.config import build
from gossamer_agent.probe.survey import survey
from msgspec import json
print(json.encode(survey(build(), incarnation=1, revision=1)).decode())
"""

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc or gcc)")


@pytest.fixture
def library(tmp_path):
    """Build the library with the given macros, and return its directory."""

    def build(*macros):
        command = [COMPILER, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
        command += [f"-D{macro}" for macro in macros]
        subprocess.run([*command, "-o", tmp_path / LIBRARY, SOURCE], check=True, timeout=30)
        return tmp_path

    return build


def run(place, *command):
    ours = {"CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"}
    environ = {name: text for name, text in os.environ.items() if name not in ours}
    if place is not None:
        environ["LD_LIBRARY_PATH"] = str(place)
    ended = subprocess.run(
        [sys.executable, "-c", *command],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    # Not a word on stderr: what is wrong belongs into the document.
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def probe(place, *, visible="all", without=()):
    return run(place, PROBE, visible, *without)


@needs_compiler
def test_gpus_are_named_with_uuid_and_memory(library):
    assert probe(library()) == {
        "found": [
            {
                "index": 0,
                "name": "Pretend GPU 0",
                "uuid": "GPU-00000000-0000-4000-8000-000000000000",
                "memory_bytes": 8 * 2**30,
            },
            {
                "index": 1,
                "name": "Pretend GPU 1",
                "uuid": "GPU-00000001-0000-4000-8000-000000000000",
                "memory_bytes": 16 * 2**30,
            },
        ],
        "failures": [],
        "imported": True,
    }


@needs_compiler
@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        ("", []),
        ("1", [1]),
        ("1, 0", [1, 0]),
        ("GPU-00000001", [1]),
        ("0,9,1", [0]),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_only_gpus_that_cuda_would_show_are_offered(library, visible, indices):
    assert [gpu["index"] for gpu in probe(library(), visible=visible)["found"]] == indices


@needs_compiler
def test_a_library_without_some_functions_tells_what_it_can(library):
    told = probe(library("WITHOUT_UUID", "WITHOUT_MEMORY", "WITHOUT_SHUTDOWN"))
    assert [(gpu["name"], gpu["uuid"], gpu["memory_bytes"]) for gpu in told["found"]] == [
        ("Pretend GPU 0", "", 0),
        ("Pretend GPU 1", "", 0),
    ]
    assert told["failures"] == [
        "nvmlDeviceGetUUID: Function Not Found",
        "nvmlDeviceGetMemoryInfo: Function Not Found",
    ]


@needs_compiler
def test_the_agents_document_has_the_gpus_and_what_failed(library):
    told = run(library("WITHOUT_UUID"), SURVEY)
    assert [gpu["name"] for gpu in told["gpus"]] == ["Pretend GPU 0", "Pretend GPU 1"]
    assert told["warnings"] == ["probe gpu: nvmlDeviceGetUUID: Function Not Found"]


@needs_compiler
def test_a_lost_gpu_does_not_hide_the_others(library):
    told = probe(library("LOST_GPU=0"))
    assert [gpu["index"] for gpu in told["found"]] == [1]
    assert told["failures"] == ["nvmlDeviceGetHandleByIndex(0): GPU is lost"]


@needs_compiler
@pytest.mark.parametrize(
    ("macro", "failure"),
    [
        ("WITHOUT_COUNT", "nvmlDeviceGetCount: Function Not Found"),
        ("NO_DRIVER", "nvmlInit: Driver Not Loaded"),
    ],
)
def test_a_library_that_cannot_be_asked_is_a_failure_and_no_gpus(library, macro, failure):
    told = probe(library(macro))
    assert (told["found"], told["failures"]) == ([], [failure])


def test_a_file_that_is_no_library_is_a_failure(tmp_path):
    (tmp_path / LIBRARY).write_bytes(b"not a library")
    told = probe(tmp_path)
    assert told["found"] == []
    assert "cannot be loaded" in told["failures"][0]


@needs_compiler
def test_without_pynvml_there_are_no_gpus_and_no_failures(library):
    told = probe(library(), without=["pynvml"])
    assert (told["found"], told["failures"]) == ([], [])


def nvml_is_here():
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


@pytest.mark.skipif(nvml_is_here(), reason=f"this machine has a {LIBRARY} of its own")
def test_without_the_library_there_are_no_gpus_and_pynvml_is_not_even_imported():
    assert probe(None) == {"found": [], "failures": [], "imported": False}
