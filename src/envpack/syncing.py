"""The `sync` command: a project's environment from a folder that `download` filled, offline.

What an index would give is installed from the folder before uv looks, so that uv finds nothing to
fetch; PEP 610's direct_url.json tells it that a wheel is the git or URL dependency of the lock.
Local members are uv's own to install. Nothing is written into the project but its environment.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from packaging.pylock import PackageDirectory

from envpack import foreign
from envpack.bundled.marking import lines_of
from envpack.choice import choose
from envpack.covering import covering
from envpack.distributions import distributions_in
from envpack.errors import EnvironmentFault, FindingError, OutputFault, ProjectFault
from envpack.held import scratch_folder
from envpack.layout_record import read_folder, uv_of
from envpack.listener import Listener, Silent
from envpack.lock import (
    Locked,
    LockFile,
    Scope,
    check_fresh,
    export,
    find_lock,
)
from envpack.platforms import Target, current, pythons_named
from envpack.programs import uv_triple
from envpack.settings import NAME as SETTINGS
from envpack.settings import configure, is_ours
from envpack.sync_python import python_for
from envpack.uv import Uv, UvFault
from envpack.wheelhouse import Listed, Record, Stored, pylock_text, write_text

_SCHEMA = "envpack.sync/1"


class TamperedError(FindingError):
    """A file of the folder is not the one that was downloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What became of the environment, and what plain uv wants to know to leave it so.

    `settings` are lines of a uv.toml.
    """

    environment: str
    folder: str
    python: str
    packages: int
    members: tuple[str, ...]
    settings: tuple[str, ...]
    configured: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document of the schema `envpack.sync/1`."""
        return {
            "schema": _SCHEMA,
            "environment": self.environment,
            "folder": self.folder,
            "python": self.python,
            "packages": self.packages,
            "members": list(self.members),
            "settings": list(self.settings),
            "configured": self.configured,
        }


def sync(
    folder: str | os.PathLike[str],
    *,
    project: str | os.PathLike[str] = ".",
    environment: str | None = None,
    python: str | None = None,
    scope: Scope | None = None,
    configure: str | None = None,
    listener: Listener | None = None,
) -> SyncReport:
    """Make or update a project's environment from `folder`, without a network.

    `environment` is where, `.venv` beside uv.lock if None. `python` is a request of uv's for an
    interpreter, `scope` which extras, groups and members. `configure` is the folder of a uv.toml to
    write, by which plain uv stays offline. uv.lock and pyproject.toml are only read.

    Raises ProjectFault if the folder does not cover the lock, with all that is missing, and
    TamperedError for files that are not what was downloaded; before anything is installed.
    """
    found = read_folder(os.path.abspath(os.fspath(folder)))
    if found is None or "targets" not in found[2].about:
        raise ProjectFault(
            f"`{folder}` is no finished download",
            hint="fill it with `envpack download -o`, on a machine with a network",
        )
    root, wheels, record = found
    run = _Sync(
        folder=root,
        wheels=os.path.join(root, wheels),
        uv=uv_of(root, record, uv_triple(current())) or Uv.find(),
        lock=find_lock(os.fspath(project)),
        scope=scope or Scope(),
        listener=listener or Silent(),
    )
    if configure and is_ours(os.path.join(configure, SETTINGS)):
        run.configure(configure)  # uv refuses to run if what it says has moved away
    version, request = python_for(run.uv, run.lock, run.folder, record, python, run.listener.say)
    check_fresh(run.uv, run.lock)
    place = environment or os.path.join(run.lock.root, ".venv")
    with scratch_folder() as scratch:
        locked = export(run.uv, run.lock, run.scope, scratch)
        listed, members = run.chosen(locked, record, version)
        run.check(listed)
        run.make(place, request)
        run.install(place, listed, scratch)
        run.mark(place, listed)
        run.join(place, members)
    return SyncReport(
        environment=place,
        folder=run.folder,
        python=version,
        packages=len(listed),
        members=members,
        settings=run.settings(),
        configured=run.configure(configure) if configure else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sync:
    """One run: the steps in their order."""

    folder: str
    wheels: str
    uv: Uv
    lock: LockFile
    scope: Scope
    listener: Listener

    def chosen(
        self, locked: Locked, record: Record, version: str
    ) -> tuple[tuple[Listed, ...], tuple[str, ...]]:
        """Return the files of the folder to install, and the members that uv installs itself."""
        target = Target(current(), pythons_named([version])[0])
        choices, lacks = choose(locked.pylock, [target])
        missing = [f"{lack.package.name} {lack.package.version}" for lack in lacks]
        listed, members = [], []
        for choice in choices:
            if isinstance(choice.source, PackageDirectory):
                members.append(str(choice.package.name))
                continue
            stored = covering(choice, record, target)
            if stored is None:
                missing.append(f"{choice.package.name} {choice.package.version or ''}".strip())
                continue
            name = str(choice.package.name)
            wheels = (stored,) if stored.path.endswith(".whl") else ()
            sdist = None if wheels else stored
            listed.append(Listed(name, stored.version, None, wheels, sdist))
        if missing:
            raise ProjectFault(
                f"`{self.folder}` does not cover the lock for {target}: {', '.join(missing)}"
                f" {'is' if len(missing) == 1 else 'are'} missing",
                hint="download again with the same options, on a machine with a network",
            )
        return tuple(listed), tuple(members)

    def check(self, listed: Sequence[Listed]) -> None:
        """Refuse files that are gone or not what was downloaded."""
        for file in _files(listed):
            path = os.path.join(self.folder, *file.path.split("/"))
            digest = foreign.sha256_of(path, TamperedError)
            if digest is None:
                raise TamperedError(f"cannot read `{path}`: there is no such file")
            if digest != file.sha256:
                raise TamperedError(
                    f"`{path}` is not the file that was downloaded: its sha256 is {digest},"
                    f" not {file.sha256}"
                )

    def make(self, place: str, request: str | None) -> None:
        """Create the environment, unless there is one that uv would keep."""
        interpreter = os.path.join(place, "bin", "python")
        if os.path.exists(interpreter) and request is None:
            found = self.uv.run(
                "find the project's Python",
                ["python", "find", "--project", self.lock.project],
                {"UV_PROJECT_ENVIRONMENT": place},
            ).strip()
            if os.path.dirname(os.path.dirname(found)) == os.path.abspath(place):
                return
        self.listener.say(f"Creating {place}")
        args = ["venv", "--quiet", "--offline", "--relocatable", "--clear"]
        args += ["--force"] if _is_begun(place) else []
        args += ["--project", self.lock.project]
        args += ["--python", request] if request else []
        self.uv.run(f"create `{place}`", [*args, place])

    def install(self, place: str, listed: Sequence[Listed], scratch: str) -> None:
        """Install the files, and remove what else is in the environment."""
        folder = os.path.relpath(self.folder, scratch)
        moved = [
            Listed(
                one.name,
                one.version,
                None,
                tuple(_below(file, folder) for file in one.wheels),
                _below(one.sdist, folder) if one.sdist else None,
            )
            for one in listed
        ]
        lock = os.path.join(scratch, "pylock.sync.toml")
        write_text(lock, pylock_text(moved, None))
        args = [
            "pip",
            "sync",
            "--quiet",
            "--offline",
            "--no-config",
            "--preview-features",
            "pylock",
        ]
        args += ["--allow-empty-requirements", "--find-links", self.wheels]
        self.uv.run("install from the folder", [*args, "--python", place, lock])

    def mark(self, place: str, listed: Sequence[Listed]) -> None:
        """Write the direct_url.json by which uv knows a git or URL dependency (PEP 610)."""
        wanted = {file.name: file.origin.direct_url for file in _files(listed)}
        site = _site_packages(place)
        for dist in distributions_in(place, site):
            value = wanted.get(dist.name)
            if value is None:
                continue
            info = os.path.join(place, site, dist.info)
            text = json.dumps(value)
            if dist.direct_url != value:
                _replace_record(info, dist.info, text)
                write_text(os.path.join(info, "direct_url.json"), text)

    def join(self, place: str, members: Sequence[str]) -> None:
        """Let uv install the members, and see that nothing else is left to do."""
        args = ["--project", self.lock.project, "--offline", *self.scope.arguments(self.lock.name)]
        env = {"UV_PROJECT_ENVIRONMENT": place}
        links = ["--find-links", self.wheels]
        try:
            self.uv.run("sync", ["sync", "--quiet", "--frozen", *links, *args], env)
        except UvFault as error:
            hint = None
            if members:
                hint = "`envpack download --with-build-deps` brings what members are built with"
            raise ProjectFault(
                f"uv cannot install the project itself: {error.reason}", hint=hint
            ) from error

    def configure(self, folder: str) -> str:
        """Write a uv.toml; in the project's root the settings of its pyproject.toml count too."""
        own = os.path.realpath(folder) == os.path.realpath(self.lock.root)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise OutputFault(f"cannot make `{folder}`: {error.strerror}") from error
        pyproject = os.path.join(folder, "pyproject.toml") if own else None
        return configure(folder, self.wheels, pyproject)

    def settings(self) -> tuple[str, ...]:
        """Return the lines of a uv.toml by which plain uv stays within the folder."""
        links = json.dumps(self.wheels, ensure_ascii=False)
        return ("offline = true", f"find-links = [{links}]")


def _files(listed: Iterable[Listed]) -> Iterable[Stored]:
    for one in listed:
        yield from one.wheels
        if one.sdist is not None:
            yield one.sdist


def _below(file: Stored, folder: str) -> Stored:
    return replace(file, path=posixpath.join(folder.replace(os.sep, "/"), file.path))


_FIRST = re.compile(r"\.gitignore|\.lock|CACHEDIR\.TAG|bin(/(de)?activate.*|/python.*)?|lib(64)?")


def _is_begun(place: str) -> bool:
    """Say whether a folder holds what `uv venv` writes first, and nothing else.

    It is what a run leaves that was killed; uv itself clears no folder without pyvenv.cfg.
    """
    names = [
        posixpath.join(os.path.relpath(folder, place), name).removeprefix("./")
        for folder, folders, files in os.walk(place)
        for name in (*folders, *files)
    ]
    return "CACHEDIR.TAG" in names and all(_FIRST.fullmatch(name) for name in names)


def _site_packages(place: str) -> str:
    """Return the site-packages directory of an environment, relative to it."""
    lib = os.path.join(place, "lib")
    names = sorted(os.listdir(lib)) if os.path.isdir(lib) else []
    for name in names:
        if name.startswith("python") and os.path.isdir(os.path.join(lib, name, "site-packages")):
            return f"lib/{name}/site-packages"
    raise EnvironmentFault(f"`{place}` has no site-packages")


def _replace_record(info: str, name: str, text: str) -> None:
    """Put the line of a new direct_url.json into RECORD."""
    path = os.path.join(info, "RECORD")
    read = foreign.read_text(path, EnvironmentFault, errors="surrogateescape")
    if read is None:
        raise EnvironmentFault(f"cannot read `{path}`: there is no such file")
    lines = lines_of(read)
    data = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    own = f"{name}/direct_url.json,"
    kept = [line for line in lines if not line.startswith(own)]
    write_text(path, "\n".join([*kept, f"{own}sha256={digest},{len(data)}"]) + "\n")
