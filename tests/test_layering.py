"""The house has floors: a module imports only from those below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "envpack"
FLOORS = (
    {"redact", "version", "presets", "listener", "host_start"},
    {"errors", "secret_files"},
    {"foreign"},
    {"process"},
    {"git"},
    {"parallel", "kept", "libraries"},
    {"model"},
    {"rows"},
    {"entries"},
    {"target", "platforms", "walk", "leaks", "urls", "relocate", "archive", "simple_index"},
    {"interpreter", "distributions", "uv", "floor"},
    {"environment", "records", "activate", "manifest", "native_host", "replacement_python"},
    {"starter", "host_data"},
    {"uv_config"},
    {"indexes", "network", "part"},
    {"client"},
    {"fetch"},
    {"lock", "wheelhouse", "python_archive", "core_metadata"},
    {"choice", "settings", "sources", "wanted", "layout_record"},
    {"select", "draft", "native", "owners"},
    {"editable_hooks", "editable_tree", "editable_build", "editable_copy"},
    {"editable", "builds"},
    {"acquired"},
    {"acquire", "build_requires", "programs"},
    {"download_report", "sync_python", "bringing"},
    {"rebuilt"},
    {"layout_files", "layout_inputs", "layout_report", "aside"},
    {"layout_grid", "covering"},
    {"layout_stock"},
    {"record_entries"},
    {"carry", "merge", "withheld"},
    {"plan"},
    {"cache"},
    {"runs"},
    {"reading"},
    {"pipeline", "report", "output", "options", "misfits", "python_tree"},
    {"bytecode", "compile_worker"},
    {"packing", "downloading", "syncing"},
    {"bundled", "bundle_floor"},
    {"bundle_git", "bundle_preview", "bundle_zip"},
    {"bundle_tree"},
    {"layout_write"},
    {"layout_check"},
    {"bundling", "unbundling", "laying"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
MODULES = sorted(SOURCE.rglob("*.py"))


def top(path: Path) -> str:
    """Return the module or package directly below envpack."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the modules directly below envpack that a file imports, late imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "envpack":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("envpack."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("envpack.")}
    return {name for name in found if name in FLOOR}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    """From its own floor or below; a package may import itself."""
    own = top(path)
    above = {name for name in imported(path) if FLOOR[name] > FLOOR[own]}
    assert not above


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_stay_small(path: Path) -> None:
    """No module over 400 lines, no function over 80."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80, node.name
