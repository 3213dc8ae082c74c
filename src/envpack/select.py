"""What stays out of the archive, each with its reason; everything else goes in."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import NamedTuple

from envpack.interpreter import Interpreter
from envpack.model import Reason

_PYTHON = re.compile(r"bin/python(\d(\.\d+)?)?$")
_ACTIVATE = re.compile(r"bin/(activate(_this\.py|\.\w+)|Activate\.ps1|(deactivate|pydoc)\.bat)$")
_OWN_ACTIVATE = frozenset({"bin/activate", "bin/activate.fish"})
_VENV_FILES = frozenset({"pyvenv.cfg", "CACHEDIR.TAG", ".gitignore"})
_VENV_MODULES = frozenset({"_virtualenv.py", "_virtualenv.pth"})
_OBJECT = re.compile(r"lib/python[^/]+/config-[^/]*/[^/]*\.o$")


CACHED = "__pycache__/"
_METADATA = (".dist-info", ".egg-info")


class Filter(NamedTuple):
    """One --exclude or --include: a glob over names in the archive; `*` matches `/` too."""

    exclude: bool
    glob: str


def excluded(name: str, filters: Sequence[Filter], *, out: bool = False) -> bool:
    """Say whether ordered filters leave `name` out; `out` is how it stands before them.

    As in conda-pack, each is applied to what those before it decided: an include takes back what
    an earlier exclude took away.
    """
    for rule in filters:
        if out is not rule.exclude and fnmatch.fnmatchcase(name, rule.glob):
            out = rule.exclude
    return out


def is_bytecode(folder: str) -> bool:
    """Say whether nothing but bytecode belongs in a folder, so that all of it stays out."""
    return CACHED in f"{folder}/"


def is_plain(site_packages: str, folder: str) -> bool:
    """Say whether every file of a folder of an environment goes in, whatever its name.

    `site_packages` is as in `environment_reason`.
    """
    inside = folder.startswith(site_packages) and not is_bytecode(folder)
    return inside and not folder.endswith(_METADATA)


def environment_reason(site_packages: str, name: str) -> Reason | None:
    """Say why the file `name` of an environment stays out, None if it goes in.

    `name` is relative to the environment's root, and so is `site_packages`, which ends in a slash.
    """
    if CACHED in name:
        return Reason.BYTECODE
    if name.startswith(site_packages):
        if name[len(site_packages) :] in _VENV_MODULES:
            return Reason.VENV_BOOKKEEPING
        if name.endswith((".dist-info/uv_cache.json", ".dist-info/uv_build.json")):
            return Reason.UV_BOOKKEEPING
        return None
    if name in _VENV_FILES or name.startswith("lib64/") or name in _OWN_ACTIVATE:
        return Reason.VENV_BOOKKEEPING
    if _PYTHON.match(name):
        return Reason.VENV_BOOKKEEPING
    if name == ".lock":
        return Reason.UV_BOOKKEEPING
    if _ACTIVATE.match(name):
        return Reason.ACTIVATE
    return None


def is_library(interpreter: Interpreter, folder: str) -> bool:
    """Say whether every file of a folder is the standard library's, static libraries aside."""
    below = folder.startswith(f"{interpreter.stdlib}/") and not is_bytecode(folder)
    within = f"{folder}/".startswith(
        (f"{interpreter.site_packages}/", f"{interpreter.stdlib}/config-")
    )
    return below and not within


def interpreter_reason(interpreter: Interpreter, name: str) -> Reason | None:
    """Say why the file `name` of an interpreter stays out, its packages not considered.

    `name` is relative to the prefix. A prefix that uv manages holds Python alone; any other may be
    shared with other software, so there only Python's own files are taken.
    """
    if CACHED in name:
        return Reason.BYTECODE
    if name == f"{interpreter.stdlib}/EXTERNALLY-MANAGED":
        return Reason.EXTERNALLY_MANAGED
    if name == "BUILD":
        return Reason.UV_BOOKKEEPING
    if name.endswith(".a") or _OBJECT.match(name):
        return Reason.STATIC_LIBRARY
    if not interpreter.managed and not _is_pythons(interpreter.minor, name):
        return Reason.NOT_PYTHON
    return None


def _is_pythons(minor: str, name: str) -> bool:
    major = minor.split(".", maxsplit=1)[0]
    top, _, rest = name.partition("/")
    if top == "bin":
        return rest.startswith(("python", "pydoc", "idle", "2to3")) and _fits(rest, minor)
    if top == "include":
        return rest.startswith(f"python{minor}/")
    if top == "lib":
        return (
            rest.startswith((f"python{minor}/", f"libpython{minor}", f"libpython{major}.so"))
            or ("/" not in rest and ".so" in rest and not rest.startswith("libpython"))
            or re.match(r"pkgconfig/python", rest) is not None
            or re.match(r"(tcl|tk|itcl|thread|tdbc|tcl8|tix|terminfo)[\d./]", rest, re.IGNORECASE)
            is not None
        )
    if top == "share":
        return rest.startswith(("terminfo/", f"man/man1/python{major}"))
    return False


def _fits(name: str, minor: str) -> bool:
    """Say whether a versioned command such as `python3.11-config` is of this minor version."""
    told = re.search(r"\d+\.\d+", name)
    return told is None or told[0] == minor
