"""The uv.toml by which plain uv stays offline and within a folder of distributions.

Beside a pyproject.toml a uv.toml masks the settings of `[tool.uv]` (uv's documentation,
*configuration files*), so those are merged into it; what only a pyproject.toml may hold stays
there, and stays in force. Everything written can be undone: a file that was there is kept, and one
that was changed since is left alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from envpack.errors import OutputFault, ProjectFault
from envpack.foreign import described, read_text, table_in
from envpack.lock import read_toml
from envpack.wheelhouse import write_text

NAME = "uv.toml"
SAVED = "uv.toml.before-envpack"
_MARK = "# Written by `envpack sync --configure`; undo it with `--unconfigure`. "

# What uv refuses in a uv.toml, as it is only applicable in the context of a project.
_PROJECT_ONLY = frozenset(
    {
        "build-backend",
        "conflicts",
        "default-groups",
        "dependency-groups",
        "dev-dependencies",
        "environments",
        "managed",
        "package",
        "required-environments",
        "sources",
        "workspace",
    }
)


def configure(folder: str, links: str, pyproject: str | None) -> str:
    """Write `folder/uv.toml` so that uv is offline and finds wheels in `links`; return its path.

    `links` is an absolute directory, written relative if it lies below `folder` or beside it, so
    that both can be moved together. The settings of
    the file at `pyproject` are merged in. Raises OutputFault, or ProjectFault for a file that
    cannot be read.
    """
    import tomlkit

    path, saved = os.path.join(folder, NAME), os.path.join(folder, SAVED)
    if is_ours(path):
        unconfigure(folder)
    present = os.path.lexists(path)
    before: Mapping[str, Any] = {}
    if present:
        with described(path, "no TOML", ProjectFault):
            document = tomlkit.parse(_text(path))
        before = read_toml(path)
    else:
        document = tomlkit.document()
        before = _inherited(pyproject) if pyproject else {}
    found = [_relative(links, folder)]
    with described(path, "no settings of uv", ProjectFault):
        found += [link for link in before.get("find-links", []) if link not in found]
    settings = {**({} if present else before), "offline": True, "find-links": found}
    text = _with(document, settings)
    if present:
        try:
            os.replace(path, saved)
        except OSError as error:
            raise OutputFault(f"cannot keep `{path}`: {error.strerror}") from error
    write_text(path, f"{_MARK}{_digest(text)}\n{text}")
    return path


def unconfigure(folder: str) -> str | None:
    """Undo `configure` in `folder`; return the path of the file, None if there is none of ours.

    Raises OutputFault if it was changed since.
    """
    path, saved = os.path.join(folder, NAME), os.path.join(folder, SAVED)
    if not os.path.isfile(path) or not _text(path).startswith(_MARK):
        return None
    if not is_ours(path):
        kept = f", and what it replaced is `{saved}`" if os.path.isfile(saved) else ""
        raise OutputFault(
            f"`{path}` was changed since envpack wrote it{kept}",
            hint="take back by hand what envpack wrote, `offline` and `find-links`",
        )
    try:
        if os.path.isfile(saved):
            os.replace(saved, path)
        else:
            os.unlink(path)
    except OSError as error:
        raise OutputFault(f"cannot undo `{path}`: {error.strerror}") from error
    return path


def is_ours(path: str) -> bool:
    """Say whether a file is as `configure` wrote it."""
    if not os.path.isfile(path):
        return False
    first, _, rest = _text(path).partition("\n")
    return first == f"{_MARK}{_digest(rest)}"


def _with(document: Any, settings: Mapping[str, Any]) -> str:
    """Return a document with top-level settings, which must come before its first table."""
    import tomlkit

    for name in settings:
        document.pop(name, None)
    head = tomlkit.document()
    for name, value in settings.items():
        if not isinstance(value, Mapping) and not _holds_tables(value):
            head[name] = value
    tail = tomlkit.document()
    for name, value in settings.items():
        if name not in head:
            tail[name] = value
    return tomlkit.dumps(head) + tomlkit.dumps(document) + tomlkit.dumps(tail)


def _holds_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _inherited(pyproject: str) -> dict[str, Any]:
    """Return the settings of `[tool.uv]` that a uv.toml beside it would mask."""
    if not os.path.isfile(pyproject):
        return {}
    table = table_in(read_toml(pyproject), "tool", "uv")
    return {name: value for name, value in table.items() if name not in _PROJECT_ONLY}


def _relative(path: str, folder: str) -> str:
    """Return a path as uv reads it in `folder/uv.toml`."""
    parts = os.path.relpath(path, folder).split(os.sep)
    if parts[:2] == [os.pardir, os.pardir]:
        return path
    return "/".join(parts if parts[0] == os.pardir else [os.curdir, *parts])


def _text(path: str) -> str:
    text = read_text(path, ProjectFault)
    if text is None:
        raise ProjectFault(f"cannot read `{path}`: there is no such file")
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
