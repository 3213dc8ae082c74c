"""Whether a layout is what was laid out, and what it lacks for a project."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from packaging.pylock import PackageDirectory
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envpack import foreign
from envpack.build_requires import sources_of, static_requirements
from envpack.choice import choose, is_supported, targets_of
from envpack.covering import covering
from envpack.errors import ProjectFault
from envpack.held import scratch_folder
from envpack.layout_files import checksums, platforms_of
from envpack.layout_grid import pythons_of
from envpack.layout_inputs import of_project
from envpack.layout_record import PACKAGES, PROGRAMS, SCRIPTS, SIMPLE, Layout, Made, read_layout
from envpack.layout_write import SUMS
from envpack.listener import Listener, Silent
from envpack.lock import Locked, LockFile, check_fresh, find_lock, supported_environments
from envpack.parallel import Pool
from envpack.platforms import Target
from envpack.programs import UV
from envpack.simple_index import PAGE, read_page
from envpack.uv import Uv

_SCHEMA = "envpack.layout-check/1"
_BUILDS = "builds"
_OWN = (PACKAGES, SIMPLE, SCRIPTS, PROGRAMS)


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is wrong, and in which way."""

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A package that a project needs and the layout has no file of.

    `where` is the target that would install it, or "" if uv only needs it to resolve. It is
    `builds` for what members are built with, which no lock names: `version` is the specifier then.
    """

    project: str
    name: str
    version: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutCheck:
    """What was looked at and found. Sizes are in bytes."""

    folder: str
    files: int
    size: int
    findings: tuple[Finding, ...]
    missing: tuple[Missing, ...]
    unknown: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document of the schema `envpack.layout-check/1`."""
        return {
            "schema": _SCHEMA,
            "folder": self.folder,
            "files": self.files,
            "size": self.size,
            "findings": [{"path": one.path, "what": one.what} for one in self.findings],
            "missing": [
                {"project": m.project, "name": m.name, "version": m.version, "where": m.where}
                for m in self.missing
            ],
            "unknown": list(self.unknown),
        }


def check_layout(
    folder: str | os.PathLike[str],
    *,
    projects: Sequence[str | os.PathLike[str]] = (),
    jobs: int | None = None,
    listener: Listener | None = None,
) -> LayoutCheck:
    """Compare every file with its sha256, every link of the index, and the locks of projects.

    Raises ProjectFault if the folder is no layout, or a project has no lock that fits it.
    """
    listener = listener or Silent()
    root = os.path.abspath(os.fspath(folder))
    layout = read_layout(root) if os.path.isdir(root) else None
    if layout is None:
        raise ProjectFault(f"`{folder}` is no layout")
    missing = [one for path in projects for one in _missing(layout, os.fspath(path))]
    wanted = _wanted(layout)
    total = sum(made.size for made in wanted.values())
    listener.planned(len(wanted), total)
    findings, size = [], 0
    with Pool(jobs) as pool:
        tasks = ((partial(_compared, root, name, made), 1) for name, made in wanted.items())
        for made, finding in zip(
            wanted.values(), pool.ordered(tasks, budget=4 * pool.jobs), strict=True
        ):
            size += made.size
            listener.tick(0, size)
            if finding is not None:
                findings.append(finding)
    findings += _of_index(root, layout)
    return LayoutCheck(
        folder=root,
        files=len(wanted),
        size=total,
        findings=tuple(findings),
        missing=tuple(missing),
        unknown=tuple(_unknown(root, wanted)),
    )


def _wanted(layout: Layout) -> dict[str, Made]:
    """Return what every file must be."""
    found = {f.path: Made(f.sha256, f.size, f.role == UV) for f in layout.files}
    found |= layout.made
    data = checksums(layout).encode()
    found[SUMS] = Made(hashlib.sha256(data).hexdigest(), len(data))
    return dict(sorted(found.items()))


def _compared(root: str, name: str, made: Made) -> Finding | None:
    path = os.path.join(root, *name.split("/"))
    try:
        if made.link:
            right = os.path.islink(path) and os.readlink(path) == made.link
            return None if right else Finding(name, f"is no link to `{made.link}`")
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            mode = os.fstat(file.fileno()).st_mode
    except FileNotFoundError:
        return Finding(name, "is gone")
    except OSError as error:
        return Finding(name, f"cannot be read: {error.strerror}")
    if digest != made.sha256:
        return Finding(name, f"has the sha256 {digest}, not {made.sha256}")
    if made.executable and not mode & 0o100:
        return Finding(name, "is not executable")
    return None


def _of_index(root: str, layout: Layout) -> Iterator[Finding]:
    """Yield what is wrong with the links of the index, and the files that no link leads to."""
    known = {file.path: file.sha256 for file in layout.distributions}
    linked = set()
    for name in sorted({file.name for file in layout.distributions}):
        page = f"{SIMPLE}/{name}/{PAGE}"
        try:
            path = os.path.join(root, *page.split("/"))
            with foreign.described(page, "no page of an index", ProjectFault):
                links = read_page(foreign.read_text(path, ProjectFault) or "")
        except ProjectFault:
            continue  # the comparison tells that
        for link in links:
            path = posixpath.normpath(posixpath.join(SIMPLE, name, link.path))
            linked.add(path)
            if known.get(path) is None:
                yield Finding(page, f"leads to `{path}`, which is not of the layout")
            elif known[path] != link.sha256:
                yield Finding(page, f"has another sha256 for `{path}`")
    for path in sorted(set(known) - linked):
        yield Finding(path, "is not in the index")


def _unknown(root: str, wanted: dict[str, Made]) -> Iterator[str]:
    """Yield files among the layout's own that it does not know."""
    for top in _OWN:
        for folder, _, files in os.walk(os.path.join(root, top)):
            below = os.path.relpath(folder, root).replace(os.sep, "/")
            yield from (
                f"{below}/{name}" for name in sorted(files) if f"{below}/{name}" not in wanted
            )


def _missing(layout: Layout, project: str) -> Iterator[Missing]:
    """Yield what a project's lock names and the layout does not have, for each of its targets."""
    uv, lock = Uv.find(), find_lock(project)
    check_fresh(uv, lock)
    targets = targets_of(platforms_of(layout), pythons_of(layout), supported_environments(lock))
    with scratch_folder() as scratch:
        wish = of_project(uv, lock, targets, (), scratch)
    pylock = wish.locked.pylock
    choices, lacks = choose(pylock, targets)
    there = {(file.name, file.version) for file in layout.distributions}
    for lack in lacks:
        yield Missing(wish.name, *_named(lack.package), str(lack.target))
    told = set()
    for choice in choices:
        if isinstance(choice.source, PackageDirectory):
            continue
        for target in choice.targets:
            if covering(choice, layout.record, target) is None:
                told.add(_named(choice.package))
                yield Missing(wish.name, *_named(choice.package), str(target))
    for package in pylock.packages:
        named = _named(package)
        if package.directory is None and named[1] and named not in there | told:
            yield Missing(wish.name, *named, "")
    for wanted in sorted(_built_with(wish.locked, lock, targets), key=str):
        name = canonicalize_name(wanted.name)
        versions = (version for other, version in there if other == name)
        if not any(wanted.specifier.contains(each, prereleases=True) for each in versions):
            yield Missing(wish.name, name, str(wanted.specifier), _BUILDS)


def _built_with(locked: Locked, lock: LockFile, targets: Sequence[Target]) -> set[Requirement]:
    """Return what the lock's members say that they are built with, and that an index must have."""
    folders = {str(p.name): p.directory.path for p in locked.pylock.packages if p.directory}
    elsewhere = {*map(canonicalize_name, folders), *sources_of(lock.root)}
    found = set()
    for folder in folders.values():
        for text in static_requirements(os.path.normpath(os.path.join(locked.base, folder))):
            try:
                wanted = Requirement(text)
            except InvalidRequirement:
                continue
            markers = [wanted.marker] if wanted.marker else []
            if canonicalize_name(wanted.name) in elsewhere:
                continue
            if any(is_supported(target, markers) for target in targets):
                found.add(wanted)
    return found


def _named(package: Any) -> tuple[str, str]:
    return str(package.name), str(package.version or "")
