"""The house has floors: a module imports only from those below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "envpack"
FLOORS = (
    {"redact", "version", "presets", "listener", "host_start", "bundled"},
    {"errors", "secret_files"},
    {"foreign", "held"},
    {"process"},
    {"git"},
    {"parallel", "kept", "libraries"},
    {"model"},
    {"rows"},
    {"entries"},
    {"target", "platforms", "walk", "leaks", "urls", "relocate", "archive", "simple_index"},
    {"interpreter", "distributions", "uv", "floor", "ld_so"},
    {"environment", "records", "activate", "manifest", "native_host", "replacement_python"},
    {"starter", "host_data", "search_path", "links"},
    {"uv_config"},
    {"indexes", "network", "part"},
    {"client"},
    {"fetch"},
    {"lock", "wheelhouse", "python_archive", "core_metadata"},
    {"choice", "settings", "wanted", "layout_record"},
    {"select", "draft", "native", "owners"},
    {"sources"},
    {"editable_hooks", "editable_tree", "editable_build", "editable_copy", "strays"},
    {"editable", "builds"},
    {"acquired"},
    {"acquire", "build_requires", "programs"},
    {"download_report", "sync_python", "bringing"},
    {"rebuilt"},
    {"layout_files", "layout_inputs", "layout_report", "aside"},
    {"layout_grid", "covering"},
    {"layout_stock"},
    {"record_entries"},
    {"carry", "merge", "user_site", "withheld"},
    {"plan"},
    {"cache"},
    {"runs"},
    {"reading"},
    {"pipeline", "report", "output", "options", "misfits", "python_tree"},
    {"bytecode", "compile_worker"},
    {"packing", "downloading", "syncing"},
    {"bundle_floor"},
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


ROOT = SOURCE.parents[1]
TEXTS = sorted(
    path for folder in ("scripts", "src", "tests") for path in (ROOT / folder).rglob("*.py")
)
LATER = {
    "data_filter",
    "tar_filter",
    "fully_trusted_filter",
    "extraction_filter",
    "FilterError",
    "ALLOW_MISSING",
    "SetReparseDeferralEnabled",
    "verify_generated_headers",
}
"""Names that came with patches of Python 3.11, so mypy knows them of all of it."""

LATER_WORDS = {
    "filter": {"extract", "extractall", "unpack_archive"},
    "strict": {"getaddresses", "parseaddr"},
}
"""Likewise keywords, and the functions that have them."""

READERS = {"archive/read.py", "rebuilt.py", "unbundling.py", "bundled/unzipped.py"}
"""One reads archives, one writes wheels, two ask a zip for less than its members."""


def later_in(path: Path) -> set[str]:
    """Return what a file uses that Python 3.11.0 lacks, unless it asks whether it is there."""
    text, found = path.read_text("utf-8"), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr in LATER:
            found.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            found |= {
                f"{name}({word.arg}=)"
                for word in node.keywords
                if word.arg in LATER_WORDS and name in LATER_WORDS[word.arg]
            }
    asked = "hasattr(tarfile, " in text
    return found - ({"fully_trusted_filter", "extraction_filter"} if asked else set())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_newer_than_the_oldest_python(path: Path) -> None:
    """Debian 12 has 3.11.2, without what later patches of 3.11 brought."""
    assert not later_in(path)


def test_archives_are_read_in_one_place() -> None:
    """No other module opens those of others, whose damage and size it would have to know."""
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import)
        and {alias.name for alias in node.names} & {"tarfile", "zipfile"}
    }
    assert found == READERS
