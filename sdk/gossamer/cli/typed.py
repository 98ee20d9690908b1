"""What an error says of options, as they are typed here: `--wait 5m` for `wait="5m"`."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from typing import Final

from gossamer_mesh.errors import (
    AgentRefusedError,
    ConfigError,
    MeshError,
    NoAgentError,
    TaskTimeoutError,
    VersionTakenError,
)

_OURS: Final = (
    AgentRefusedError,
    ConfigError,
    NoAgentError,
    TaskTimeoutError,
    VersionTakenError,
)
"""Whose words are all our own; others repeat what a task has printed."""

_VALUE: Final = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?[\w.][\w.-]*(?<![.])|(?=[\s,;:.)]|$)"""


def as_typed(error: MeshError, options: Mapping[str, str]) -> str:
    """Return the message of `error`; `options`: keyword → how the command's option is typed."""
    text = str(error)
    if not options or not isinstance(error, _OURS):
        return text
    return _keyword(tuple(options)).sub(lambda found: _typed(found, options), text)


@functools.lru_cache(maxsize=16)
def _keyword(names: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = "|".join(map(re.escape, names))
    # Quoted text that no keyword stands before is somebody's, and is left as it is.
    return re.compile(rf"(?<![\w.\[\]-])({alternatives})=({_VALUE})|'(?:[^'\\]|\\.)*'")


def _typed(found: re.Match[str], options: Mapping[str, str]) -> str:
    if found[1] is None:
        return found[0]
    value = found[2]
    if value[:1] in {"'", '"'}:
        import shlex  # noqa: PLC0415  only mistakes need it

        value = shlex.quote(ast.literal_eval(value))
    return f"{options[found[1]]} {value}".rstrip()
