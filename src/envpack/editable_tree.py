"""Walking and copying the source tree of an editable project.

The tree is never written to. Links are followed; caches, virtual environments and version control
are left out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

from envpack.errors import SourceFault
from envpack.foreign import any_text

_CACHES = frozenset(
    {"__pycache__", ".git", ".hg", ".svn", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
_WORKSHOP = _CACHES | {".eggs", ".hypothesis", ".nox", ".tox", "node_modules"}
_LARGE = 64 << 20  # a data set; the temporary copy links to it
_SMALL = 1 << 20  # a readme or a licence; what lies beside the project is copied up to this
# Files of a parent directory that would make uv or a backend see another project.
_OF_THE_PARENT = frozenset({"pyproject.toml", "setup.cfg", "setup.py", "uv.lock", "uv.toml"})
_MARKS = ("pyvenv.cfg", "CACHEDIR.TAG", "envpack.json")
PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_TEXTS = (".build", ".cfg", ".in", ".py", ".toml")
_MODULES = (".py", ".so", ".pyd", ".pyx")


def is_cache(path: str) -> bool:
    """Say whether the directory is a cache, a virtual environment or version control's own."""
    return os.path.basename(path) in _CACHES or _is_marked(path)


def _is_marked(path: str) -> bool:
    """Say whether a directory declares itself an environment (PEP 405), a cache, or a download."""
    return any(os.path.isfile(os.path.join(path, name)) for name in _MARKS)


def files_below(folder: str) -> Iterator[tuple[str, str]]:
    """Yield (path relative to `folder`, path) of its regular files, sorted, links followed.

    A link to a directory above itself is left out. Raises SourceFault if one cannot be listed.
    """
    yield from _files(folder, "", ())


def _files(folder: str, below: str, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise SourceFault(f"cannot list `{folder}`: {error.strerror}") from error
    for entry in entries:
        if entry.is_dir():
            if not is_cache(entry.path):
                yield from _files(entry.path, f"{below}{entry.name}/", (*above, real))
        elif entry.is_file():
            yield below + entry.name, entry.path


def has_modules(folder: str) -> bool:
    """Say whether a directory holds anything importable, at any depth."""
    return any(name.endswith(_MODULES) for name, _ in files_below(folder))


def anchor_of(source: str) -> str:
    """Return the top of the repository that `source` lies in, `source` itself if in none."""
    folder = source
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return source
        folder = parent
    return folder


def copy_source(source: str, anchor: str, into: str, *, name: str, whole: bool) -> str:
    """Copy the project in `source` below `into`, and return where it is now.

    The copy keeps its place below `anchor`, with the small files of the directories between
    (`../README.md`); `whole` copies all of `anchor`. `name` is the name of the top directory.
    """
    top = os.path.join(into, name)
    below = os.path.relpath(source, anchor)
    target = os.path.normpath(os.path.join(top, below))
    os.makedirs(into, exist_ok=True)
    # hatchling looks for a .gitignore up to the root of the file system
    with open(os.path.join(into, ".gitignore"), "wb"):
        pass
    if whole:
        _copy(anchor, top, anchor, ())
        return target
    _copy(source, target, source, ())
    folder = source
    while folder != anchor:
        folder = os.path.dirname(folder)
        beside = os.path.normpath(os.path.join(top, os.path.relpath(folder, anchor)))
        for entry in _entries(folder):
            hidden = entry.name.startswith(".") and entry.name != ".gitignore"
            if hidden or entry.name in _OF_THE_PARENT or not entry.is_file():
                continue
            if entry.stat().st_size <= _SMALL:
                _copy_file(entry.path, os.path.join(beside, entry.name))
    return target


def _copy(folder: str, target: str, root: str, above: tuple[str, ...]) -> None:
    """Copy a directory, without what no build needs. What cannot be read is left out."""
    real = os.path.realpath(folder)
    if real in above:
        return
    os.makedirs(target, exist_ok=True)
    at_root = any(os.path.isfile(os.path.join(folder, name)) for name in PROJECT_FILES)
    skip = _skipped_at_root(folder) if at_root else _is_workshop
    for entry in _entries(folder):
        place = os.path.join(target, entry.name)
        if entry.is_dir():
            if skip(entry.path):
                continue
            inside = os.path.realpath(entry.path).startswith(os.path.realpath(root) + os.sep)
            if entry.is_symlink() and not inside:
                os.symlink(os.path.realpath(entry.path), place)
            else:
                _copy(entry.path, place, root, (*above, real))
        elif entry.is_file():
            _copy_file(entry.path, place)


def _is_workshop(path: str) -> bool:
    return os.path.basename(path) in _WORKSHOP or _is_marked(path)


def _skipped_at_root(root: str) -> Callable[[str], bool]:
    """Return the rule for the directories of a project's root.

    setuptools takes up what an old build left in `build/lib`. A directory that a literal line of
    .gitignore names, that holds no module and that no file of the build names, is data.
    """
    texts = ""
    for entry in _entries(root):
        if entry.name.endswith(_TEXTS) and entry.is_file() and entry.stat().st_size <= _SMALL:
            texts += any_text(entry.path)
    lines = any_text(os.path.join(root, ".gitignore")).splitlines()
    ignored = {line.strip().strip("/") for line in lines if not line.startswith(("#", "!"))}

    def skip(path: str) -> bool:
        name = os.path.basename(path)
        if _is_workshop(path):
            return True
        if name in {"build", "dist"} and not os.path.isfile(os.path.join(path, "__init__.py")):
            return True
        return name in ignored and name not in texts and not _holds_modules(path)

    return skip


def _holds_modules(folder: str) -> bool:
    try:
        return has_modules(folder)
    except SourceFault:
        return False


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []


def plain_mode(path: str) -> None:
    """Give a file one of the two modes of archives, as builds may take over what it has."""
    os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)


def _copy_file(path: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        if os.stat(path).st_size > _LARGE:
            os.symlink(os.path.realpath(path), target)
        else:
            shutil.copy2(path, target)
            plain_mode(target)
    except PermissionError:  # not readable here, so no build ever read it
        return
