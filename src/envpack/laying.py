"""The `layout` command: a folder from which every project of an offline site lives.

It is made beside its place and changes places with what was there at the end, so a run that was
killed leaves the layout of before, or the new one.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envpack.archive import format_for
from envpack.aside import Aside, aside, put_back, sweep_aside
from envpack.bundle_tree import Entry
from envpack.errors import OutputFault, UsageError
from envpack.held import scratch_folder
from envpack.layout_files import projects
from envpack.layout_grid import Grid, pythons_of
from envpack.layout_inputs import (
    PROJECT,
    REQUIREMENTS,
    AnyWish,
    Environments,
    Files,
    Wish,
    distinct,
    of_environment,
    of_project,
    of_requirements,
    of_seeds,
    of_wheels,
    seeds_key,
)
from envpack.layout_record import (
    ARCHIVES,
    FOLDERS,
    PACKAGES,
    PROGRAMS,
    Input,
    Layout,
    read_layout,
)
from envpack.layout_report import LayoutReport
from envpack.layout_stock import Stock
from envpack.layout_write import SUMS, Writer
from envpack.listener import Listener, Silent
from envpack.lock import LockFile, check_fresh, default_python, find_lock
from envpack.model import Format
from envpack.options import DEFAULT_MTIME
from envpack.output import check_output, written_aside
from envpack.parallel import Pool
from envpack.platforms import Python, platforms_named, pythons_named
from envpack.programs import PYTHON, UV, sha256_of
from envpack.python_archive import PythonArchive, archives_in
from envpack.uv import Uv
from envpack.version import VERSION
from envpack.wheelhouse import RECORD, check_no_links

_SUFFIXES = (".tar.gz", ".tgz", ".tar.zst", ".tar", ".zip")


def layout(
    output: str | os.PathLike[str],
    *,
    projects: Sequence[str | os.PathLike[str]] = (),
    requirements: Sequence[str | os.PathLike[str]] = (),
    wheels: Sequence[str | os.PathLike[str]] = (),
    environments: Sequence[str | os.PathLike[str]] = (),
    platforms: Sequence[str] = (),
    pythons: Sequence[str] = (),
    python: bool = True,
    python_archives: Sequence[str | os.PathLike[str]] = (),
    uv: bool = True,
    uv_version: str = "",
    seeds: bool = True,
    build: bool = True,
    update: bool = False,
    prune: bool = False,
    force: bool = False,
    jobs: int | None = None,
    listener: Listener | None = None,
) -> LayoutReport:
    """Make a folder, or an archive of one, with packages, interpreters and uv; return a report.

    `projects` are directories with a uv.lock, `requirements` files that uv resolves, each by
    itself, `wheels` distribution files or folders of them. What is installed in `environments` is
    made into wheels again, patched or not. `platforms` and `pythons` are words as `download` takes
    them. Without `python` or `uv` neither comes; `python_archives` come instead of uv's
    interpreters. `seeds` are pip and what builds want. With `update` all of it is added to what is
    at `output`; `prune` drops what is not named now. Raises EnvpackError in one of its classes;
    nothing half-made is left then.
    """
    target = os.path.abspath(os.fspath(output))
    form = format_for(target) if target.endswith(_SUFFIXES) else None
    old = _old(target, update=update, force=force, form=form)
    program = Uv.find()
    files = [os.fspath(path) for path in requirements]
    for path in files:
        if not os.path.isfile(path):
            raise UsageError(f"no requirements file at `{path}`")
    if not any((projects, files, wheels, environments)) and old is None:
        raise UsageError("nothing to put into the layout: name a project or requirements")
    locks = [find_lock(os.fspath(path)) for path in projects]
    for lock in locks:
        check_fresh(program, lock)
    found = [of_environment(os.fspath(path)) for path in environments]
    extras = [of_wheels(os.fspath(path)) for path in wheels]
    words = pythons_named(pythons) or (pythons_of(old) if old else ())
    words = words or _default(program, locks, [minor for _, minor in found])
    named = platforms_named(platforms) if platforms else ()
    run = _Run(
        target=target,
        uv=program,
        old=old,
        grid=Grid.of(named, words, None if prune else old, old),
        given=archives_in([os.fspath(path) for path in python_archives]),
        python=python,
        with_uv=uv,
        uv_version=uv_version,
        build=build,
        prune=prune,
        jobs=jobs,
        listener=listener or Silent(),
    )
    with scratch_folder() as scratch:
        wishes: list[AnyWish] = [*run.wishes(locks, files, scratch, seeds=seeds), *extras]
        wishes += [environment for environment, _ in found]
        wishes = distinct(wishes)
        if old is not None and run.is_settled(old, wishes):
            sweep_aside(target)
            return run.unchanged(old)
        with aside(target) as place:
            report = run.filled(place, wishes, scratch, trees=form is None)
            if form is None:
                place.commit()
            else:
                run.listener.say(f"Writing {os.path.basename(target)}")
                _pack(place, target, form, jobs, force=force)
        return report


def _default(uv: Uv, locks: Sequence[LockFile], minors: Sequence[str]) -> tuple[Python, ...]:
    """Return the Pythons of the projects and environments, or the one that uv finds."""
    words = [*(default_python(uv, lock) for lock in locks), *minors]
    return pythons_named(words or [default_python(uv, None)])


def _old(target: str, *, update: bool, force: bool, form: Format | None) -> Layout | None:
    """Return the layout at `target`; raises OutputFault if something else is in the way."""
    put_back(target)
    if form is not None:
        if update:
            raise UsageError("only a folder can be updated")
        check_output(target, form, force=force)
        return None
    if not os.path.lexists(target):
        if update:
            raise OutputFault(f"there is no layout at `{target}`")
        if not os.path.isdir(os.path.dirname(target)):
            raise OutputFault(f"the folder `{os.path.dirname(target)}` does not exist")
        return None
    if not os.path.isdir(target):
        raise OutputFault(f"`{target}` is no folder")
    check_no_links(target, FOLDERS)
    found = read_layout(target)
    if found is None and (update or os.listdir(target)):
        raise OutputFault(
            f"`{target}` is no layout", hint=None if update else "name another folder with -o"
        )
    if found is not None and not update:
        if not force:
            raise OutputFault(
                f"`{target}` exists", hint="add to it with --update, or make it anew with -f"
            )
        return None
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run, its words checked: the steps in their order."""

    target: str
    uv: Uv
    old: Layout | None
    grid: Grid
    given: tuple[PythonArchive, ...]
    python: bool
    with_uv: bool
    uv_version: str
    build: bool
    prune: bool
    jobs: int | None
    listener: Listener

    def wishes(
        self, locks: Sequence[LockFile], files: Sequence[str], scratch: str, *, seeds: bool
    ) -> list[Wish]:
        """Return all that is named, locked; the seeds only if they are not there."""
        grid, found = self.grid, []
        for number, lock in enumerate(locks):
            folder = _folder(scratch, f"project-{number}")
            targets = grid.targets(lock)
            found.append(of_project(self.uv, lock, targets, grid.every, folder))
        targets = grid.targets(None)
        for number, file in enumerate(files):
            self.listener.say(f"Resolving {os.path.basename(file)}")
            folder = _folder(scratch, f"requirements-{number}")
            found.append(of_requirements(self.uv, file, targets, grid.every, folder))
        known = {each.key for each in self.old.inputs} if self.old else set()
        if seeds and seeds_key(targets, grid.every) not in known:
            found.append(of_seeds(self.uv, targets, grid.every, _folder(scratch, "seeds")))
        return found

    def _before(self, wish: AnyWish) -> Input | None:
        """Return what an earlier run brought of the same, if all of it is there."""
        for each in self.old.inputs if self.old else ():
            if (each.kind, each.name, each.key) == (wish.kind, wish.name, wish.key):
                return each if self._there(each.files) else None
        return None

    def _there(self, paths: Iterable[str]) -> bool:
        return all(os.path.isfile(os.path.join(self.target, *path.split("/"))) for path in paths)

    def is_settled(self, old: Layout, wishes: Sequence[AnyWish]) -> bool:
        """Say whether the layout holds all that is wanted already."""
        if self.prune or self.grid.pairs != old.about["targets"]:
            return False
        there = {file.sha256 for file in old.files if file.role == PYTHON}
        if not all(sha256_of(archive.path) in there for archive in self.given):
            return False
        roles = {file.role for file in old.files}
        if (self.python and PYTHON not in roles) or (self.with_uv and UV not in roles):
            return False
        versions = {file.version for file in old.files if file.role == UV}
        if self.uv_version and versions != {self.uv_version}:
            return False
        programs = (file.path for file in old.files if file.role in {PYTHON, UV})
        return self._there(programs) and all(self._before(wish) for wish in wishes)

    def filled(
        self, place: Aside, wishes: Sequence[AnyWish], scratch: str, *, trees: bool
    ) -> LayoutReport:
        """Bring everything into the new folder, and write what tells of it."""
        old = self.old
        if old is not None:
            place.take_over()
        for name in (PACKAGES, PROGRAMS, ARCHIVES):
            os.makedirs(os.path.join(place.path, *name.split("/")), exist_ok=True)
        stock = self._stock(place.path)
        stock.begin(prune=self.prune)
        for number, wish in enumerate(wishes):
            if before := self._before(wish):
                stock.take(before)
            elif isinstance(wish, Files):
                stock.bring_files(wish)
            elif isinstance(wish, Environments):
                stock.bring_environment(wish)
            else:
                stock.bring(wish, _folder(scratch, f"bring-{number}"))
        if old is not None and old.about["targets"] != self.grid.pairs:
            named = {(wish.kind, wish.name) for wish in wishes}
            stock.notes += [
                f"`{each.name}` was not named now: what is new of platforms and Pythons lacks it"
                for each in stock.inputs
                if (each.kind, each.name) not in named and each.kind in {PROJECT, REQUIREMENTS}
            ]
        stock.bring_programs(
            python=self.python, given=self.given, uv=self.with_uv, uv_version=self.uv_version
        )
        layout = Layout(
            about={
                "envpack": VERSION,
                "uv": self.uv.version(),
                "targets": self.grid.pairs,
                "every_platform": [str(python) for python in self.grid.every],
            },
            inputs=tuple(stock.inputs),
            files=tuple(stock.files[path] for path in sorted(stock.files)),
            facts={},
        )
        writer = Writer(place.path, layout, old, trees=trees)
        layout = writer.write()
        before_names = {*old.made, *(file.path for file in old.files)} if old else None
        removed = place.drop_others({*writer.names, RECORD, SUMS}, before_names)
        return self._report(layout, stock, removed)

    def _stock(self, folder: str) -> Stock:
        return Stock(
            folder=folder,
            uv=self.uv,
            grid=self.grid,
            old=self.old,
            build=self.build,
            jobs=self.jobs,
            listener=self.listener,
        )

    def unchanged(self, old: Layout) -> LayoutReport:
        """Return the report of a run that had nothing to do."""
        return self._report(old, self._stock(self.target), ())

    def _report(self, layout: Layout, stock: Stock, removed: Sequence[str]) -> LayoutReport:
        before = {file.path for file in self.old.files} if self.old else set()
        sizes = [file.size for file in layout.files] + [m.size for m in layout.made.values()]
        return LayoutReport(
            output=self.target,
            inputs=tuple(each.name for each in layout.inputs),
            targets=tuple(f"{platform}, Python {python}" for platform, python in self.grid.pairs),
            pythons=tuple(file.name for file in layout.files if file.role == PYTHON),
            packages=len(projects(layout.distributions)),
            files=len(layout.distributions),
            fetched=stock.fetched,
            built=stock.built,
            added=tuple(file.path for file in layout.files if file.path not in before),
            removed=tuple(path for path in removed if path in before),
            patched=tuple(file.path for file in layout.files if file.origin.patched),
            lacking=tuple(stock.lacking),
            warnings=tuple(dict.fromkeys(stock.notes)),
            size=sum(sizes),
        )


def _pack(place: Aside, target: str, form: Format, jobs: int | None, *, force: bool) -> None:
    """Write the folder as one file, and remove it."""
    name = posixpath.basename(target)
    root = next(name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix))
    entries = []
    for folder, folders, files in os.walk(place.path):
        folders.sort()
        for file in sorted(files):
            path = os.path.join(folder, file)
            below = os.path.relpath(path, place.path).replace(os.sep, "/")
            status = os.stat(path)
            entries.append(Entry(below, path, status.st_size, bool(status.st_mode & 0o100)))
    with written_aside(target, form, force=force) as temporary, Pool(jobs) as pool:
        members = (entry.member(f"{root}/") for entry in entries)
        form.write(members, temporary, level=None, mtime=DEFAULT_MTIME, pool=pool)
    place.discard()


def _folder(scratch: str, name: str) -> str:
    path = os.path.join(scratch, name)
    os.makedirs(path, exist_ok=True)
    return path
