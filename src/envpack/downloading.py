"""The `download` command: every distribution that a lock names, in a folder, for any machine.

uv resolves (in the lock, long before), exports, and builds; what is chosen for a machine is what
uv would choose there; and files come from where the lock says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from envpack.acquired import Acquired
from envpack.bringing import Bringer
from envpack.choice import targets_of
from envpack.download_report import DownloadReport
from envpack.errors import OutputFault, UsageError
from envpack.held import is_empty, scratch_folder, sweep
from envpack.listener import Listener, Silent
from envpack.lock import (
    Locked,
    LockFile,
    Scope,
    check_fresh,
    compiled,
    default_python,
    export,
    find_lock,
    supported_environments,
)
from envpack.platforms import platforms_named, pythons_named
from envpack.programs import UV, Brought, bring_pythons, bring_uvs, check_given
from envpack.python_archive import PythonArchive, archives_in
from envpack.uv import Uv
from envpack.version import VERSION
from envpack.wanted import Wanted
from envpack.wheelhouse import (
    BUILD_REQUIREMENTS,
    DIRECTORY,
    FILE,
    PROGRAM,
    PYLOCK,
    PYTHONS,
    RECORD,
    REQUIREMENTS,
    SDISTS,
    UVS,
    WHEELS,
    Record,
    check_no_links,
    pylock_text,
    read_record,
    record_text,
    remove_others,
    requirements_text,
    set_mode,
    write_text,
)

_ANOTHER = "name another folder with -o"


def download(
    folder: str | os.PathLike[str],
    *,
    project: str | os.PathLike[str] = ".",
    requirements: Sequence[str | os.PathLike[str]] = (),
    platforms: Sequence[str] = ("current",),
    pythons: Sequence[str] = (),
    scope: Scope | None = None,
    sdists: bool = False,
    build: bool = True,
    build_deps: bool = False,
    with_python: bool = False,
    python_archives: Sequence[str | os.PathLike[str]] = (),
    with_uv: bool = False,
    prune: bool = False,
    jobs: int | None = None,
    listener: Listener | None = None,
) -> DownloadReport:
    """Bring every distribution that a project's uv.lock names into `folder`, and return a report.

    `platforms` and `pythons` are words as `--platform` and `--python` take them, for every
    combination of which the folder is complete afterwards; without `pythons` it is the project's.
    `scope` is which extras, groups and members. `requirements` are files that uv resolves instead
    of a project. `with_python` and `with_uv` bring an interpreter and uv itself for each of them;
    `python_archives` are files, or folders of them, that come first, or instead of uv's.

    What the folder held before stays, and is joined by this, unless `prune`. The lock and the
    project are only read. Raises EnvpackError in one of its classes.
    """
    listener = listener or Silent()
    folder = os.path.abspath(os.fspath(folder))
    words = pythons_named(pythons)
    named = platforms_named(platforms or ("current",))
    files = tuple(os.fspath(path) for path in requirements)
    for path in files:
        if not os.path.isfile(path):
            raise UsageError(f"no requirements file at `{path}`")
    given = archives_in([os.fspath(path) for path in python_archives])
    uv = Uv.find()
    lock = None if files else find_lock(os.fspath(project))
    if lock is not None:
        check_fresh(uv, lock)
    told = _project_words(lock, files)
    previous = _previous(folder, told)
    words = words or pythons_named([default_python(uv, lock)])
    targets = targets_of(named, words, supported_environments(lock))
    every = words if named is None else ()
    wanted = Wanted(
        targets=targets,
        every=every,
        scope=scope or Scope(),
        sdists=sdists,
        build_deps=build_deps,
        python=with_python,
        python_archives=bool(given),
        uv=with_uv,
    )
    if previous is not None and not prune:
        wanted = wanted.joined(previous.about)
    if wanted.python_archives and not wanted.python:
        check_given(folder, wanted.targets, previous, given)
    run = _Run(
        folder=folder,
        uv=uv,
        lock=lock,
        requirements=files,
        told=told,
        previous=previous,
        wanted=wanted,
        given=given,
        build=build,
        prune=prune,
        jobs=jobs,
        listener=listener,
    )
    with scratch_folder() as scratch:
        locked = run.locked(scratch)
        acquired = run.acquired(locked, scratch)
        return run.finished(locked, acquired, run.programs())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One download, its words checked: the steps in their order."""

    folder: str
    uv: Uv
    lock: LockFile | None
    requirements: tuple[str, ...]
    told: dict[str, Any]
    previous: Record | None
    wanted: Wanted
    given: tuple[PythonArchive, ...]
    build: bool
    prune: bool
    jobs: int | None
    listener: Listener

    def locked(self, scratch: str) -> Locked:
        """Return what is locked, or resolve what is not."""
        if self.lock is not None:
            return export(self.uv, self.lock, self.wanted.scope, scratch)
        pythons = {*(target.python for target in self.wanted.targets), *self.wanted.every}
        oldest = min(pythons, key=lambda python: python.release)
        self.listener.say("Resolving the requirements, as no lock says what they mean")
        return compiled(self.uv, self.requirements, oldest.version, scratch)

    def acquired(self, locked: Locked, scratch: str) -> Acquired:
        """Choose, fetch and build."""
        self._make_folders()
        bringer = Bringer(
            uv=self.uv,
            folder=self.folder,
            wanted=self.wanted,
            previous=self.previous,
            build=self.build,
            jobs=self.jobs,
            listener=self.listener,
        )
        return bringer.bring(locked, self.lock, scratch)

    def _make_folders(self) -> None:
        """Make the folder, first of all marked as what it is.

        By that builds of a project around it pass it over, and the next run knows it.
        """
        try:
            if not os.path.isdir(self.folder):
                os.makedirs(self.folder)
                os.chmod(self.folder, DIRECTORY)
            if not os.path.lexists(path := os.path.join(self.folder, RECORD)):
                write_text(path, record_text(Record({"project": self.told}, ())))
            for name in (WHEELS, SDISTS):
                os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        except OSError as error:
            raise OutputFault(f"cannot make `{self.folder}`: {error.strerror}") from error
        for name in ("", WHEELS, SDISTS, PYTHONS, UVS):
            sweep(os.path.join(self.folder, name))

    def _let_read(self, names: Sequence[str], programs: Brought) -> None:
        """Give the folder's files and its own folders their modes, as far as they are ours."""
        started = {file.path for file in programs.files if file.role == UV}
        for name in (WHEELS, SDISTS, PYTHONS, UVS):
            set_mode(os.path.join(self.folder, name), DIRECTORY)
        for name in names:
            mode = PROGRAM if name in started else FILE
            with suppress(PermissionError):  # another user's, who shares the folder
                set_mode(os.path.join(self.folder, *name.split("/")), mode)

    def programs(self) -> Brought:
        """Bring interpreters and uv, if they are wanted."""
        targets, parts = self.wanted.targets, []
        if self.wanted.python or self.wanted.python_archives:
            self.listener.say("Fetching Python")
            parts.append(bring_pythons(self.uv, self.folder, targets, self.previous, self.given))
        if self.wanted.uv:
            self.listener.say("Fetching uv")
            platforms = [target.platform for target in targets]
            parts.append(bring_uvs(self.uv, self.folder, platforms, self.previous))
        files = tuple(file for part in parts for file in part.files)
        return Brought(files, sum(part.fetched for part in parts))

    def finished(self, locked: Locked, acquired: Acquired, programs: Brought) -> DownloadReport:
        """Write what says what the folder holds, last of all, and remove what is left over."""
        files = (*acquired.files(), *programs.files)
        requires = locked.pylock.requires_python
        about = {
            "envpack": VERSION,
            "uv": self.uv.version(),
            "project": self.told,
            **({"lock": self.lock.sha256} if self.lock else {}),
            **self.wanted.to_json(),
        }
        build = requirements_text(acquired.build_packages) if acquired.build_packages else ""
        texts = (
            *([(BUILD_REQUIREMENTS, build)] if build else []),
            (REQUIREMENTS, requirements_text(acquired.packages)),
            (PYLOCK, pylock_text(acquired.packages, str(requires) if requires else None)),
            (RECORD, record_text(Record(about, files))),
        )
        for name, text in texts:
            write_text(os.path.join(self.folder, name), text)
        self._let_read([*(name for name, _ in texts), *(file.path for file in files)], programs)
        removed = remove_others(self.folder, [file.path for file in files]) if self.prune else ()
        with suppress(OSError):
            os.rmdir(os.path.join(self.folder, SDISTS))  # as most have none
        return DownloadReport(
            folder=self.folder,
            project=self.told.get("name") or ", ".join(self.told["requirements"]),
            targets=tuple(str(target) for target in self.wanted.targets),
            files=files,
            fetched=acquired.fetched + programs.fetched,
            built=acquired.built,
            removed=removed,
            lacking=acquired.lacking,
            warnings=acquired.notes,
            size=sum(file.size for file in files),
            resolved=self.lock is None,
        )


def _project_words(lock: LockFile | None, requirements: Sequence[str]) -> dict[str, Any]:
    """Return how envpack.json names what the folder belongs to."""
    if lock is None:
        return {"requirements": sorted(os.path.basename(path) for path in requirements)}
    return {"name": lock.name or os.path.basename(lock.project)}


def _previous(folder: str, told: dict[str, Any]) -> Record | None:
    """Return what the folder holds already; raises OutputFault if that is something else."""
    if not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise OutputFault(f"`{folder}` is no folder")
        return None
    check_no_links(folder, (WHEELS, SDISTS, PYTHONS, UVS))
    previous = read_record(folder)
    if previous is None:
        if os.path.lexists(os.path.join(folder, PYLOCK)):
            raise OutputFault(
                f"`{folder}` holds a {PYLOCK} that envpack did not write", hint=_ANOTHER
            )
        if not is_empty(folder):
            raise OutputFault(
                f"`{folder}` is not empty, and holds no download of envpack's", hint=_ANOTHER
            )
        return None
    if (before := previous.about.get("project")) != told:
        name = (before or {}).get("name") or "other requirements"
        raise OutputFault(f"`{folder}` holds the distributions of `{name}`", hint=_ANOTHER)
    return previous if "targets" in previous.about else None
