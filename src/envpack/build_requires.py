"""What local projects are built with: their `[build-system]`, and what its backend asks for.

Source: PEP 517 and PEP 660 (`get_requires_for_build_wheel`, `…_editable`). The lock does not hold
these, so uv resolves them now.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Sequence
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envpack.builds import Workshop
from envpack.editable_tree import copy_source
from envpack.errors import EditableFault, ToolFault
from envpack.lock import Locked, compiled, read_toml
from envpack.platforms import Python
from envpack.uv import run_python
from envpack.wheelhouse import write_text

_LEGACY = ("setuptools >= 40.8.0",)
"""What PEP 517 and 518 mean by a project without a `[build-system]`."""

_ASK = """
import contextlib, importlib, json, os, sys
name, path, folder = json.load(sys.stdin)
sys.path[:0] = [os.path.join(folder, each) for each in path]
os.chdir(folder)
module, _, within = name.partition(":")
found = []
with contextlib.redirect_stdout(sys.stderr):
    backend = importlib.import_module(module)
    for part in within.split(".") if within else ():
        backend = getattr(backend, part)
    for hook in ("get_requires_for_build_editable", "get_requires_for_build_wheel"):
        if hasattr(backend, hook):
            found += getattr(backend, hook)({})
print(json.dumps(found))
"""


def build_requirements(
    workshop: Workshop, folder: str, python: Python, local: Collection[str]
) -> tuple[str, ...]:
    """Return what the project in `folder` wants installed to be built, as wheel or as editable.

    Names in `local` are of the workspace, and never asked of an index. Raises EditableFault if the
    backend cannot say.
    """
    system = _build_system(folder)
    static = _static(system)
    backend = system.get("build-backend") or "setuptools.build_meta:__legacy__"
    wanted = [text for text in static if _name(text) not in local]
    if backend.partition(":")[0] == "uv_build" or len(wanted) < len(static):
        return tuple(wanted)
    asked = _asked(workshop, folder, backend, system.get("backend-path") or [], wanted, python)
    return tuple(dict.fromkeys([*wanted, *(text for text in asked if _name(text) not in local)]))


def static_requirements(folder: str) -> list[str]:
    """Return what the project in `folder` says itself that it is built with."""
    return _static(_build_system(folder))


def _static(system: dict[str, Any]) -> list[str]:
    return [*system.get("requires", _LEGACY)]


def _build_system(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, "pyproject.toml")
    table: Any = read_toml(path).get("build-system") if os.path.isfile(path) else None
    return table if isinstance(table, dict) else {}


def sources_of(root: str) -> set[str]:
    """Return the names that a workspace takes from elsewhere than an index (`tool.uv.sources`)."""
    path = os.path.join(root, "pyproject.toml")
    table = read_toml(path) if os.path.isfile(path) else {}
    sources = table.get("tool", {}).get("uv", {}).get("sources", {})
    return {canonicalize_name(name) for name in sources}


def _name(text: str) -> str:
    try:
        return canonicalize_name(Requirement(text).name)
    except InvalidRequirement:
        return ""


def _asked(
    workshop: Workshop,
    folder: str,
    backend: str,
    path: Sequence[str],
    wanted: Sequence[str],
    python: Python,
) -> list[str]:
    """Ask a backend, in an environment of its own, on a copy of the project."""
    place = workshop.folder()
    copy = copy_source(folder, folder, os.path.join(place, "source"), name="project", whole=False)
    venv = os.path.join(place, "venv")
    uv = workshop.uv
    try:
        interpreter = workshop.python(python) or uv.find_python()
        uv.venv(venv, python=interpreter)
        if wanted:
            args = ["pip", "install", "--quiet", "--python", venv, *wanted]
            uv.run("install a build backend", args)
        data = json.dumps([backend, path, copy]).encode()
        asked = run_python(
            os.path.join(venv, "bin", "python"),
            ["-c", _ASK],
            data,
            what="ask the build backend",
            site=True,
        )
        return [str(text) for text in json.loads(asked)]
    except (ToolFault, ValueError) as error:
        raise EditableFault(
            f"what `{os.path.basename(folder)}` is built with cannot be told: {error}"
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def resolved(workshop: Workshop, requirements: Sequence[str], python: Python) -> Locked:
    """Return what uv makes of requirements, for every platform, from the Python `python` on."""
    place = workshop.folder()
    path = os.path.join(place, "requirements.in")
    write_text(path, "".join(f"{text}\n" for text in requirements))
    return compiled(workshop.uv, [path], python.version, place)
