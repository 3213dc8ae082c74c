"""The distributions and programs of a layout, as they come in from its inputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from envpack.acquired import Lacking
from envpack.bringing import Bringer
from envpack.errors import ProjectFault
from envpack.held import replaced
from envpack.layout_grid import Grid
from envpack.layout_inputs import PROJECT, SEED, Environments, Files, Wish, named
from envpack.layout_record import ARCHIVES, PACKAGES, PROGRAMS, Input, Layout
from envpack.listener import Listener
from envpack.lock import Scope
from envpack.programs import PYTHON, UV, bring_pythons, bring_uvs, check_given, copy_file, sha256_of
from envpack.python_archive import PythonArchive
from envpack.uv import Uv
from envpack.wanted import Wanted
from envpack.wheelhouse import Origin, Record, Stored


@dataclass(slots=True, kw_only=True)
class Stock:
    """What is in the folder so far: files by their paths, and the inputs that brought them.

    `old` is the layout that is added to. `fetched` and `built` count what this run did.
    """

    folder: str
    uv: Uv
    grid: Grid
    old: Layout | None
    build: bool
    jobs: int | None
    listener: Listener
    files: dict[str, Stored] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)
    lacking: list[Lacking] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fetched: int = 0
    built: int = 0

    def begin(self, *, prune: bool) -> None:
        """Take what the old layout has; with `prune` its programs and seeds alone."""
        old = self.old
        if old is None:
            return
        self.inputs = [each for each in old.inputs if not prune or each.kind == SEED]
        kept = {path for each in self.inputs for path in each.files}
        kept |= {file.path for file in old.files if file.role in {PYTHON, UV}}
        self.files = {file.path: file for file in old.files if not prune or file.path in kept}

    def take(self, before: Input) -> None:
        """Keep what an earlier run brought for an input."""
        files = self.old.files if self.old else ()
        self.note(before, [file for file in files if file.path in before.files])

    def bring(self, wish: Wish, scratch: str) -> None:
        """Bring what a lock names; `scratch` is a free directory."""
        wanted = Wanted(
            targets=wish.targets,
            every=self.grid.every,
            scope=Scope(),
            sdists=False,
            build_deps=wish.kind == PROJECT,
            python=False,
            python_archives=False,
            uv=False,
        )
        bringer = Bringer(
            uv=self.uv,
            folder=self.folder,
            wanted=wanted,
            previous=self.old.record if self.old else None,
            build=self.build,
            jobs=self.jobs,
            listener=self.listener,
            wheels=PACKAGES,
            sdists=PACKAGES,
            closure=True,
            members=False,
            taken={path: file.sha256 for path, file in self.files.items()},
        )
        acquired = bringer.bring(wish.locked, wish.lock, scratch)
        files = list(acquired.files())
        self.note(Input(wish.kind, wish.name, wish.key, _paths(files)), files)
        self.fetched += acquired.fetched
        self.built += acquired.built
        self.lacking += acquired.lacking
        self.notes += acquired.notes

    def bring_files(self, files: Files) -> None:
        """Copy wheels and sdists that are here."""
        found = []
        for path in files.paths:
            name, version = named(path)
            digest = sha256_of(path)
            place = f"{PACKAGES}/{os.path.basename(path)}"
            there = self.files.get(place)
            if there is not None and there.sha256 != digest:
                raise ProjectFault(f"another file `{os.path.basename(path)}` is in the layout")
            if there is None:
                copy_file(path, os.path.join(self.folder, *place.split("/")))
            size = os.path.getsize(path)
            origin = Origin(path=os.path.basename(path))
            found.append(Stored(place, name, version, digest, size, origin))
        self.note(Input(files.kind, files.name, files.key, _paths(found)), found)

    def bring_environment(self, environment: Environments) -> None:
        """Make wheels of what is installed, but of what is here already and was not patched."""
        here = {(f.name, f.version): f for f in self.files.values() if not f.origin.environment}
        found = []
        for one in environment.installed:
            if not one.patched and (there := here.get((one.name, one.version))):
                found.append(there)
                continue
            self.listener.say(f"Making a wheel of {one.name} {one.version}")
            place = f"{PACKAGES}/{one.file}"
            path = os.path.join(self.folder, *place.split("/"))
            with replaced(path) as new:
                one.write(new)
            digest = sha256_of(path)
            size = os.path.getsize(path)
            origin = Origin(environment=environment.name, patched=one.patched)
            found.append(Stored(place, one.name, one.version, digest, size, origin))
            self.files.pop(place, None)
            self.built += 1
        one_input = Input(environment.kind, environment.name, environment.key, _paths(found))
        self.note(one_input, found)

    def note(self, one: Input, files: Sequence[Stored]) -> None:
        """Enter an input and its files; it replaces the one of that name."""
        same = (each for each in self.inputs if (each.kind, each.name) == (one.kind, one.name))
        for each in list(same):
            self.inputs.remove(each)
        self.inputs.append(one)
        for file in files:
            self.files.setdefault(file.path, replace(file, role=""))

    def bring_programs(
        self, *, python: bool, given: Sequence[PythonArchive], uv: bool, uv_version: str
    ) -> None:
        """Bring interpreters and uv, if they are wanted; those of before stay with them."""
        targets = self.grid.targets(None)
        before = Record({}, tuple(self.files.values()))
        for role in (PYTHON, UV):
            self.files = {p: f for p, f in self.files.items() if f.role != role}
        parts = []
        if python or given:
            self.listener.say("Fetching Python")
            if not python:
                check_given(self.folder, targets, before, given)
            parts.append(
                bring_pythons(
                    self.uv,
                    self.folder,
                    targets,
                    before,
                    given,
                    place=ARCHIVES,
                    named_for_cache=True,
                )
            )
        if uv:
            self.listener.say("Fetching uv")
            platforms = [target.platform for target in targets]
            there = [file.version for file in before.files if file.role == UV]
            version = uv_version or next(iter(there), "")
            parts.append(
                bring_uvs(self.uv, self.folder, platforms, before, place=PROGRAMS, version=version)
            )
        for part in parts:
            self.fetched += part.fetched
            self.files |= {file.path: file for file in part.files}


def _paths(files: Sequence[Stored]) -> tuple[str, ...]:
    return tuple(sorted(file.path for file in files))
