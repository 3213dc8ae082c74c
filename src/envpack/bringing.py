"""What one lock names, brought into a folder: chosen, fetched, built, with what builds need."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from packaging.pylock import PackageDirectory

from envpack.acquire import Acquirer
from envpack.acquired import Acquired
from envpack.build_requires import build_requirements, resolved, sources_of
from envpack.builds import Workshop
from envpack.choice import Choice, choose
from envpack.errors import FetchFault, ProjectFault
from envpack.fetch import Fetched, fetch_all
from envpack.fetch import Source as File
from envpack.indexes import Logins
from envpack.listener import Listener
from envpack.lock import Locked, LockFile
from envpack.network import Network
from envpack.parallel import Pool
from envpack.platforms import current
from envpack.uv import Uv, inherited_environment
from envpack.uv_config import read_config
from envpack.wanted import Wanted
from envpack.wheelhouse import SDISTS, WHEELS, Record

_FETCHERS = 8
"""Files under way at a time; an index answers late rather than slowly."""


@dataclass(slots=True)
class _Counter:
    """Adds up bytes for the listener."""

    listener: Listener
    size: int = 0

    def __call__(self, size: int) -> None:
        self.size += size
        self.listener.tick(0, self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bringer:
    """Brings what locks name into `folder`, for what is `wanted`.

    `previous` is what the folder held before, whose builds serve again; `wheels` and `sdists` are
    the names of its directories. With `closure` every package of a lock has a file, needed here or
    not. With `members` the trees of the project itself become wheels too.
    """

    uv: Uv
    folder: str
    wanted: Wanted
    previous: Record | None
    build: bool
    jobs: int | None
    listener: Listener
    wheels: str = WHEELS
    sdists: str = SDISTS
    closure: bool = False
    members: bool = True
    taken: Mapping[str, str] = field(default_factory=dict)

    def bring(self, locked: Locked, lock: LockFile | None, scratch: str) -> Acquired:
        """Choose, fetch and build; `scratch` is a free directory.

        Raises ProjectFault for a package that has no file for a target, FetchFault and BuildFault.
        """
        wanted = self.wanted
        chosen, lacks = choose(
            locked.pylock,
            wanted.targets,
            every=wanted.every,
            sdists=wanted.sdists,
            closure=self.closure,
        )
        for lack in lacks:
            if lack.target.python not in wanted.every:
                raise ProjectFault(
                    f"`{lack.package.name}` {lack.package.version} has no wheel for {lack.target},"
                    " and the lock names no sdist of it"
                )
        local = [choice for choice in chosen if isinstance(choice.source, PackageDirectory)]
        choices = [each for each in chosen if self.members or each not in local]
        config = read_config(lock.root if lock else os.path.abspath("."), inherited_environment())
        logins, network = Logins.of(config, lambda: self.uv), Network.of(config)
        with Pool(self.jobs) as pool:
            acquirer = Acquirer(
                folder=self.folder,
                base=locked.base,
                root=lock.root if lock else locked.base,
                workshop=Workshop(self.uv, current(), scratch, lock.project if lock else None),
                fetch=partial(self._fetch, logins=logins, network=network),
                pool=pool,
                previous=self.previous,
                build=self.build,
                keep_sdists=wanted.sdists or self.closure,
                say=self.listener.say,
                version=self.uv.version(),
                wheels=self.wheels,
                sdists=self.sdists,
                taken=self.taken,
            )
            acquired = acquirer.acquire(choices, lacks)
            if wanted.build_deps and lock is not None:
                self._add_build_deps(acquirer, locked, lock, local, acquired)
        acquired.notes = tuple(dict.fromkeys(logins.notes))
        return acquired

    def _add_build_deps(
        self,
        acquirer: Acquirer,
        locked: Locked,
        lock: LockFile,
        choices: Sequence[Choice],
        acquired: Acquired,
    ) -> None:
        """Bring what the members of the workspace and local dependencies are built with."""
        wanted, packages = self.wanted, locked.pylock.packages
        python = min((t.python for t in wanted.targets), key=lambda each: each.release)
        local = {str(package.name) for package in packages if package.directory is not None}
        local |= sources_of(lock.root)
        folders = [
            os.path.normpath(os.path.join(locked.base, choice.source.path))
            for choice in choices
            if isinstance(choice.source, PackageDirectory)
        ]
        for folder in dict.fromkeys(folders):
            self.listener.say(f"Asking what {os.path.basename(folder)} is built with")
            names = build_requirements(acquirer.workshop, folder, python, local)
            if not names:
                continue
            found = resolved(acquirer.workshop, names, python)
            picked, lacks = choose(
                found.pylock,
                wanted.targets,
                every=wanted.every,
                sdists=wanted.sdists,
                closure=self.closure,
            )
            more = acquirer.acquire(picked, lacks)
            acquired.add_build(more)

    def _fetch(
        self, files: Sequence[File], *, logins: Logins, network: Network
    ) -> dict[str, Fetched]:
        self.listener.planned(len(files), sum(file.size or 0 for file in files))
        try:
            return fetch_all(
                files,
                credentials=logins,
                network=network,
                jobs=self.jobs or _FETCHERS,
                tick=_Counter(self.listener),
            )
        except FetchFault as fault:
            fault.hint = "; ".join(dict.fromkeys(logins.notes)) or fault.hint
            raise
