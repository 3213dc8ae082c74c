"""Archives of interpreters that were made elsewhere: a company's build, in uv's shape.

The shape is python-build-standalone's: one folder at the top, an installation in it or in its
`install/` (`full` archives), tar.gz, tar.zst, tar or zip. What an archive holds is read from what
is inside, whatever its name: the version from `patchlevel.h`, the machine from the executable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from envpack.archive.read import members
from envpack.errors import ProjectFault, UsageError
from envpack.foreign import described
from envpack.target import Target, target_in

SUFFIXES = (".tar.gz", ".tgz", ".tar.zst", ".tar", ".zip")
"""Of archives that uv unpacks."""

_INSIDE = re.compile(r"[^/]+/(?:install/)?(?P<name>[^/]+(?:/.+)?)")
_PATCHLEVEL = re.compile(r"(?i:include)/(?:python3\.\d+t?/)?patchlevel\.h")
_EXECUTABLE = re.compile(r"bin/python3\.\d+t?|python(?:3\.\d+t?)?\.exe")
_VERSION = re.compile(rb'^#\s*define\s+PY_VERSION\s+"(3\.\d+\.\d+\w*)', re.MULTILINE)
_FREE = re.compile(r"python3\.\d+t\b")
_LARGEST_HEADER = 1 << 20
_HINT = "it wants the shape of python-build-standalone's `install_only` archives"


@dataclass(frozen=True, slots=True)
class PythonArchive:
    """An interpreter's archive at `path`: its full version, machine, and kind."""

    path: str
    version: str
    target: Target
    free_threaded: bool

    @property
    def key(self) -> str:
        """The name that uv would give it, such as `cpython-3.12.1-linux-x86_64-gnu`."""
        variant = "+freethreaded" if self.free_threaded else ""
        return "-".join((f"cpython-{self.version}{variant}", *self.target))


def archives_in(paths: Iterable[str]) -> tuple[PythonArchive, ...]:
    """Read what the archives at `paths` hold, each a file or a folder of them.

    Raises UsageError for a path at which there is none, and ProjectFault for an archive that holds
    no CPython, or is damaged.
    """
    found = []
    for path in paths:
        names = [path]
        if os.path.isdir(path):
            inside = sorted(name for name in os.listdir(path) if name.endswith(SUFFIXES))
            names = [os.path.join(path, name) for name in inside]
            if not names:
                raise UsageError(f"no archive of a Python in `{path}`")
        elif not os.path.isfile(path):
            raise UsageError(f"no archive of a Python at `{path}`")
        found += [read_archive(name) for name in names]
    return tuple(found)


def read_archive(path: str) -> PythonArchive:
    """Read the version and machine of the interpreter in one archive; raises ProjectFault."""
    if not path.endswith(SUFFIXES):
        raise ProjectFault(f"`{path}` is no archive that uv unpacks", hint=_HINT)
    version, target, free = "", None, False
    with described(path, "damaged", ProjectFault):
        for member in members(path):
            match = _INSIDE.fullmatch(member.name)
            name = match["name"] if match else ""
            if member.link is None and _PATCHLEVEL.fullmatch(name):
                if member.size > _LARGEST_HEADER:
                    raise ValueError(f"its `{name}` is no header")
                stated = _VERSION.search(member.data.read())
                version = stated[1].decode() if stated else ""
            elif member.link is None and _EXECUTABLE.fullmatch(name):
                target = target or target_in(member.data)
            free = free or _FREE.search(name) is not None
            if version and target and target.os != "windows":  # there `t` is in a late name
                break
    if not version or target is None:
        lack = "executable of a Python" if version else "`patchlevel.h` of a CPython"
        raise ProjectFault(f"`{path}` holds no {lack}", hint=_HINT)
    return PythonArchive(os.path.abspath(path), version, target, free)
