"""What a lock names, brought into a folder: fetched as it is, or built where there is no wheel."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
)
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from envpack.acquired import Acquired, Lacking
from envpack.builds import BuildFault, Recipe, Workshop
from envpack.choice import Choice, Lack
from envpack.errors import ProjectFault, SourceFault
from envpack.fetch import Fetched
from envpack.fetch import Source as File
from envpack.foreign import sha256_of
from envpack.held import replaced
from envpack.parallel import Pool
from envpack.platforms import Target
from envpack.urls import shown
from envpack.wheelhouse import SDISTS, WHEELS, Built, Listed, Origin, Record, Stored


class Fetch(Protocol):
    """How files come here: all of them, by their destinations."""

    def __call__(self, files: Sequence[File], /) -> dict[str, Fetched]:
        """Fetch what is not there yet."""
        ...


@dataclass(slots=True)
class _Item:
    """One package of the lock on its way.

    `at` is the path of its sdist, which is not in the folder yet if it is for a build alone.
    """

    package: Package
    wheels: dict[str, Stored] = field(default_factory=dict)
    sdist: Stored | None = None
    at: str = ""
    kept: bool = False
    lacking: list[Lacking] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Acquirer:
    """Brings choices into `folder`; `base` is what relative paths of the lock start from.

    `previous` is what the folder held before, whose builds serve again. `build` is whether
    anything is built, and `keep_sdists` whether an sdist stays beside the wheel made of it.
    `wheels` and `sdists` are the names of the folder's directories. `taken` has the sha256 of files
    that others need as they are, by their paths.
    """

    folder: str
    base: str
    root: str
    workshop: Workshop
    fetch: Fetch
    pool: Pool
    previous: Record | None
    build: bool
    keep_sdists: bool
    say: Callable[[str], None]
    version: str
    wheels: str = WHEELS
    sdists: str = SDISTS
    taken: Mapping[str, str] = field(default_factory=dict)

    def acquire(self, choices: Sequence[Choice], lacks: Sequence[Lack]) -> Acquired:
        """Fetch, then build; raises FetchFault, BuildFault, ProjectFault."""
        items: dict[int, _Item] = {}
        for choice in choices:
            items.setdefault(id(choice.package), _Item(choice.package))
        pending = [choice for choice in choices if not isinstance(choice.source, PackageWheel)]
        reused = {id(choice): self._reused(choice, items) for choice in pending}
        files = {}
        for choice in choices:
            needed = choice.targets == () or not reused.get(id(choice))
            needed = needed or (self.keep_sdists and isinstance(choice.source, PackageSdist))
            if needed and (file := self._file(choice, items[id(choice.package)])) is not None:
                files[file.path] = file
        fetched = self.fetch(list(files.values()))
        for choice in choices:
            self._take(choice, items[id(choice.package)], fetched)
        todo = [choice for choice in pending if choice.targets and not reused[id(choice)]]
        tasks = [(partial(self._settle, choice, items[id(choice.package)]), 1) for choice in todo]
        built = sum(self.pool.ordered(tasks, budget=self.pool.jobs))
        self._settle_sdists(items.values())
        lacking = [lack for item in items.values() for lack in item.lacking]
        lacking += [_lacking(lack) for lack in lacks]
        return Acquired(
            packages=tuple(listed for item in items.values() if (listed := _listed(item))),
            lacking=_merged(lacking),
            fetched=sum(each.fetched for each in fetched.values()),
            built=built,
        )

    # ---- files -------------------------------------------------------------------------------

    def _file(self, choice: Choice, item: _Item) -> File | None:
        """Return what must be fetched for a choice, None for a repository or directory.

        An sdist for a build alone goes where no other run looks, unless the folder has it.
        """
        source = choice.source
        if isinstance(source, PackageVcs | PackageDirectory):
            return None
        url = source.url or "file://" + os.path.normpath(os.path.join(self.base, source.path or ""))
        place = self._place(source)
        path = os.path.join(self.folder, *place.split("/"))
        if not _is_wheel(place):
            if self.build and choice.targets and not self.keep_sdists and not os.path.exists(path):
                path = os.path.join(self.workshop.folder(), posixpath.basename(place))
            item.at = path
        return File(url, path, dict(source.hashes), source.size)

    def _place(self, source: PackageWheel | PackageSdist | PackageArchive) -> str:
        """Return the name in the folder of a file that the lock names."""
        if isinstance(source, PackageArchive):
            name = posixpath.basename((source.url or source.path or "").split("#")[0].split("?")[0])
        else:
            name = source.filename
        if not name or "\\" in name or name.startswith("."):
            raise ProjectFault(f"the lock names a file `{name}`, which is no distribution")
        place = f"{self.wheels if _is_wheel(name) else self.sdists}/{name}"
        self._claim(place, source.hashes.get("sha256", ""))
        return place

    def _claim(self, place: str, sha256: str) -> None:
        """Raise ProjectFault if the place is another file's."""
        if self.taken.get(place, sha256) != sha256 != "":
            raise ProjectFault(
                f"there are two different files `{posixpath.basename(place)}`, and one is here",
                hint="put the projects that want them into folders of their own",
            )

    def _take(self, choice: Choice, item: _Item, fetched: dict[str, Fetched]) -> None:
        """Note a file that is there now."""
        source = choice.source
        if isinstance(source, PackageVcs | PackageDirectory):
            return
        place = self._place(source)
        path = os.path.join(self.folder, *place.split("/"))
        done = fetched.get(path if _is_wheel(place) else item.at)
        if done is None:
            return
        stored = Stored(
            path=place,
            name=item.package.name,
            version=str(item.package.version or _version_in(place)),
            sha256=done.sha256,
            size=done.size,
            origin=self._origin(choice),
        )
        if _is_wheel(place):
            item.wheels[place] = stored
        else:
            item.sdist = stored
            item.kept = item.kept or item.at == path

    def _origin(self, choice: Choice) -> Origin:
        package, source = choice.package, choice.source
        if isinstance(source, PackageVcs):
            return Origin(
                git=_repository(source.url or source.path or ""),
                commit=source.commit_id,
                requested=source.requested_revision or "",
                subdirectory=source.subdirectory or "",
            )
        if isinstance(source, PackageDirectory):
            place = os.path.normpath(os.path.join(self.base, source.path))
            below = os.path.relpath(place, self.root).replace(os.sep, "/")
            return Origin(path=below, editable=bool(source.editable))
        subdirectory = source.subdirectory or "" if isinstance(source, PackageArchive) else ""
        return Origin(
            index=shown(str(package.index or "")),
            url=shown(source.url or ""),
            subdirectory=subdirectory,
            hashes=dict(source.hashes),
        )

    # ---- builds ------------------------------------------------------------------------------

    def _recipe(self, choice: Choice, item: _Item) -> Recipe:
        package, source = choice.package, choice.source
        name, version = str(package.name), str(package.version or "")
        if isinstance(source, PackageDirectory):
            place = os.path.normpath(os.path.join(self.base, source.path))
            return self.workshop.directory(name, version, place)
        if isinstance(source, PackageVcs):
            url = source.url or os.path.join(self.base, source.path or "")
            return self.workshop.repository(name, url, source.commit_id, source.subdirectory or "")
        assert item.sdist is not None
        if isinstance(source, PackageArchive) and source.subdirectory:
            return self.workshop.archive(name, item.at, item.sdist.sha256, source.subdirectory)
        return self.workshop.sdist(name, item.at, item.sdist.sha256)

    def _reused(self, choice: Choice, items: dict[int, _Item]) -> bool:
        """Take the wheels that an earlier run built of the same; say whether they are enough."""
        if self.previous is None or not choice.targets:
            return False
        source = choice.source
        if isinstance(source, PackageSdist | PackageArchive):
            key = source.hashes.get("sha256", "")
            if isinstance(source, PackageArchive) and source.subdirectory:
                key += f"#{source.subdirectory}"
        else:
            key = self._recipe(choice, items[id(choice.package)]).source
        item = items[id(choice.package)]
        for stored in self.previous.files:
            fits = stored.built is not None and stored.name == str(choice.package.name)
            if fits and stored.built and stored.built.source == key and self._is_right(stored):
                item.wheels[stored.path] = stored
        return not self._unserved(item, choice.targets)

    def _is_right(self, stored: Stored) -> bool:
        if stored.built is None or stored.built.platform != str(self.workshop.here):
            return False
        try:
            return sha256_of(os.path.join(self.folder, *stored.path.split("/"))) == stored.sha256
        except SourceFault:
            return False

    def _unserved(self, item: _Item, targets: Iterable[Target]) -> list[Target]:
        built = [wheel.file for wheel in item.wheels.values()]
        return [t for t in targets if not any(self.workshop.serves(name, t) for name in built)]

    def _settle(self, choice: Choice, item: _Item) -> int:
        """Build what the targets need, and note what they lack; return the number of wheels."""
        if _is_wheel(self._place_of(choice)):
            return 0
        pending = self._unserved(item, choice.targets)
        name, version = str(item.package.name), str(item.package.version or "")
        if not self.build:
            why = "it has no wheel, and nothing was to be built"
            item.lacking.append(Lacking(name, version, tuple(pending), why, _path(item.sdist)))
            item.kept = True
            return 0
        recipe, number, why = self._recipe(choice, item), 0, ""
        served = len(pending) < len(choice.targets)
        for python in self.workshop.order(pending):
            wanting = [target for target in pending if target.python == python]
            mine = any(self.workshop.is_mine(target) for target in wanting)
            if not wanting or (served and not mine):
                continue
            self.say(f"Building {name} for Python {python}")
            try:
                path = self.workshop.wheel(recipe, python)
            except BuildFault as error:
                if mine or item.sdist is None:
                    raise
                why = str(error)
                break
            stored = self._store(path, choice, recipe, str(python))
            item.wheels[stored.path] = stored
            number, served = number + 1, True
            pending = self._unserved(item, pending)
        if pending:
            why = why or "it has no wheel, and what is built here runs here alone"
            version = version or next((w.version for w in item.wheels.values()), "")
            item.lacking.append(Lacking(name, version, tuple(pending), why, _path(item.sdist)))
            item.kept = True
        return number

    def _place_of(self, choice: Choice) -> str:
        source = choice.source
        if isinstance(source, PackageVcs | PackageDirectory):
            return ""
        return self._place(source)

    def _store(self, path: str, choice: Choice, recipe: Recipe, python: str) -> Stored:
        """Move a wheel that was built into the folder."""
        file = os.path.basename(path)
        place = f"{self.wheels}/{file}"
        target = os.path.join(self.folder, self.wheels, file)
        with open(path, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        self._claim(place, digest)
        with replaced(target) as new:
            shutil.move(path, new)
        return Stored(
            path=place,
            name=str(choice.package.name),
            version=_version_in(place),
            sha256=digest,
            size=os.path.getsize(target),
            origin=self._origin(choice),
            built=Built(self.version, python, str(self.workshop.here), recipe.source),
        )

    def _settle_sdists(self, items: Iterable[_Item]) -> None:
        """Bring the sdists into the folder that were for a build, and are all there is now."""
        for item in items:
            if item.sdist is None:
                continue
            target = os.path.join(self.folder, *item.sdist.path.split("/"))
            if not item.kept:
                item.sdist = None
            elif item.at != target:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with replaced(target) as new:
                    shutil.move(item.at, new)


def _repository(url: str) -> str:
    """Return a repository's URL without a login; the user of `ssh://git@…` is none."""
    parts = urlsplit(url)
    if parts.scheme.endswith("ssh") and parts.username and not parts.password:
        return url
    return shown(url)


def _is_wheel(name: str) -> bool:
    return name.endswith(".whl")


def _path(stored: Stored | None) -> str:
    return stored.path if stored else ""


def _version_in(place: str) -> str:
    """Return the version that a wheel's name tells, "" for other files."""
    try:
        return str(parse_wheel_filename(posixpath.basename(place))[1])
    except InvalidWheelFilename:
        return ""


def _listed(item: _Item) -> Listed | None:
    """Return a package as the folder's own lock names it, None if no file of it is there."""
    wheels = tuple(item.wheels[path] for path in sorted(item.wheels))
    files = [*wheels, *([item.sdist] if item.sdist else [])]
    if not files:
        return None
    package = item.package
    version = str(package.version or next((file.version for file in files if file.version), ""))
    index = shown(str(package.index or ""))
    return Listed(str(package.name), version, package.marker, wheels, item.sdist, index)


def _lacking(lack: Lack) -> Lacking:
    package = lack.package
    why = "the lock has neither a fitting wheel nor an sdist"
    return Lacking(str(package.name), str(package.version or ""), (lack.target,), why)


def _merged(lacking: Iterable[Lacking]) -> tuple[Lacking, ...]:
    """Join what is said of one package for several targets."""
    found: dict[tuple[str, str, str, str], list[Target]] = {}
    for one in lacking:
        found.setdefault((one.name, one.version, one.why, one.sdist), []).extend(one.targets)
    return tuple(
        Lacking(name, version, tuple(targets), why, sdist)
        for (name, version, why, sdist), targets in found.items()
    )
