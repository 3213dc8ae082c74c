"""What becomes of the shared libraries that the files of an archive want."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple


class Wish(NamedTuple):
    """A shared library by its soname, and the first file of the archive that wants it."""

    soname: str
    file: str


class Licensed(NamedTuple):
    """A carried file, the package it came in, and its licence's name in the archive.

    `package` and `licence` are "" where this machine does not tell.
    """

    file: str
    package: str
    licence: str


@dataclass(frozen=True, slots=True)
class HostData:
    """What is carried besides libraries: its name in the archive, where it was, how many it has."""

    file: str
    source: str
    count: int


class Need(NamedTuple):
    """A version, as `2.28`, and the file that wants it."""

    version: str
    file: str


class Libraries(NamedTuple):
    """What becomes of the shared libraries that the files of an archive want.

    `carried` are names in the archive of libraries of this machine; `missing` were found nowhere;
    `host` has every machine of the kind, and `lacking` must be there though not every one has it.
    `rpaths` are directories to put on the DT_RPATH of files by name, `dropped` directories to take
    off it, and `bare` absolute library names that lose their directories. `foreign` pairs files
    with folders and loaders of this machine that they will still name. `floor` says in sentences
    what the other machine must have at least, `glibc` and `glibcxx` as versions; `raised` says
    what made it so high, if that is carried. `licences` has all that is carried.
    """

    carried: tuple[str, ...] = ()
    missing: tuple[Wish, ...] = ()
    host: tuple[Wish, ...] = ()
    lacking: tuple[Wish, ...] = ()
    rpaths: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    dropped: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    bare: frozenset[str] = frozenset()
    foreign: tuple[tuple[str, str], ...] = ()
    floor: tuple[str, ...] = ()
    glibc: Need | None = None
    raised: str = ""
    glibcxx: Need | None = None
    licences: tuple[Licensed, ...] = ()
    certificates: HostData | None = None
    time_zones: HostData | None = None
