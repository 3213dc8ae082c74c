"""The floor: what a file wants of glibc and libstdc++, and which machines have it."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envpack.floor import (
    _COMPILERS,
    _RELEASES,
    Floor,
    Wanted,
    _order,
    collect,
    first_releases,
    in_words,
    wanted,
)
from envpack.libraries import Need
from tests.judges import lief

FIXTURES = Path(__file__).parent.parent / "fixtures" / "elf"
NAMES = sorted(path.name for path in FIXTURES.iterdir() if ".so" in path.name)


def elf(
    needed: Sequence[str] = (),
    *,
    soname: str = "",
    rpath: str | None = None,
    runpath: str | None = None,
    versions: Mapping[str, Sequence[str]] | None = None,
    weak: Sequence[str] = (),
    wide: bool = True,
    order: str = "<",
    machine: int = 62,
    extra: Sequence[tuple[int, int]] = (),
    spare: int = 0,
    note: bool = False,
    loader: bytes = b"",
) -> bytes:
    """Build the least that a loader reads, with DT_VERNEED: no code, no sections.

    `extra` are further dynamic entries, `spare` the DT_NULLs behind the last one. `loader` is all
    of PT_INTERP, the NUL included.
    """
    word = "Q" if wide else "I"
    base = 0x10000
    strings = bytearray(b"\0")

    def name(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text.encode()) - 1

    entries = [(1, name(text)) for text in needed]
    for tag, text in ((14, soname or None), (15, rpath), (29, runpath)):
        entries += [] if text is None else [(tag, name(text))]
    needs = b""
    libraries = list((versions or {}).items())
    for number, (library, wants) in enumerate(libraries):
        last = number == len(libraries) - 1
        step = 0 if last else 16 + 16 * len(wants)
        needs += struct.pack(order + "HHIII", 1, len(wants), name(library), 16, step)
        for index, text in enumerate(wants):
            following = 16 if index < len(wants) - 1 else 0
            flags = 2 if text in weak else 0
            needs += struct.pack(order + "IHHII", 0, flags, 2 + index, name(text), following)
    header, segment, symbol, entry = (64, 56, 24, 16) if wide else (52, 32, 16, 8)
    count = 2 + bool(note) + bool(loader)
    symbols_at = header + count * segment
    needs_at = symbols_at + symbol
    strings_at = needs_at + len(needs)
    dynamic_at = strings_at + len(strings) + -(strings_at + len(strings)) % 8
    entries += [(5, base + strings_at), (6, base + symbols_at), (10, len(strings)), (11, symbol)]
    if libraries:
        entries += [(0x6FFFFFFE, base + needs_at), (0x6FFFFFFF, len(libraries))]
    entries += [*extra, *[(0, 0)] * (1 + spare)]
    size = dynamic_at + len(entries) * entry
    segments = [(1, 0, size), (2, dynamic_at, len(entries) * entry)]
    segments += [(4, 0, 4)] if note else []
    segments[:0] = [(3, size, len(loader))] if loader else []
    out = b"\x7fELF" + bytes((2 if wide else 1, 1 if order == "<" else 2, 1)).ljust(12, b"\0")
    out += struct.pack(order + "HHI" + 3 * word + "I", 3, machine, 1, 0, header, 0, 0)
    out += struct.pack(order + "6H", header, segment, count, 0, 0, 0)
    for kind, start, length in segments:
        place = (start, base + start, base + start, length, length)
        out += (
            struct.pack(order + "II6Q", kind, 4, *place, 4096)
            if wide
            else struct.pack(order + "8I", kind, *place, 4, 4096)
        )
    out += bytes(symbol) + needs + strings
    out = out.ljust(dynamic_at, b"\0")
    return out + b"".join(struct.pack(order + 2 * word, *pair) for pair in entries) + loader


class Counting:
    """A View that counts what is read, and is never asked for what is not there."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, where: slice, /) -> bytes:
        assert 0 <= where.start <= where.stop <= len(self.data)
        found = self.data[where]
        self.reads += 1
        self.bytes += len(found)
        return found


# ---- what a file wants -----------------------------------------------------------------------


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_a_file_says(wide: bool, order: str) -> None:
    """Needed libraries, own name, search path and versions are read in every class and order."""
    versions = {"libc.so.6": ("GLIBC_2.28", "GLIBC_2.2.5"), "libm.so.6": ("GLIBC_2.29",)}
    data = elf(
        ["libm.so.6", "libc.so.6"],
        soname="libx.so.1",
        runpath="$ORIGIN/../lib:/opt/x",
        versions=versions,
        wide=wide,
        order=order,
    )
    found = wanted(data)
    assert found.needed == ("libm.so.6", "libc.so.6")
    assert found.soname == "libx.so.1"
    assert found.search == ("$ORIGIN/../lib", "/opt/x")
    assert found.runpath
    assert found.versions == versions
    assert found.kind == data[4:6] + data[18:20]


def test_runpath_hides_rpath() -> None:
    """The loader ignores DT_RPATH in a file that has DT_RUNPATH."""
    assert wanted(elf(rpath="/a")).search == ("/a",)
    assert not wanted(elf(rpath="/a")).runpath
    assert wanted(elf(rpath="/a", runpath="/b")).search == ("/b",)


def test_weak_versions_are_not_wanted() -> None:
    """The loader goes on without a version that only weak symbols have (VER_FLG_WEAK)."""
    data = elf(versions={"libc.so.6": ("GLIBC_2.99", "GLIBC_2.17")}, weak=["GLIBC_2.99"])
    assert wanted(data).versions == {"libc.so.6": ("GLIBC_2.17",)}


def test_other_files_want_nothing() -> None:
    """Text, an empty file and an object file are no concern of the loader."""
    assert wanted(b"") == wanted(b"#!/bin/sh\n") == Wanted()
    object_file = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHI", 1, 62, 1)
    found = wanted(object_file.ljust(64, b"\0"))
    assert found.kind
    assert not found.needed


def test_little_is_read_of_a_large_file() -> None:
    """A few short reads, whatever the size of the file."""
    view = Counting(elf(["libc.so.6"], versions={"libc.so.6": ("GLIBC_2.28",)}) + bytes(9_000_000))
    assert wanted(view).needed == ("libc.so.6",)
    assert view.bytes < 4096
    assert view.reads < 12


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_harmless(name: str) -> None:
    """A file cut at any byte wants something or nothing, and is never read behind its end."""
    data = (FIXTURES / name).read_bytes()
    for size in range(0, len(data), 3):
        wanted(Counting(data[:size]))


@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=8)), max_size=6),
)
@settings(max_examples=500)
def test_damage_is_harmless(name: str, changes: list[tuple[int, bytes]]) -> None:
    """Whatever bytes change: no exception, no endless loop."""
    data = bytearray((FIXTURES / name).read_bytes())
    for at, new in changes:
        place = at % len(data)
        data[place : place + len(new)] = new[: len(data) - place]
    wanted(Counting(bytes(data)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads this machine's libraries")
def test_another_reader_finds_the_same() -> None:
    """LIEF, a reader that is not ours, sees the same names in the files of this process."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line}
    seen = 0
    for path in sorted(paths):
        if not os.path.isfile(path) or os.path.getsize(path) > 4_000_000:
            continue
        data = Path(path).read_bytes()
        binary = lief.ELF.parse(data)
        assert binary is not None
        found = wanted(data)
        libraries = [
            e for e in binary.dynamic_entries if isinstance(e, lief.ELF.DynamicEntryLibrary)
        ]
        assert list(found.needed) == [str(entry.name) for entry in libraries]
        needs = list(binary.symbols_version_requirement)
        theirs = {
            str(need.name): {str(aux.name) for aux in need.get_auxiliary_symbols()}
            for need in needs
        }
        assert {library: set(names) for library, names in found.versions.items()} == theirs
        seen += 1
    assert seen > 3


# ---- the highest of all ----------------------------------------------------------------------


def wants(*names: str, library: str = "libc.so.6") -> Wanted:
    """Return what a file wants that uses these versions."""
    return Wanted(b"\2\1\x3e\0", versions={library: names})


def test_the_highest_counts_and_is_named() -> None:
    """2.28 is higher than 2.9; of several files that want it the first is to blame."""
    floor = collect(
        [
            ("a.so", wants("GLIBC_2.9", "GLIBC_2.2.5")),
            ("b.so", wants("GLIBC_2.28")),
            ("c.so", wants("GLIBC_2.28", "GLIBC_2.17")),
            ("d.so", wants("GLIBCXX_3.4.9", "GLIBCXX_3.4.29", "CXXABI_1.3.13", library="libs")),
            ("e.so", wants("GCC_3.0", "GCC_12.0.0", library="libgcc_s.so.1")),
        ]
    )
    assert floor.glibc == Need("2.28", "b.so")
    assert floor.glibcxx == Need("3.4.29", "d.so")
    assert floor.cxxabi == Need("1.3.13", "d.so")
    assert floor.gcc == Need("12.0.0", "e.so")


def test_names_without_a_number() -> None:
    """GLIBC_PRIVATE and TM_1 say nothing; DT_RELR came with glibc 2.36; other marks are kept."""
    private = wants("GLIBC_PRIVATE", "CXXABI_TM_1", "CXXABI_FLOAT128", "LIBX_9.9", "GLIBC_")
    assert collect([("a.so", private)]) == Floor()
    assert collect([("a.so", wants("GLIBC_ABI_DT_RELR", "GLIBC_2.17"))]).glibc == Need(
        "2.36", "a.so"
    )
    floor = collect([("a.so", wants("GLIBC_ABI_GNU2_TLS", "GLIBC_2.34"))])
    assert floor.glibc == Need("2.34", "a.so")
    assert floor.marks == (Need("GLIBC_ABI_GNU2_TLS", "a.so"),)
    assert in_words(floor)[0].startswith("glibc 2.34 or newer with GLIBC_ABI_GNU2_TLS: ")


def test_musl_has_no_floor() -> None:
    """A file for musl names no versions."""
    floor = collect([("a.so", wanted(elf(["libc.musl-x86_64.so.1"])))])
    assert floor == Floor()
    assert in_words(floor) == ()


versions = st.lists(st.integers(0, 60), min_size=1, max_size=4).map(lambda v: ".".join(map(str, v)))


@pytest.mark.smoke
@given(st.lists(versions, min_size=1, max_size=8), st.randoms())
def test_the_order_of_files_does_not_matter(found: list[str], random: object) -> None:
    """The floor is at least what every file wants, and some file wants it, in any order."""
    files = [(f"{n}.so", wants(f"GLIBC_{version}")) for n, version in enumerate(found)]
    floor = collect(files)
    again = collect(reversed(files))
    assert floor.glibc is not None
    assert again.glibc is not None
    assert _order(floor.glibc.version) == _order(again.glibc.version)
    assert all(_order(version) <= _order(floor.glibc.version) for version in found)
    assert dict(files)[floor.glibc.file].versions["libc.so.6"] == (f"GLIBC_{floor.glibc.version}",)


@given(versions, versions)
def test_versions_compare_as_numbers(left: str, right: str) -> None:
    """The comparison is that of number by number, with 2.0 the same as 2."""
    one, two = ([*map(int, text.split(".")), 0, 0, 0, 0][:4] for text in (left, right))
    assert (_order(left) < _order(right)) == (one < two)


@given(st.text(max_size=20))
def test_any_version_name_is_harmless(name: str) -> None:
    """A name that is no version says nothing."""
    collect([("a.so", wants(name, f"GLIBC_{name}"))])


# ---- in words --------------------------------------------------------------------------------


def test_in_words() -> None:
    """A person reads which releases are new enough."""
    floor = Floor(glibc=Need("2.28", "a.so"), glibcxx=Need("3.4.26", "b.so"))
    assert in_words(floor) == (
        "glibc 2.28 or newer: Debian 10, RHEL 8, Ubuntu 18.10, Amazon Linux 2023, Fedora 29,"
        " SLES 15 SP3 and later",
        "libstdc++ of GCC 9.1 or newer (GLIBCXX_3.4.26)",
    )


def test_a_floor_above_every_release() -> None:
    """Releases that do not exist yet are not made up."""
    assert in_words(Floor(glibc=Need("2.99", "a"))) == ("glibc 2.99 or newer",)
    assert in_words(Floor(glibcxx=Need("3.4.99", "a"))) == ("libstdc++ (GLIBCXX_3.4.99)",)


@pytest.mark.parametrize(
    ("glibc", "some"),
    [
        ("2.17", {"Debian 8", "RHEL 7", "Ubuntu 14.04", "Amazon Linux 1", "Fedora 19"}),
        ("2.31", {"Debian 11", "RHEL 9", "Ubuntu 20.04", "SLES 15 SP3"}),
        ("2.34", {"Debian 12", "RHEL 9", "Ubuntu 21.10", "Fedora 35", "Amazon Linux 2023"}),
        ("2.36", {"Debian 12", "RHEL 10", "Ubuntu 22.10", "Fedora 37"}),
        ("2.2.5", {"Debian 8", "RHEL 6"}),
    ],
)
def test_first_releases(glibc: str, some: set[str]) -> None:
    """The first release of a distribution is the one at or above the floor."""
    assert some <= set(first_releases(glibc))


def test_tables_ascend() -> None:
    """Releases and compilers are listed oldest first, with versions that only grow."""
    for rows in [[version for _, version in releases] for _, releases in _RELEASES]:
        assert [_order(v) for v in rows] == sorted(_order(v) for v in rows)
    assert [_order(v) for v, _ in _COMPILERS] == sorted(_order(v) for v, _ in _COMPILERS)
