"""Wheels that uv builds of what a lock has no wheel for: sdists, repositories, directories.

One wheel without a platform serves every target; one with compiled code serves this machine's
alone, and is made once for each Python that wants it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from packaging.utils import parse_wheel_filename

from envpack.archive.read import ArchiveFault
from envpack.archive.unpack import unpack
from envpack.editable_build import Project, build_wheel
from envpack.editable_tree import files_below
from envpack.errors import EnvpackError, SourceFault, ToolFault
from envpack.foreign import sha256_of
from envpack.git import clone
from envpack.platforms import Platform, Python, Target
from envpack.uv import Uv, UvFault

_LOG_LINES = 12


class BuildFault(EnvpackError):
    """A wheel could not be built; the hint holds the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Something to build: `make(python, folder)` returns the path of a new wheel in `folder`.

    `source` is the sha256 of what goes in, or a commit: with the Python it decides the wheel.
    """

    name: str
    source: str
    make: Callable[[str, str], str]


@dataclass(slots=True)
class Workshop:
    """Where wheels are built: with `uv`, on this machine `here`, in folders below `scratch`.

    `project` is the directory whose settings for builds and indexes hold, None for none.
    """

    uv: Uv
    here: Platform
    scratch: str
    project: str | None = None
    _numbers: Iterator[int] = field(default_factory=count)
    _pythons: dict[Python, str | None] = field(default_factory=dict)

    def folder(self) -> str:
        """Make a folder of its own for one build."""
        path = os.path.join(self.scratch, f"build-{next(self._numbers)}")
        os.makedirs(path)
        return path

    def python(self, python: Python) -> str | None:
        """Return the path of an interpreter, None if this machine has none of that version."""
        if python not in self._pythons:
            try:
                self._pythons[python] = self.uv.find_python(str(python))
            except ToolFault:
                self._pythons[python] = None
        return self._pythons[python]

    # ---- recipes -----------------------------------------------------------------------------

    def sdist(self, name: str, path: str, sha256: str) -> Recipe:
        """Return how to build the sdist file at `path`."""

        def make(python: str, folder: str) -> str:
            return self.uv.build_wheel(
                path, folder, python=python, offline=False, env={}, project=self.project
            )

        return Recipe(name, sha256, make)

    def archive(self, name: str, path: str, sha256: str, subdirectory: str) -> Recipe:
        """Return how to build a project inside an archive that is no sdist by its shape."""

        def make(python: str, folder: str) -> str:
            source, out = os.path.join(folder, "source"), os.path.join(folder, "wheel")
            os.makedirs(out)
            inside = os.path.join(_unpacked(path, source), subdirectory)
            return self.uv.build_wheel(inside, out, python=python, offline=False, env={})

        return Recipe(name, f"{sha256}#{subdirectory}", make)

    def directory(self, name: str, version: str, path: str) -> Recipe:
        """Return how to build a local project, from a copy of it."""

        def make(python: str, folder: str) -> str:
            return build_wheel(self.uv, Project(name, version, path), python, folder)

        return Recipe(name, tree_digest(path), make)

    def repository(self, name: str, url: str, commit: str, subdirectory: str) -> Recipe:
        """Return how to build a commit of a git repository."""

        def make(python: str, folder: str) -> str:
            source, out = os.path.join(folder, "source"), os.path.join(folder, "wheel")
            clone(url, commit, source)
            os.makedirs(out)
            inside = os.path.join(source, subdirectory) if subdirectory else source
            return self.uv.build_wheel(inside, out, python=python, offline=False, env={})

        return Recipe(name, f"{commit}#{subdirectory}" if subdirectory else commit, make)

    # ---- building ----------------------------------------------------------------------------

    def wheel(self, recipe: Recipe, python: Python) -> str:
        """Build a wheel; raises BuildFault if that fails, or if the Python is missing."""
        path = self.python(python)
        try:
            # Any Python builds what has no compiled code.
            wheel = recipe.make(path or self.uv.find_python(), self.folder())
        except UvFault as error:
            log = [line for line in error.stderr.splitlines() if line.strip()][-_LOG_LINES:]
            raise BuildFault(
                f"cannot build a wheel of `{recipe.name}`: {error.reason}",
                hint="the last lines of the log:\n" + "\n".join(f"  {line}" for line in log),
            ) from error
        if path is None and not _is_pure(wheel):
            raise BuildFault(
                f"`{recipe.name}` must be built by Python {python}, which this machine has not",
                hint=f"install it: `uv python install {python}`",
            )
        return wheel

    def serves(self, filename: str, target: Target) -> bool:
        """Say whether a wheel that was built here is right for a target.

        Compiled code wants this machine's C library, whatever the wheel's tag allows.
        """
        tags = parse_wheel_filename(filename)[-1]
        if _is_pure(filename):
            return not tags.isdisjoint(target.tags)
        return self.is_mine(target) and not tags.isdisjoint(Target(self.here, target.python).tags)

    def order(self, targets: Sequence[Target]) -> list[Python]:
        """Return the Pythons to try, this machine's targets first."""
        mine = [target.python for target in targets if self.is_mine(target)]
        return list(dict.fromkeys([*mine, *(target.python for target in targets)]))

    def is_mine(self, target: Target) -> bool:
        """Say whether compiled code that is built here is right for a target."""
        platform, version = target.platform, self.here.version
        return platform._replace(version=version) == self.here and platform.version >= version


def _is_pure(path: str) -> bool:
    """Say whether a wheel is for every platform."""
    return all(tag.platform == "any" for tag in parse_wheel_filename(os.path.basename(path))[-1])


def tree_digest(folder: str) -> str:
    """Return a sha256 over the names and contents of a source tree, caches left out."""
    total = hashlib.sha256()
    for name, path in files_below(folder):
        try:
            digest = sha256_of(path)
        except SourceFault:  # what cannot be read is in no build either
            continue
        if digest is not None:
            told = name.encode("utf-8", "surrogateescape") + b"\0"
            total.update(told + bytes.fromhex(digest))
    return total.hexdigest()


def _unpacked(path: str, into: str) -> str:
    """Unpack a source archive and return its one top directory; raises BuildFault."""
    try:
        unpack(path, into)
    except ArchiveFault as fault:
        raise BuildFault(str(fault)) from fault
    names = os.listdir(into)
    return os.path.join(into, names[0]) if len(names) == 1 else into
