"""What the demonstration runs on agents: describe one file. Knows nothing of a mesh."""

from __future__ import annotations

import ast
import hashlib
import mimetypes
import warnings
from pathlib import Path
from typing import Any


def describe(path: str) -> dict[str, Any]:
    """Return type, size and digest of a file; for text and Python sources also counts."""
    data = Path(path).read_bytes()
    kind = mimetypes.guess_type(path)[0] or "unknown"
    found: dict[str, Any] = {
        "path": path,
        "type": kind,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return found
    if "\0" in text:
        return found
    found["lines"] = text.count("\n")
    found["words"] = len(text.split())
    if path.endswith((".py", ".pyi")):
        found.update(_definitions(text))
    return found


def _definitions(source: str) -> dict[str, int]:
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    functions = classes = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions += 1
        elif isinstance(node, ast.ClassDef):
            classes += 1
    return {"functions": functions, "classes": classes}
