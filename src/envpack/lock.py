"""A project's uv.lock as uv itself exports it: PEP 751, read by `packaging.pylock`.

uv.lock is never parsed here and never written: `uv export --frozen` says what it holds, for every
platform and Python at once, and `uv lock --check` whether it fits pyproject.toml.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import Pylock

from envpack import foreign
from envpack.errors import ProjectFault
from envpack.foreign import LOCKS, any_text, described, sha256_of, table_in
from envpack.uv import Uv, UvFault

_NAMING = ("name", "version")
_STALE = ("needs to be updated", "No solution found")

ROOT = "."
"""Stands for the project itself among `Scope.packages`."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of a lock is wanted, in the words of uv's options.

    `packages` are workspace members, ROOT for the project the command runs in.
    """

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    packages: tuple[str, ...] = (ROOT,)
    all_extras: bool = False
    all_groups: bool = False
    all_packages: bool = False
    no_dev: bool = False

    def joined(self, other: Scope) -> Scope:
        """Return the scope that holds both."""
        return Scope(
            extras=_union(self.extras, other.extras),
            groups=_union(self.groups, other.groups),
            packages=_union(self.packages, other.packages),
            all_extras=self.all_extras or other.all_extras,
            all_groups=self.all_groups or other.all_groups,
            all_packages=self.all_packages or other.all_packages,
            no_dev=self.no_dev and other.no_dev,
        )

    def arguments(self, project: str | None) -> list[str]:
        """Return the options for uv; `project` is the name that ROOT stands for."""
        args = [word for name in self.extras for word in ("--extra", name)]
        args += [word for name in self.groups for word in ("--group", name)]
        if self.packages != (ROOT,):
            names = [project if name == ROOT else name for name in self.packages]
            args += [word for name in names if name for word in ("--package", name)]
        flags = ("all_extras", "all_groups", "all_packages", "no_dev")
        return args + [f"--{flag.replace('_', '-')}" for flag in flags if getattr(self, flag)]

    def to_json(self) -> dict[str, Any]:
        """Return the scope as JSON has it; what is off or empty is left out."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {k: list(v) if isinstance(v, tuple) else v for k, v in pairs if v}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Scope:
        """Return the scope that `to_json` wrote."""
        return cls(
            extras=tuple(value.get("extras", ())),
            groups=tuple(value.get("groups", ())),
            packages=tuple(value.get("packages", ())),
            all_extras=bool(value.get("all_extras")),
            all_groups=bool(value.get("all_groups")),
            all_packages=bool(value.get("all_packages")),
            no_dev=bool(value.get("no_dev")),
        )


@dataclass(frozen=True, slots=True)
class LockFile:
    """A uv.lock and the project of the directory it was asked for in.

    `project` is the directory of the nearest pyproject.toml, `name` and `version` what that says;
    `root` is the directory of uv.lock, the workspace's.
    """

    project: str
    root: str
    name: str | None
    version: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Locked:
    """What is locked; paths in `pylock` are relative to the directory `base`."""

    pylock: Pylock
    base: str


def find_lock(directory: str) -> LockFile:
    """Find the project of `directory` and its lock; raises ProjectFault if one is missing.

    Only from the folder that everything starts in, ".", is a project looked for further up: one
    that was named is meant itself.
    """
    project = _project_at(directory)
    root = _nearest(project, "uv.lock")
    if root is None:
        raise ProjectFault(f"`{project}` has no uv.lock", hint="make it: `uv lock`")
    table = table_in(read_toml(os.path.join(project, "pyproject.toml")), "project")
    name, version = (text if isinstance(text := table.get(key), str) else None for key in _NAMING)
    digest = sha256_of(os.path.join(root, "uv.lock"), ProjectFault)
    return LockFile(project, root, name, version, digest or "")


def check_fresh(uv: Uv, lock: LockFile) -> None:
    """Raise ProjectFault if the lock does not fit the project's pyproject.toml.

    uv needs no network to see that it does. To see that it does not it may, as what changed can
    be metadata that only a build tells; so it is asked again with the network.
    """
    args = ["lock", "--check", "--project", lock.project]
    try:
        uv.run("check the lock", [*args, "--offline"])
    except UvFault as first:
        fault = first
        if "needs to be updated" not in first.stderr:
            try:
                uv.run("check the lock", args)
            except UvFault as second:
                fault = second
            else:
                return
        if not any(words in fault.stderr for words in _STALE):
            raise ProjectFault(
                f"uv cannot check the lock of `{lock.project}`: {fault.reason}"
            ) from fault
        raise ProjectFault(
            f"the lock of `{lock.project}` does not fit its pyproject.toml",
            hint=f"run `uv lock`; uv says: {fault.reason}",
        ) from fault


def export(uv: Uv, lock: LockFile, scope: Scope, scratch: str) -> Locked:
    """Return what the lock names in `scope`, for every platform; `scratch` is a free directory.

    Raises UvFault for what uv refuses, such as an extra that does not exist.
    """
    path = os.path.join(os.path.realpath(scratch), "pylock.toml")
    args = ["export", "--frozen", "--quiet", "--format", "pylock.toml", "--no-header"]
    args += ["--project", lock.project, "--output-file", path, *scope.arguments(lock.name)]
    uv.run("export the lock", args)
    return read_pylock(path)


def compiled(uv: Uv, files: Sequence[str], python: str, scratch: str) -> Locked:
    """Resolve requirements files for every platform, from the Python version `python` on.

    This asks the index, as requirements files lock nothing. Raises UvFault if there is no solution.
    """
    path = os.path.join(os.path.realpath(scratch), "pylock.toml")
    args = ["pip", "compile", "--universal", "--quiet", "--no-header", "--python-version", python]
    args += ["--format", "pylock.toml", "--output-file", path]
    uv.run("resolve the requirements", [*args, *(os.path.abspath(file) for file in files)])
    return read_pylock(path)


def project_python(uv: Uv, lock: LockFile) -> str:
    """Return the version of the Python that uv takes for the project, such as "3.12.4"."""
    args = ["python", "find", "--show-version", "--project", lock.project]
    return uv.run("find the project's Python", args).strip()


def default_python(uv: Uv, lock: LockFile | None) -> str:
    """Return the minor version of the Python that uv takes for a project, or without one."""
    if lock is not None:
        version = project_python(uv, lock)
    else:
        version = uv.run("find a Python", ["python", "find", "--show-version", "--no-project"])
    return ".".join(version.strip().split(".")[:2])


def requires_python(lock: LockFile) -> str:
    """Return the specifier of the lock's `requires-python`, "" if there is none."""
    value = read_toml(os.path.join(lock.root, "uv.lock")).get("requires-python", "")
    return value if isinstance(value, str) else ""


def pinned_python(lock: LockFile) -> str | None:
    """Return what the nearest .python-version from the project up to the root says, if it does."""
    folder = lock.project
    while True:
        path = os.path.join(folder, ".python-version")
        if os.path.isfile(path):
            lines = (line.strip() for line in any_text(path).splitlines())
            return next((line for line in lines if line and not line.startswith("#")), None)
        parent = os.path.dirname(folder)
        if folder in {lock.root, parent}:
            return None
        folder = parent


def supported_environments(lock: LockFile | None) -> tuple[Marker, ...]:
    """Return the environments that the workspace limits itself to (`tool.uv.environments`)."""
    if lock is None:
        return ()
    table = read_toml(os.path.join(lock.root, "pyproject.toml"))
    words = table_in(table, "tool", "uv").get("environments", [])
    try:
        return tuple(Marker(word) for word in ([words] if isinstance(words, str) else words))
    except (InvalidMarker, TypeError, AttributeError) as error:
        raise ProjectFault(f"`tool.uv.environments` of `{lock.root}`: {error}") from error


def read_pylock(path: str) -> Locked:
    """Read a pylock.toml; raises ProjectFault if it is none."""
    table = read_toml(path)
    with described(path, "no valid pylock.toml", ProjectFault):
        return Locked(Pylock.from_dict(table), os.path.dirname(path))


def read_toml(path: str) -> dict[str, Any]:
    """Read a TOML file; raises ProjectFault if it cannot be."""
    table = foreign.read_toml(path, ProjectFault, most=LOCKS)
    if table is None:
        raise ProjectFault(f"cannot read `{path}`: there is no such file")
    return table


def _project_at(directory: str) -> str:
    """Return the real path of the folder whose pyproject.toml is meant by `directory`."""
    if not directory:
        raise ProjectFault("the project has no name", hint="`--project .` is the folder you are in")
    if not os.path.isdir(directory):
        there = os.path.lexists(directory)
        what = f"`{directory}` is no folder" if there else f"there is no folder `{directory}`"
        raise ProjectFault(f"{what}, so no project is there")
    start = os.path.realpath(directory)
    project = _nearest(start, "pyproject.toml")
    if os.path.normpath(directory) == os.curdir:
        if project is not None:
            return project
        raise ProjectFault(
            "there is no project here: neither this folder nor one above has a pyproject.toml",
            hint="run this in a project, or name its folder with --project",
        )
    if project != start:
        also = f"; `{project}` above it has one" if project else ""
        raise ProjectFault(f"`{directory}` has no pyproject.toml, so it is no project{also}")
    return start


def _nearest(start: str, name: str) -> str | None:
    """Return the nearest directory from `start` up that holds `name`."""
    folder = start
    while not os.path.isfile(os.path.join(folder, name)):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *other}))
