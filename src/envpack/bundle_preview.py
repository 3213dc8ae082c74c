"""What `bundle --dry-run` tells: what would travel, and how large it is as far as that is known.

Nothing is fetched, built or written; the lock tells what a file takes if the index told it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from packaging.pylock import PackageArchive, PackageDirectory, PackageVcs, PackageWheel

from envpack.choice import Source, choose, targets_of
from envpack.lock import Locked, LockFile, project_python, supported_environments
from envpack.platforms import Target, platforms_named, pythons_named
from envpack.programs import newest, python_key, uv_triple
from envpack.python_archive import PythonArchive
from envpack.sources import Sources
from envpack.uv import Uv


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that would travel: `size` in bytes, None if it is not known before it is made."""

    kind: str
    name: str
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePreview:
    """What a bundle would hold, and what would stay home, each with its reason."""

    output: str
    project: str
    platforms: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def size(self) -> int:
        """The bytes of all that is known."""
        return sum(row.size or 0 for row in self.rows)

    @property
    def unknown(self) -> int:
        """How many have a size that is not known."""
        return sum(row.size is None for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON document of the schema `envpack.bundle-preview/1`."""
        return {
            "schema": "envpack.bundle-preview/1",
            "output": self.output,
            "project": self.project,
            "platforms": list(self.platforms),
            "size": self.size,
            "unknown": self.unknown,
            "files": [{"kind": r.kind, "name": r.name, "size": r.size} for r in self.rows],
            "left_out": [{"path": path, "why": why} for path, why in self.left_out],
        }


def targets_for(
    uv: Uv, lock: LockFile, platforms: Sequence[str], pythons: Sequence[str]
) -> tuple[Target, ...]:
    """Return what a bundle is for."""
    default = ".".join(project_python(uv, lock).split(".")[:2]) if not pythons else ""
    words = pythons_named(pythons or [default])
    return targets_of(platforms_named(platforms), words, supported_environments(lock))


def rows_of(
    locked: Locked,
    targets: Sequence[Target],
    sources: Sources,
    given: Sequence[PythonArchive],
    *,
    python: bool,
    uv: bool,
    with_git: bool,
) -> tuple[Row, ...]:
    """Return what would travel, the sources first."""
    rows = []
    for name in sources.files:
        size = os.path.getsize(os.path.join(sources.root, *name.split("/")))
        rows.append(Row("source", name, size))
    rows += [Row("source", name, 0) for name, _ in sources.links]
    choices, _ = choose(locked.pylock, targets, every=(), sdists=False)
    for choice in choices:
        source, package = choice.source, choice.package
        title = f"{package.name} {package.version or ''}".strip()
        if isinstance(source, PackageWheel) or _is_wheel(source):
            rows.append(Row("wheel", title, source.size))
        elif isinstance(source, PackageDirectory):
            rows.append(Row("built", f"{title}, a wheel of its sources, and what builds it", None))
        else:
            rows.append(Row("built", f"{title}, a wheel that is built", None))
        if with_git and isinstance(source, PackageVcs):
            rows.append(Row("git", f"{source.url}, its repository", None))
    for key in dict.fromkeys(python_key(t.platform, t.python) for t in targets) if python else ():
        found = newest(key, given)
        given_size = os.path.getsize(found.path) if found else None
        rows.append(Row("python", found.key if found else key, given_size))
    if uv:
        names = dict.fromkeys(uv_triple(target.platform) for target in targets)
        rows += [Row("uv", f"uv-{name}", None) for name in names]
    return tuple(rows)


def _is_wheel(source: Source) -> TypeGuard[PackageArchive]:
    return isinstance(source, PackageArchive) and (source.url or "").endswith(".whl")
