"""What a layout is made of: locks and requirements, each with a key by which news is known."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from envpack.errors import UsageError
from envpack.lock import Locked, LockFile, Scope, compiled, export
from envpack.platforms import Python, Target
from envpack.programs import sha256_of
from envpack.rebuilt import Installed, installed_in
from envpack.uv import Uv
from envpack.wheelhouse import PYLOCK, write_text

PROJECT = "project"
REQUIREMENTS = "requirements"
SEED = "seed"
WHEEL = "wheel"
ENVIRONMENT = "environment"

SEEDS = ("pip", "setuptools", "wheel")
"""What `uv venv --seed` installs, and what builds want that name nothing."""

_DISTRIBUTIONS = (".whl", ".tar.gz", ".zip")
_ALL = Scope(all_extras=True, all_groups=True, all_packages=True)


@dataclass(frozen=True, slots=True)
class Wish:
    """One lock, or what uv made of requirements, for some targets."""

    kind: str
    name: str
    key: str
    locked: Locked
    lock: LockFile | None
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """Wheels and sdists that are here already."""

    kind: str
    name: str
    key: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environments:
    """What is installed in an environment."""

    kind: str
    name: str
    key: str
    installed: tuple[Installed, ...]


AnyWish: TypeAlias = Wish | Files | Environments


def distinct(wishes: Sequence[AnyWish]) -> list[AnyWish]:
    """Return the wishes with names of their own: of equal ones the second ends in `#2`."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for wish in wishes:
        seen[wish.kind, wish.name] += 1
        number = seen[wish.kind, wish.name]
        found.append(wish if number == 1 else replace(wish, name=f"{wish.name}#{number}"))
    return found


def of_wheels(path: str) -> Files:
    """Return a distribution file, or those of a folder; raises UsageError if there is none."""
    paths = [path]
    if os.path.isdir(path):
        inside = sorted(name for name in os.listdir(path) if name.endswith(_DISTRIBUTIONS))
        paths = [os.path.join(path, name) for name in inside]
    paths = [each for each in paths if os.path.isfile(each)]
    if not paths:
        raise UsageError(f"no wheel or sdist at `{path}`")
    digests = []
    for each in paths:
        named(each)
        digests.append(sha256_of(each))
    name = os.path.basename(os.path.abspath(path))
    return Files(WHEEL, name, key_of(digests, (), ()), tuple(paths))


def named(path: str) -> tuple[str, str]:
    """Return the name and version in a distribution's file name; raises UsageError."""
    file = os.path.basename(path)
    try:
        if file.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(file)
        else:
            name, version = parse_sdist_filename(file)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise UsageError(f"`{file}` is no name of a wheel or an sdist") from error
    return name, str(version)


def of_environment(path: str) -> tuple[Environments, str]:
    """Return what is installed at `path`, and the minor version of its Python."""
    environment, installed = installed_in(path)
    project = environment.project
    name = f"{project.name}/" if project else ""
    key = key_of([each.digest for each in installed], (), ())
    found = Environments(ENVIRONMENT, f"{name}{os.path.basename(environment.root)}", key, installed)
    return found, ".".join(environment.interpreter.version.split(".")[:2])


def of_project(
    uv: Uv, lock: LockFile, targets: tuple[Target, ...], every: Sequence[Python], scratch: str
) -> Wish:
    """Return what a project's lock names, with all extras, groups and members."""
    name = lock.name or os.path.basename(lock.project)
    key = key_of([lock.sha256], targets, every)
    return Wish(PROJECT, name, key, export(uv, lock, _ALL, scratch), lock, targets)


def of_requirements(
    uv: Uv, file: str, targets: tuple[Target, ...], every: Sequence[Python], scratch: str
) -> Wish:
    """Return what uv makes of a requirements file today."""
    pythons = {*(target.python for target in targets), *every}
    oldest = min(pythons, key=lambda python: python.release)
    locked = compiled(uv, [file], oldest.version, scratch)
    text = Path(locked.base, PYLOCK).read_text(encoding="utf-8")
    key = key_of([text], targets, every)
    return Wish(REQUIREMENTS, os.path.basename(file), key, locked, None, targets)


def of_seeds(uv: Uv, targets: tuple[Target, ...], every: Sequence[Python], scratch: str) -> Wish:
    """Return pip and what else an environment may be begun with."""
    path = os.path.join(scratch, "seeds.in")
    write_text(path, "".join(f"{name}\n" for name in SEEDS))
    wish = of_requirements(uv, path, targets, every, scratch)
    key = seeds_key(targets, every)
    return Wish(SEED, ", ".join(SEEDS), key, wish.locked, None, targets)


def seeds_key(targets: Sequence[Target], every: Sequence[Python]) -> str:
    """Return the key of the seeds, whatever their versions: they are brought once."""
    return key_of(SEEDS, targets, every)


def key_of(words: Sequence[str], targets: Sequence[Target], every: Sequence[Python]) -> str:
    """Return a sha256 that is the same for the same things brought for the same machines."""
    told = [*words, [str(target) for target in targets], [str(python) for python in every]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
