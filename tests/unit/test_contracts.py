"""Every import contract is seen to bite, on a copy of the packages with forbidden imports in it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {c["id"]: c for c in SETTINGS["contracts"]}
HOMES = {
    "gossamer_mesh": ROOT / "mesh",
    "gossamer_placement": ROOT / "placement",
    "gossamer_agent": ROOT / "agent",
    "gossamer": ROOT / "sdk",
}
Imports = set[tuple[str, str]]


def below(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def forbidden_by(contract: dict[str, Any]) -> Imports:
    """Return (importer, imported) pairs, each of which `contract` has to report."""
    match contract["type"]:
        case "forbidden":
            return {
                (source, module)
                for source in contract["source_modules"]
                for module in contract["forbidden_modules"]
            }
        case "protected":
            return {
                (f"{package}.planted", module)
                for package in HOMES
                for module in contract["protected_modules"]
                if not below(f"{package}.planted", contract["allowed_importers"])
            }
        case "layers":
            layers = [layer.split(" | ") for layer in contract["layers"]]
            return {
                (f"{low}.planted", high)
                for depth, layer in enumerate(layers)
                for low in layer
                for high in [m for upper in layers[: depth + 1] for m in upper if m != low]
            }
        case "acyclic_siblings":
            return {
                (f"{package}.planted_{one}", f"{package}.planted_{other}")
                for package in contract["ancestors"]
                for one, other in [("egg", "hen"), ("hen", "egg")]
            }
        case other:
            raise AssertionError(f"no forbidden import is known for a contract of type {other!r}")


def path_of(module: str, tree: Path) -> Path:
    stem = tree / module.replace(".", "/")
    return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says about a tree in which everything forbidden is done at once."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", tree)
    for package, home in HOMES.items():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(home / package, tree / package, ignore=ignore)
    planted: defaultdict[str, set[str]] = defaultdict(set)
    for contract in CONTRACTS.values():
        for importer, imported in forbidden_by(contract):
            planted[importer].add(imported)
    for module, imports in planted.items():
        with path_of(module, tree).open("a") as source:
            source.writelines(f"\nimport {name}\n" for name in sorted(imports))
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_a_contract_reports_every_import_that_it_forbids(
    contract: dict[str, Any], verdict: str
) -> None:
    pairs = forbidden_by(contract)
    assert pairs
    assert f"{contract['name']} BROKEN" in verdict
    if contract["type"] == "acyclic_siblings":
        reports = [f"No cycles are allowed in {package}." for package in contract["ancestors"]]
        silent = {report for report in reports if report not in verdict}
    else:
        silent = {f"{a} -> {b}" for a, b in pairs if f"{a} -> {b} " not in verdict}
    assert not silent


@pytest.mark.parametrize("package", HOMES)
def test_every_package_is_under_contract(package: str) -> None:
    assert package in SETTINGS["root_packages"]


def test_the_worker_imports_the_standard_library_cloudpickle_and_itself() -> None:
    allowed = sys.stdlib_module_names | {"cloudpickle", "gossamer_agent"}
    foreign: list[str] = []
    for path in (ROOT / "agent/gossamer_agent/worker").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=module, level=0):
                    modules = [module or ""]
                case _:
                    continue
            foreign += [
                f"{path.name}: {module}"
                for module in modules
                if module.partition(".")[0] not in allowed
                or (
                    below(module, ["gossamer_agent"])
                    and not below(module, ["gossamer_agent.worker"])
                )
            ]
    assert not foreign
