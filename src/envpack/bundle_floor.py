"""What a bundle asks of its far side: the oldest glibc, and room on the disk.

The tags of wheels from an index promise a glibc (PEP 600). Wheels that were built here promise
nothing, so their libraries are asked, and so are those of the interpreter.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.utils import parse_wheel_filename

from envpack.archive.read import members
from envpack.errors import ProjectFault
from envpack.floor import Wanted, collect, wanted
from envpack.foreign import described
from envpack.platforms import Target
from envpack.wheelhouse import WHEELS, Stored

_PROMISE = re.compile(r"manylinux_(\d+)_(\d+)_")
_ELDER = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}
_MAGIC = b"\x7fELF"

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """What the far side must have: `glibc` such as "2.28", "" for none; sizes are in bytes.

    `python` is the interpreter unpacked, `installed` the environment. `glibc_for` names the file
    that wants that glibc.
    """

    glibc: str
    glibc_for: str
    python: int
    installed: int


def needs_of(folder: str, target: Target, files: Iterable[Stored], python: Stored | None) -> Needs:
    """Return what a target's files need; raises ProjectFault for an archive that is damaged."""
    found: list[tuple[Version, str]] = []
    installed, unpacked = 0, 0
    for file in files:
        if file.role or not file.path.startswith(f"{WHEELS}/"):
            continue
        if not _is_for(file.file, target):
            continue
        path = os.path.join(folder, *file.path.split("/"))
        installed += _size(path)
        version = promised(file.file)
        if version is None and file.built is not None:
            version = _wanted(_libraries(path))
        if version:
            found.append((version, file.file))
    if python is not None:
        path = os.path.join(folder, *python.path.split("/"))
        libraries, unpacked = _interpreter(path)
        if version := _wanted(libraries):
            found.append((version, python.file))
    if target.platform.libc != "gnu" or not found:
        return Needs("", "", unpacked, installed)
    version, name = max(found, key=lambda pair: pair[0])
    return Needs(".".join(map(str, version)), name, unpacked, installed)


def promised(wheel: str) -> Version | None:
    """Return the oldest glibc that a wheel's tags name, None if they name none."""
    found = []
    for tag in parse_wheel_filename(wheel)[-1]:
        if numbered := _PROMISE.match(tag.platform):
            found.append((int(numbered[1]), int(numbered[2])))
        found += [old for name, old in _ELDER.items() if tag.platform.startswith(name)]
    return min(found, default=None)


def _is_for(wheel: str, target: Target) -> bool:
    return not parse_wheel_filename(wheel)[-1].isdisjoint(target.tags)


def _size(wheel: str) -> int:
    with described(wheel, "damaged", ProjectFault), zipfile.ZipFile(wheel) as archive:
        return sum(info.file_size for info in archive.infolist())


def _libraries(wheel: str) -> Iterator[tuple[str, Wanted]]:
    with described(wheel, "damaged", ProjectFault), zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            with archive.open(info) as file:
                if file.read(4) != _MAGIC:
                    continue
            yield info.filename, wanted(archive.read(info))


def _interpreter(path: str) -> tuple[list[tuple[str, Wanted]], int]:
    """Return what an interpreter's files want of the loader, and how large it is unpacked."""
    found, size = [], 0
    with described(path, "damaged", ProjectFault):
        for member in members(path):
            size += member.size
            head = member.data.read(4)
            if head == _MAGIC:
                found.append((member.name, wanted(head + member.data.read())))
    return found, size


def _wanted(found: Iterable[tuple[str, Wanted]]) -> Version | None:
    need = collect(found).glibc
    return tuple(int(part) for part in need.version.split(".")) if need else None
