"""Which of a lock's distributions each platform and Python takes: what uv would, and no other.

Source: the *pylock.toml* specification (installation), whose steps `Pylock.select` takes too; that
one stops at the first package without a fitting file, here every package has its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias, cast

from packaging.markers import Marker
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
)
from packaging.tags import Tag, create_compatible_tags_selector
from packaging.utils import parse_wheel_filename

from envpack.platforms import STANDARD, Platform, Python, Target

Source: TypeAlias = PackageWheel | PackageSdist | PackageArchive | PackageVcs | PackageDirectory

_Selector: TypeAlias = Callable[[Iterable[tuple[int, frozenset[Tag]]]], Iterator[int]]

_RARE = tuple(
    Platform("linux", arch, "gnu", (2, 28))
    for arch in ("i686", "armv7l", "ppc64le", "s390x", "riscv64")
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One file or tree of the lock, and the targets that take it.

    `targets` is empty for what goes along though no target asked for it.
    """

    package: Package
    source: Source
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Lack:
    """A package of which the lock has no file for a target."""

    package: Package
    target: Target


def targets_of(
    platforms: Sequence[Platform] | None, pythons: Sequence[Python], supported: Sequence[Marker]
) -> tuple[Target, ...]:
    """Return the combinations to choose for; None stands for every platform of the lock.

    `supported` are the environments that the project limits itself to, if it does.
    """
    every = platforms is None
    pairs = [Target(p, v) for p in (STANDARD if platforms is None else platforms) for v in pythons]
    return tuple(pair for pair in pairs if not every or is_supported(pair, supported))


def choose(
    pylock: Pylock,
    targets: Sequence[Target],
    *,
    every: Sequence[Python] = (),
    sdists: bool = False,
    closure: bool = False,
) -> tuple[tuple[Choice, ...], tuple[Lack, ...]]:
    """Return what the targets take, in the lock's order, and what they lack.

    All wheels that one of the Pythons `every` can take go along, whatever their platform, and with
    `sdists` every sdist. With `closure` each package has a file for each Python, be it another
    platform's: a resolver that looks at all platforms reads its metadata.
    """
    takers: dict[tuple[int, int], list[Target]] = {}
    lacks: dict[tuple[int, Target], None] = {}
    for target in targets:
        select = create_compatible_tags_selector(target.tags)
        for index in _wanted_by(pylock.packages, target):
            at = _taken(_sources(pylock.packages[index]), select)
            if at is None:
                lacks[index, target] = None
            else:
                takers.setdefault((index, at), []).append(target)
    seen = {index for index, _ in takers}
    for index, package in enumerate(pylock.packages):
        pythons = _wanting(package, every)
        wanted = index in seen or bool(pythons)
        for at, source in enumerate(_sources(package)):
            if _goes_along(source, pythons, sdists=sdists and wanted):
                takers.setdefault((index, at), [])
    if closure:
        pythons = tuple(dict.fromkeys([*(target.python for target in targets), *every]))
        there: dict[int, set[int]] = {}
        for index, at in takers:
            there.setdefault(index, set()).add(at)
        for index, package in enumerate(pylock.packages):
            for at in _completing(_sources(package), there.get(index, set()), pythons):
                takers.setdefault((index, at), [])
    choices = (
        Choice(pylock.packages[index], _sources(pylock.packages[index])[at], tuple(wanting))
        for (index, at), wanting in sorted(takers.items())
    )
    return tuple(choices), tuple(Lack(pylock.packages[index], target) for index, target in lacks)


def _goes_along(source: Source, pythons: Iterable[Python], *, sdists: bool) -> bool:
    """Say whether a file goes along though no target takes it."""
    if isinstance(source, PackageWheel):
        return any(_suits(source, python) for python in pythons)
    return sdists and isinstance(source, PackageSdist)


def _completing(
    sources: Sequence[Source], there: set[int], pythons: Sequence[Python]
) -> Iterator[int]:
    """Yield the places of small files that are missing for one of the Pythons to have any."""
    wheels = [
        (
            all(tag.platform != "any" for tag in _tags_of(source.filename)),
            source.size or 0,
            at,
            source,
        )
        for at, source in enumerate(sources)
        if isinstance(source, PackageWheel)
    ]
    wheels.sort(key=lambda each: each[:3])
    for python in pythons:
        fitting = [at for *_, at, wheel in wheels if _suits(wheel, python)]
        if fitting and there.isdisjoint(fitting):
            there.add(fitting[0])
            yield fitting[0]
    if not there and sources and isinstance(sources[-1], PackageWheel | PackageSdist):
        yield len(sources) - 1


def _sources(package: Package) -> tuple[Source, ...]:
    """Return where a package can come from: one of a kind, or wheels and then the sdist."""
    for only in (package.vcs, package.directory, package.archive):
        if only is not None:
            return (only,)
    return (*(package.wheels or ()), *([package.sdist] if package.sdist else []))


def _taken(sources: Sequence[Source], select: _Selector) -> int | None:
    """Return the place of the best wheel, else of what can be built, None if there is nothing."""
    wheels = [
        (at, _tags_of(source.filename))
        for at, source in enumerate(sources)
        if isinstance(source, PackageWheel)
    ]
    best = next(select(wheels), None)
    if best is not None:
        return best
    rest = (at for at, source in enumerate(sources) if not isinstance(source, PackageWheel))
    return next(rest, None)


def _wanted_by(packages: Sequence[Package], target: Target) -> list[int]:
    return [
        index
        for index, package in enumerate(packages)
        if package.marker is None or _holds(package.marker, target)
    ]


def _holds(marker: Marker, target: Target) -> bool:
    """Say whether a marker of a lock is true; extras and groups are settled in it already."""
    settled = {"extras": frozenset[str](), "dependency_groups": frozenset[str]()}
    return any(
        marker.evaluate(cast("dict[str, str]", {**environment, **settled}), context="lock_file")
        for environment in target.environments
    )


def _wanting(package: Package, pythons: Sequence[Python]) -> tuple[Python, ...]:
    """Return the Pythons that want a package on some machine, be it none of the standard ones."""
    marker = package.marker
    if marker is None:
        return tuple(pythons)
    platforms = (*STANDARD, *_RARE)
    return tuple(v for v in pythons if any(_holds(marker, Target(p, v)) for p in platforms))


def _suits(wheel: PackageWheel, python: Python) -> bool:
    """Say whether a Python takes a wheel, if the platform is right."""
    right, anywhere = _interpreters(python)
    return any(
        (tag.interpreter, tag.abi) in (anywhere if tag.platform == "any" else right)
        for tag in _tags_of(wheel.filename)
    )


@lru_cache(maxsize=65536)
def _tags_of(filename: str) -> frozenset[Tag]:
    """Return the tags of a wheel's name, which is asked for once for each target and Python."""
    return parse_wheel_filename(filename)[-1]


@cache
def _interpreters(python: Python) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
    """Return the pairs of interpreter and ABI that a Python takes on its platform, and on any."""
    tags = python.tags(["own"])
    right = {(tag.interpreter, tag.abi) for tag in tags if tag.platform == "own"}
    return frozenset(right), frozenset({(tag.interpreter, tag.abi) for tag in tags})


def is_supported(target: Target, supported: Sequence[Marker]) -> bool:
    """Say whether any of the markers is true of a target; it always is where there are none."""
    if not supported:
        return True
    return any(
        marker.evaluate(dict(environment))
        for marker in supported
        for environment in target.environments
    )
