"""What a layout is made of: locks and requirements, each with a key by which news is known."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envpack.lock import Locked, LockFile, Scope, compiled, export
from envpack.platforms import Python, Target
from envpack.uv import Uv
from envpack.wheelhouse import PYLOCK, write_text

PROJECT = "project"
REQUIREMENTS = "requirements"
SEED = "seed"
WHEEL = "wheel"
ENVIRONMENT = "environment"

SEEDS = ("pip", "setuptools", "wheel")
"""What `uv venv --seed` installs, and what builds want that name nothing."""

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
