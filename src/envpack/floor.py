"""The oldest machine a pack runs on: which versions of glibc and libstdc++ its files want.

A library names its interfaces by version (`GLIBC_2.28`), and a file lists those it uses; the loader
refuses it where one is missing. The highest of all files is the floor, and one file is to blame.
musl has no versions, so its files have no floor.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from envpack.libraries import Need
from envpack.model import View
from envpack.relocate._elf_read import (
    DT_NEEDED,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    MAGIC,
    Damaged,
    Elf,
    read,
)
from envpack.relocate.elf_loader import foreign_loader

PRIVATE = "GLIBC_PRIVATE"

_BLOCK = 64 * 1024
_NUMBERED = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_(\d{1,9}(?:\.\d{1,9})*)")
_MARK = re.compile(r"GLIBC_ABI_\w+")
# A mark is an ability of the loader. Distributions carry newer ones back to older releases (Debian
# 13's glibc 2.41 has GLIBC_ABI_GNU2_TLS), so only one that came with a release counts as that.
_MARKS = {"GLIBC_ABI_DT_RELR": "2.36"}

# Each release and its glibc, oldest first. Read in Debian's own packages, in the analysis behind
# manylinux (mayeut/pep600_compliance), in glibc-2.28-39.fc29, and for SLES in its images; Leap
# 15.6 is made of SLES 15 SP6. A release that is not listed counts as the next one: of Fedora before
# 29 only the first with 2.17 is there, which most interpreters and wheels want.
_RELEASES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Debian",
        (
            ("8", "2.19"),
            ("9", "2.24"),
            ("10", "2.28"),
            ("11", "2.31"),
            ("12", "2.36"),
            ("13", "2.41"),
        ),
    ),
    ("RHEL", (("6", "2.12"), ("7", "2.17"), ("8", "2.28"), ("9", "2.34"), ("10", "2.39"))),
    (
        "Ubuntu",
        (
            ("14.04", "2.19"),
            ("16.04", "2.23"),
            ("18.04", "2.27"),
            ("18.10", "2.28"),
            ("19.04", "2.29"),
            ("19.10", "2.30"),
            ("20.04", "2.31"),
            ("20.10", "2.32"),
            ("21.04", "2.33"),
            ("21.10", "2.34"),
            ("22.04", "2.35"),
            ("22.10", "2.36"),
            ("23.04", "2.37"),
            ("23.10", "2.38"),
            ("24.04", "2.39"),
            ("24.10", "2.40"),
            ("25.04", "2.41"),
            ("25.10", "2.42"),
        ),
    ),
    ("Amazon Linux", (("1", "2.17"), ("2", "2.26"), ("2023", "2.34"))),
    (
        "Fedora",
        (
            ("19", "2.17"),
            ("29", "2.28"),
            ("30", "2.29"),
            ("32", "2.31"),
            ("33", "2.32"),
            ("34", "2.33"),
            ("35", "2.34"),
            ("36", "2.35"),
            ("37", "2.36"),
            ("38", "2.37"),
            ("39", "2.38"),
            ("40", "2.39"),
            ("41", "2.40"),
            ("42", "2.41"),
            ("43", "2.42"),
        ),
    ),
    (
        "SLES",
        (("12 SP5", "2.22"), ("15 SP1", "2.26"), ("15 SP3", "2.31"), ("15 SP6", "2.38")),
    ),
)
# GLIBCXX_ and the GCC whose libstdc++ first had it, from GCC's own manual (abi.html).
_COMPILERS = (
    ("3.4.19", "4.8"),
    ("3.4.20", "4.9"),
    ("3.4.21", "5"),
    ("3.4.22", "6"),
    ("3.4.23", "7"),
    ("3.4.25", "8"),
    ("3.4.26", "9.1"),
    ("3.4.27", "9.2"),
    ("3.4.28", "9.3"),
    ("3.4.29", "11"),
    ("3.4.30", "12"),
    ("3.4.31", "13.1"),
    ("3.4.32", "13.2"),
    ("3.4.33", "14"),
)


class Wanted(NamedTuple):
    """What one file says to the dynamic loader; everything is empty for other files.

    `versions` is by library. `search` is the path the loader follows, `runpath` whether it is
    DT_RUNPATH. `kind` tells class, byte order and machine: only files of one kind load each other.
    `loader` is what a program will still be started by, if that is not its platform's own.
    """

    kind: bytes = b""
    soname: str = ""
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    runpath: bool = False
    versions: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    loader: str = ""


class Floor(NamedTuple):
    """The highest version of each kind that any file wants, None where none is wanted.

    `marks` are abilities of glibc that no release number stands for, with a file that wants each.
    """

    glibc: Need | None = None
    glibcxx: Need | None = None
    cxxabi: Need | None = None
    gcc: Need | None = None
    marks: tuple[Need, ...] = ()


def wanted(view: View) -> Wanted:
    """Return what a file wants of the loader, reading little of it.

    Empty for what is no ELF file or a damaged one.
    """
    head = view[0 : min(20, len(view))]
    if head[:4] != MAGIC:
        return Wanted()
    try:
        elf = read(view)
        return Wanted(head[4:6] + head[18:20]) if elf is None else _wanted(elf, head)
    except Damaged:
        return Wanted()


def _wanted(elf: Elf, head: bytes) -> Wanted:
    found: dict[int, list[str]] = {DT_NEEDED: [], DT_SONAME: [], DT_RPATH: [], DT_RUNPATH: []}
    entries = [(tag, value) for tag, value in elf.dynamic if tag in found]
    needs = elf.version_needs()
    offsets = [value for _, value in entries]
    offsets += [offset for library, names in needs for offset in (library, *names)]
    texts = (text.decode("utf-8", "surrogateescape") for text in elf.texts(offsets))
    for tag, _ in entries:
        found[tag].append(next(texts))
    runpath = bool(found[DT_RUNPATH])
    search = found[DT_RUNPATH] or found[DT_RPATH] or [""]
    versions = {next(texts): tuple(next(texts) for _ in names) for _, names in needs}
    return Wanted(
        kind=head[4:6] + head[18:20],
        soname=(found[DT_SONAME] or [""])[-1],
        needed=tuple(found[DT_NEEDED]),
        search=tuple(part for part in search[-1].split(":") if part),
        runpath=runpath,
        versions=MappingProxyType(versions),
        loader=foreign_loader(elf).decode("utf-8", "surrogateescape"),
    )


class FileView:
    """A View of an ELF file that keeps its beginning, where most of what is asked for is.

    Empty for other files. Raises OSError.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = os.pread(descriptor, 64, 0)
        self._size = 0
        if self._head[:4] == MAGIC:
            self._head += os.pread(descriptor, _BLOCK, 64)
            self._size = os.fstat(descriptor).st_size

    @classmethod
    @contextmanager
    def of(cls, path: str) -> Iterator[FileView]:
        """Open the file at `path`, without waiting for a pipe."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            yield cls(descriptor)
        finally:
            os.close(descriptor)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice, /) -> bytes:
        start, stop, _ = where.indices(self._size)
        if stop <= len(self._head):
            return self._head[start:stop]
        return os.pread(self._descriptor, max(0, stop - start), start)


def wanted_by(path: str) -> Wanted:
    """Return what the file at `path` wants of the loader. Raises OSError."""
    with FileView.of(path) as view:
        return wanted(view)


def collect(found: Iterable[tuple[str, Wanted]]) -> Floor:
    """Return the floor of all files, each given by its name and what it wants.

    Of several that want the same, the first is named. GLIBC_PRIVATE has no number: only glibc's
    own parts want it.
    """
    highest: dict[str, tuple[tuple[int, ...], Need]] = {}
    marks: dict[str, Need] = {}
    for file, wants in found:
        for names in wants.versions.values():
            for name in names:
                label, version = _split(name)
                if label == "MARK":
                    marks.setdefault(version, Need(version, file))
                elif label:
                    order = _order(version)
                    if label not in highest or highest[label][0] < order:
                        highest[label] = order, Need(version, file)
    needs = {label: need for label, (_, need) in highest.items()}
    return Floor(
        glibc=needs.get("GLIBC"),
        glibcxx=needs.get("GLIBCXX"),
        cxxabi=needs.get("CXXABI"),
        gcc=needs.get("GCC"),
        marks=tuple(marks[name] for name in sorted(marks)),
    )


@cache  # some files want hundreds of names, and most want the same ones
def _split(name: str) -> tuple[str, str]:
    """Return the label and the number of a version name, empty if it says nothing of a machine."""
    number = _NUMBERED.fullmatch(name)
    if number is not None:
        return number[1], number[2]
    if name in _MARKS:
        return "GLIBC", _MARKS[name]
    return ("MARK", name) if _MARK.fullmatch(name) else ("", "")


@cache
def _order(version: str) -> tuple[int, ...]:
    """Return what versions are compared by: 2.9 comes before 2.28, and 2.0 is 2."""
    numbers = [int(part) for part in version.split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def exceeds(need: Need, version: str) -> bool:
    """Say whether a machine whose newest version is `version` lacks what is needed."""
    return _order(need.version) > _order(version)


def in_words(floor: Floor) -> tuple[str, ...]:
    """Say what machines the floor asks for: nothing, or a line for glibc and one for libstdc++."""
    lines = []
    if floor.glibc is not None:
        text = f"glibc {floor.glibc.version} or newer"
        if floor.marks:
            text += f" with {', '.join(mark.version for mark in floor.marks)}"
        releases = first_releases(floor.glibc.version)
        lines.append(f"{text}: {', '.join(releases)} and later" if releases else text)
    if floor.glibcxx is not None:
        version = floor.glibcxx.version
        compiler = _first(_COMPILERS, version)
        of = f" of GCC {compiler} or newer" if compiler else ""
        lines.append(f"libstdc++{of} (GLIBCXX_{version})")
    return tuple(lines)


def first_releases(glibc: str) -> tuple[str, ...]:
    """Return each distribution's first release with this glibc or a newer one, where known."""
    found = []
    for distribution, releases in _RELEASES:
        release = _first([(version, name) for name, version in releases], glibc)
        if release:
            found.append(f"{distribution} {release}")
    return tuple(found)


def _first(rows: Iterable[tuple[str, str]], version: str) -> str:
    """Return what stands beside the first version that is high enough, "" if none is."""
    least = _order(version)
    return next((text for known, text in rows if _order(known) >= least), "")
