"""ELF: search paths and library names become relative, in place, and nothing else changes."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envpack.model import Edit, Move, Relocator
from envpack.relocate._elf_read import Damaged, read
from envpack.relocate.elf import ElfRelocator, _checked, sysv_hash
from tests.judges import lief

FIXTURES = Path(__file__).parent.parent / "fixtures" / "elf"
NAMES = sorted(path.name for path in FIXTURES.iterdir() if ".so" in path.name)
MOVES = (Move("/build/env/lib64", "lib"), Move("/build/env", ""), Move("/b", "lib"))
ELF: Relocator = ElfRelocator()
GROWN = "RPATH (string table moved)"

runs_here = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64",
    reason="the fixtures are for Linux on x86-64",
)
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="NOT PROVEN HERE: no gcc")


class Says(NamedTuple):
    """What LIEF, a reader that is not ours, finds in a file."""

    rpath: list[str]
    runpath: list[str]
    needed: list[str]
    symbols: list[str]


def lief_of(data: bytes) -> lief.ELF.Binary:
    """Parse a file that LIEF must be able to read."""
    binary = lief.ELF.parse(data)
    assert binary is not None
    return binary


def says(data: bytes) -> Says:
    """Read a file by LIEF."""
    binary = lief_of(data)
    entries = list(binary.dynamic_entries)
    return Says(
        [str(e.rpath) for e in entries if isinstance(e, lief.ELF.DynamicEntryRpath)],
        [str(e.runpath) for e in entries if isinstance(e, lief.ELF.DynamicEntryRunPath)],
        [str(e.name) for e in entries if isinstance(e, lief.ELF.DynamicEntryLibrary)],
        [str(symbol.name) for symbol in binary.dynamic_symbols],
    )


def apply(data: bytes, edits: Iterable[Edit]) -> bytes:
    """Do what the pipeline does with edits."""
    out = bytearray()
    done = 0
    for edit in edits:
        assert done <= edit.start <= edit.stop <= len(data)
        out += data[done : edit.start] + edit.data
        done = edit.stop
    return bytes(out + data[done:])


def relocated(name: str, data: bytes, moves: tuple[Move, ...] = MOVES) -> tuple[bytes, list[str]]:
    """Apply the edits, check what holds for all of them, and return the bytes and the reasons."""
    edits = list(ELF.edits(name, data, moves))
    new = apply(data, edits)
    assert {edit.why for edit in edits} <= set(ELF.why)
    assert list(ELF.edits(name, new, moves)) == [], "a good file gets no edits"
    assert says(new).symbols == says(data).symbols
    if GROWN not in {edit.why for edit in edits}:
        assert len(new) == len(data)
    return new, [edit.why for edit in edits]


def fixture(name: str) -> bytes:
    """Return the bytes of a fixture."""
    return (FIXTURES / name).read_bytes()


def headers(data: bytes) -> range:
    """Return the file offsets of the program headers of an ELF64 file."""
    (table,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    return range(table, table + 56 * count, 56)


def without_notes(data: bytes) -> bytes:
    """Take the PT_NOTEs out of the program headers."""
    out = bytearray(data)
    for at in headers(data):
        if struct.unpack_from("<I", out, at) == (4,):
            struct.pack_into("<I", out, at, 0)
    return bytes(out)


def with_align(data: bytes, page: int, *, last: bool = False) -> bytes:
    """Set p_align of the first PT_LOAD, or of all that it fits."""
    out = bytearray(data)
    for at in headers(data):
        kind, _, start, address = struct.unpack_from("<IIQQ", out, at)
        if kind == 1 and ((address - start) % page == 0 or not last):
            struct.pack_into("<Q", out, at + 48, page)
    return bytes(out)


def dlopen(path: Path, call: str = "answer") -> int:
    """Load a library in a fresh process, without LD_LIBRARY_PATH, and return what `call` gives."""
    code = f"import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).{call}())"
    run = subprocess.run([sys.executable, "-I", "-c", code, str(path)], check=False, env={})
    return run.returncode


# ---- the search path -------------------------------------------------------------------------


def test_claims_by_magic() -> None:
    """Only the first four bytes decide; the name does not."""
    assert ELF.claims("lib/a.so", b"\x7fELF\x02\x01")
    assert not ELF.claims("lib/a.so", b"!<arch>\n")
    assert not ELF.claims("lib/a.so", b"")


@pytest.mark.smoke
def test_rpath_with_room_becomes_relative() -> None:
    """A DT_RPATH is overwritten in place, and the build path leaves the file."""
    new, why = relocated("lib/x/rpath.so", fixture("rpath.so"))
    assert says(new).rpath == ["$ORIGIN/.."]
    assert why == ["RPATH"]
    assert b"/build" not in new


def test_one_edit_touches_only_the_old_string() -> None:
    """Everything outside the string keeps its bytes."""
    data = fixture("rpath.so")
    (edit,) = ELF.edits("lib/x/rpath.so", data, MOVES)
    assert data[edit.start : edit.stop] == b"/build/env/lib\0"
    assert edit.data == b"$ORIGIN/..\0\0\0\0\0"


def test_runpath_becomes_rpath() -> None:
    """Of several components the moved ones become one, the host's stay, and the tag is DT_RPATH."""
    new, why = relocated("bin/runpath.so", fixture("runpath.so"))
    assert says(new).rpath == ["/usr/lib/host:$ORIGIN/../lib:$ORIGIN/x"]
    assert says(new).runpath == []
    assert sorted(why) == ["RPATH", "RUNPATH made RPATH"]


def test_same_folder_is_origin_alone() -> None:
    """A path to the file's own folder is `$ORIGIN` without a slash."""
    new, _ = relocated("lib/rpath.so", fixture("rpath.so"))
    assert says(new).rpath == ["$ORIGIN"]


def test_nothing_to_do() -> None:
    """A file without paths, or with none of ours, gets no edits."""
    assert list(ELF.edits("lib/nothing.so", fixture("nothing.so"), MOVES)) == []
    assert list(ELF.edits("lib/x.so", fixture("origin.so"), MOVES)) == []
    assert list(ELF.edits("lib/x.so", fixture("rpath.so"), (Move("/build/en", ""),))) == []
    assert list(ELF.edits("lib/x.so", fixture("rpath.so"), ())) == []


@pytest.mark.parametrize(
    ("name", "flips"),
    [
        ("bin/python3.12", True),
        ("lib/libpython3.12.so.1.0", True),
        ("lib/python3.12/lib-dynload/_ssl.so", True),
        ("lib/python3.12/site-packages/a/b.so", False),
        ("bin/ninja", False),
    ],
)
def test_interpreters_own_runpath_is_flipped(name: str, flips: bool) -> None:
    """LD_LIBRARY_PATH beats DT_RUNPATH, so the interpreter's files get DT_RPATH; wheels' do not."""
    new, why = relocated(name, fixture("origin.so"))
    assert why == (["RUNPATH made RPATH"] if flips else [])
    assert says(new).rpath == (["$ORIGIN/../lib"] if flips else [])
    differing = sum(a != b for a, b in zip(new, fixture("origin.so"), strict=True))
    assert differing == (1 if flips else 0)


def test_both_tags_end_up_saying_the_same() -> None:
    """The loader follows DT_RUNPATH and ignores DT_RPATH, so after the flip no old text may win."""
    new, _ = relocated("bin/both.so", fixture("both.so"))
    assert says(new).rpath == ["$ORIGIN/../lib:/opt/host"] * 2
    assert says(new).runpath == []
    assert b"/build" not in new


def test_a_hidden_rpath_is_cleared_without_a_flip() -> None:
    """A stale DT_RPATH next to a clean DT_RUNPATH is made to say the same."""
    new, _ = relocated("bin/both.so", fixture("both.so"), (Move("/build/env/lib/hidden", "x"),))
    assert says(new).rpath == says(new).runpath == ["/build/env/lib:/opt/host"]
    assert b"hidden" not in new


def test_shared_tail_survives() -> None:
    """Ld stores symbol `b` as the last byte of `/build/env/lib`; zeroing the rest destroys it."""
    data = fixture("tail.so")
    at = data.index(b"/build/env/lib\0")
    destroyed = data.replace(b"/build/env/lib", b"$ORIGIN/..\0\0\0\0")
    assert says(data).symbols == ["", "b"]
    assert says(destroyed).symbols == ["", ""], "what chrpath does"
    new, why = relocated("lib/x/tail.so", data)
    assert says(new).symbols == ["", "b"]
    assert says(new).rpath == ["$ORIGIN/.."]
    assert new[at : at + 15] == b"$ORIGIN/..\0\0\0b\0"
    assert sorted(why) == ["RPATH", "RUNPATH made RPATH"]


@runs_here
def test_shared_tail_is_still_callable(tmp_path: Path) -> None:
    """The symbol in the tail of the old path is found by the loader."""
    target = tmp_path / "tail.so"
    target.write_bytes(relocated("lib/x/tail.so", fixture("tail.so"))[0])
    assert dlopen(target, "b") == 42


# ---- no room ---------------------------------------------------------------------------------


def test_no_room_in_a_lone_extension_drops_the_path() -> None:
    """An extension of the standard library that needs nothing from there loses the entry."""
    new, why = relocated("lib/python3.12/lib-dynload/no_room.so", fixture("no_room.so"))
    assert sorted(why) == ["RPATH", "RPATH dropped"]
    assert says(new)[:3] == ([], [], [])
    assert b"/b\0" not in new


@pytest.mark.parametrize("name", ["no_room.so", "tail_no_room.so"])
@pytest.mark.parametrize("page", [4096, 65536])
def test_no_room_elsewhere_moves_the_string_table(name: str, page: int) -> None:
    """A longer path goes to the end of the file, with 64 KiB pages too; nothing else moves."""
    data = with_align(fixture(name), page)
    new, why = relocated(f"bin/{name}", data)
    assert GROWN in why
    assert says(new)[:2] == (["$ORIGIN/../lib" + ("_dir" if "tail" in name else "")], [])
    same = sum(a == b for a, b in zip(new, data, strict=False))
    assert len(data) - same < 150, "a program header, three words, the old text"
    binary = lief_of(new)  # kept: LIEF's iterators outlive their file, and crash
    loads = [s for s in binary.segments if s.type == lief.ELF.Segment.TYPE.LOAD]
    assert [s.virtual_address for s in loads] == sorted(s.virtual_address for s in loads)
    assert all((s.virtual_address - s.file_offset) % page == 0 for s in loads[-1:])


@runs_here
@pytest.mark.parametrize(
    ("name", "call"), [("no_room.so", "answer"), ("tail_no_room.so", "lib_dir")]
)
@pytest.mark.parametrize("page", [4096, 65536])
def test_grown_library_runs(tmp_path: Path, name: str, call: str, page: int) -> None:
    """The loader takes the new segment and finds the symbols in the moved table."""
    target = tmp_path / name
    target.write_bytes(relocated(f"bin/{name}", with_align(fixture(name), page, last=True))[0])
    assert dlopen(target, call) == 42


def test_no_room_and_no_note_is_left_alone() -> None:
    """Without a program header to give away nothing changes; the search for leaks will show it."""
    assert list(ELF.edits("bin/no_room.so", without_notes(fixture("no_room.so")), MOVES)) == []


def test_bytes_that_nothing_uses_are_room() -> None:
    """Patchelf leaves old names in the string table; a longer path goes there."""
    data = synthetic(rpath="/b", orphan="libleftover-1a2b3c.so.1")
    new, why = relocated("bin/a.so", data)
    assert says(new).rpath == ["$ORIGIN/../lib"]
    assert why.count("RPATH") == 3, "the text, its offset, and zeros over the old text"
    assert b"\0/b\0" not in new


# ---- names of libraries ----------------------------------------------------------------------


def test_absolute_needed_becomes_bare_and_its_folder_a_path() -> None:
    """The name moves into its own tail, DT_VERNEED with it, and its front holds the new path."""
    new, why = relocated("ext/needed.so", fixture("needed.so"))
    assert says(new).needed == ["libdep.so.1"]
    assert says(new).rpath == ["$ORIGIN/../lib"]
    assert b"/build" not in new
    assert why.count("absolute library name made bare") == 2
    binary = lief_of(new)
    assert [need.name for need in binary.symbols_version_requirement] == ["libdep.so.1"]


def test_needed_in_a_folder_that_is_searched_already() -> None:
    """The folder of the needed library is not added twice."""
    new, _ = relocated("ext/needed.so", fixture("needed_rpath.so"))
    assert says(new)[:3] == (["$ORIGIN/../lib"], [], ["libdep.so.1"])
    assert b"/build" not in new


def test_absolute_soname_becomes_bare() -> None:
    """DT_SONAME and the base definition of DT_VERDEF follow, with the hash of the new name."""
    new, _ = relocated("lib/libdep.so.1", fixture("libdep.so.1"))
    binary = lief_of(new)
    base = next(iter(binary.symbols_version_definition))
    assert [str(aux.name) for aux in base.auxiliary_symbols] == ["libdep.so.1"]
    assert base.hash == sysv_hash(b"libdep.so.1")
    assert b"/build" not in new


def test_hash_is_the_linkers() -> None:
    """Our hash of a name is the one ld wrote next to it."""
    binary = lief_of(fixture("libdep.so.1"))
    for definition in binary.symbols_version_definition:
        name = str(next(iter(definition.auxiliary_symbols)).name)
        assert definition.hash == sysv_hash(name.encode())


@runs_here
@pytest.mark.parametrize("name", ["needed", "needed_rpath", "needed_no_room"])
def test_absolute_needed_runs_in_the_moved_tree(tmp_path: Path, name: str) -> None:
    """Ld.so finds the library beside the moved file and is content with the version needs."""
    dep = "libshort.so.1" if name == "needed_no_room" else "libdep.so.1"
    for folder, file in (("lib", dep), ("ext", f"{name}.so")):
        target = tmp_path / folder / file
        target.parent.mkdir()
        target.write_bytes(relocated(f"{folder}/{file}", fixture(file))[0])
    assert dlopen(tmp_path / "ext" / f"{name}.so") == 42


def test_stale_version_needs_would_be_fatal() -> None:
    """Changing DT_NEEDED alone leaves DT_VERNEED behind: the two must change together."""
    edits = list(ELF.edits("ext/needed.so", fixture("needed.so"), MOVES))
    words = [e for e in edits if e.why == "absolute library name made bare"]
    assert sorted(edit.stop - edit.start for edit in words) == [4, 8]


def test_needed_stays_absolute_when_its_folder_cannot_be_named() -> None:
    """A bare name that nothing finds would hide the fault; an absolute one is a leak that shows."""
    data = without_notes(fixture("needed_no_room.so"))
    assert list(ELF.edits("ext/needed.so", data, MOVES)) == []


def test_needed_that_starts_with_origin_is_left_alone() -> None:
    """python-build-standalone needs `$ORIGIN/../lib/libpython3.12.so.1.0`; ld.so expands it."""
    data = synthetic(rpath="$ORIGIN", needed="$ORIGIN/../lib/libpython3.12.so.1.0")
    assert list(ELF.edits("bin/python3.12", data, MOVES)) == []


# ---- paths -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/build/env/lib", "$ORIGIN/../lib"),
        ("/build/env", "$ORIGIN/.."),
        ("/build/env/", "$ORIGIN/.."),
        ("//build/env/./lib//", "$ORIGIN/../lib"),
        ("/build/env/lib/../share/x", "$ORIGIN/../share/x"),
        ("/build/env/bin", "$ORIGIN"),
        ("/build/env/lib64", "$ORIGIN/../lib"),
        ("/build/env/lib64:/build/env/lib", "$ORIGIN/../lib"),
        ("/build/env/lib::/build/env/lib/", "$ORIGIN/../lib"),
        ("$ORIGIN/../lib:/build/env/lib", "$ORIGIN/../lib"),
        ("/usr/lib/a:/build/env/lib:/usr/lib/b", "/usr/lib/a:$ORIGIN/../lib:/usr/lib/b"),
        ("/build/env/../environment", None),
        ("/build/environment/lib", None),
        ("/usr/lib", None),
        ("relative/lib", None),
        ("", None),
    ],
)
def test_components(old: str, new: str | None) -> None:
    """A component counts from a path boundary, cleaned; the longest move wins; twins merge."""
    moved, _ = relocated("bin/a.so", synthetic(rpath=old))
    assert says(moved).rpath == [old if new is None else new]


def test_bytes_that_are_no_text_survive() -> None:
    """Paths are bytes: a component that is not UTF-8 stays as it is."""
    data = synthetic(rpath="/usr/lib/XY:/build/env/lib").replace(b"XY", b"\xff\xfe")
    new = apply(data, ELF.edits("bin/a.so", data, MOVES))
    assert b"\0/usr/lib/\xff\xfe:$ORIGIN/../lib\0" in new


def test_a_place_with_a_colon_cannot_be_said() -> None:
    """A colon separates components and has no escape, so such a place is left alone."""
    data = synthetic(rpath="/build/env/lib", orphan="x" * 99)
    assert list(ELF.edits("bin/a.so", data, (Move("/build/env", "a:b"),))) == []


# ---- other machines --------------------------------------------------------------------------


# x86-64, s390x, ARM, PowerPC: LIEF refuses a machine of the wrong class
MACHINES = {(True, "<"): 62, (True, ">"): 22, (False, "<"): 40, (False, ">"): 20}


def synthetic(
    *,
    rpath: str,
    needed: str = "libz.so.1",
    orphan: str = "",
    wide: bool = True,
    order: str = "<",
) -> bytes:
    """Build the least that a loader reads: one PT_LOAD, PT_DYNAMIC, DT_SYMTAB, DT_STRTAB."""
    word = "Q" if wide else "I"
    machine = MACHINES[wide, order]
    base = 0x10000
    texts = [needed, rpath, "symbol", orphan]
    offsets, strings = [], b"\0"
    for text in texts:
        offsets.append(len(strings))
        strings += text.encode() + b"\0"
    header, segment, symbol, entry = (64, 56, 24, 16) if wide else (52, 32, 16, 8)
    symbols_at = header + 2 * segment
    symbols = bytes(symbol) + struct.pack(order + "I", offsets[2]).ljust(symbol, b"\0")
    strings_at = symbols_at + len(symbols)
    dynamic_at = strings_at + len(strings) + -(strings_at + len(strings)) % 8
    table = [
        (1, offsets[0]),
        (15, offsets[1]),
        (5, base + strings_at),
        (6, base + symbols_at),
        (10, len(strings)),
        (11, symbol),
        (0, 0),
    ]
    size = dynamic_at + len(table) * entry
    segments = [(1, 0, size), (2, dynamic_at, len(table) * entry)]
    out = b"\x7fELF" + bytes((2 if wide else 1, 1 if order == "<" else 2, 1)).ljust(12, b"\0")
    out += struct.pack(order + "HHI" + 3 * word + "I", 3, machine, 1, 0, header, 0, 0)
    out += struct.pack(order + "6H", header, segment, 2, 0, 0, 0)
    for kind, start, length in segments:
        place = (start, base + start, base + start, length, length)
        out += (
            struct.pack(order + "II6Q", kind, 4, *place, 4096)
            if wide
            else struct.pack(order + "8I", kind, *place, 4, 4096)
        )
    out += symbols + strings
    out = out.ljust(dynamic_at, b"\0")
    return out + b"".join(struct.pack(order + 2 * word, *pair) for pair in table)


@pytest.mark.parametrize(("wide", "order"), MACHINES)
def test_every_class_and_byte_order(wide: bool, order: str) -> None:
    """ELF32 and ELF64, little and big endian, are edited alike."""
    data = synthetic(rpath="/build/env/lib", wide=wide, order=order)
    new, why = relocated("bin/a.so", data)
    assert why == ["RPATH"]
    assert says(new).rpath == ["$ORIGIN/../lib"]


def test_files_without_a_dynamic_section() -> None:
    """Static programs and object files have nothing for a loader."""
    object_file = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHI", 1, 62, 1)
    assert list(ELF.edits("lib/a.o", object_file.ljust(64, b"\0"), MOVES)) == []


# ---- damage ----------------------------------------------------------------------------------


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


def test_a_huge_file_is_not_read() -> None:
    """With nothing to do, a few kilobytes are read, whatever the size of the file."""
    view = Counting(fixture("origin.so") + bytes(50_000_000))
    assert list(ELF.edits("lib/x.so", view, MOVES)) == []
    assert view.reads <= 4
    assert view.bytes <= 4096


def check_sound(name: str, data: bytes) -> None:
    """Check that edits are in order, within the file, and keep its size but for its end."""
    view = Counting(data)
    done = 0
    for edit in ELF.edits(name, view, MOVES):
        assert done <= edit.start <= edit.stop <= len(view)
        if edit.start != len(view):
            assert len(edit.data) == edit.stop - edit.start > 0
        done = edit.stop


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_harmless(name: str) -> None:
    """A file cut at any byte gives edits that fit it, or none."""
    data = fixture(name)
    for size in range(len(data)):
        check_sound("lib/python3.12/lib-dynload/a.so", data[:size])


damage = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"\xff" * 8, b"\xff" * 4, bytes(8), b"\1" + bytes(7)]),
        ),
    ),
    min_size=1,
    max_size=6,
)


@given(st.sampled_from(NAMES), damage)
@example("needed.so", [(32, b"\xff" * 8)])
@example("needed.so", [(54, b"\0\0\xff\xff")])
@settings(max_examples=1000)
def test_damage_is_harmless(name: str, changes: list[tuple[int, bytes]]) -> None:
    """Whatever bytes change: no exception, no endless loop, and edits that fit the file."""
    data = bytearray(fixture(name))
    for at, new in changes:
        place = at % len(data)
        data[place : place + len(new)] = new[: len(data) - place]
    check_sound("lib/python3.12/lib-dynload/a.so", bytes(data))


def test_overlapping_edits_are_refused() -> None:
    """Tables that overlap would be edited twice; such a file is damaged."""
    data = bytes(16)
    assert _checked(data, [Edit(8, 12, b"late", "b"), Edit(0, 4, b"soon", "a")])[0].start == 0
    with pytest.raises(Damaged):
        _checked(data, [Edit(0, 4, b"over", "a"), Edit(3, 7, b"laps", "b")])
    with pytest.raises(Damaged):
        _checked(data, [Edit(0, 4, b"other size", "a")])


def test_a_list_that_runs_in_a_circle_is_damage() -> None:
    """More version names than the table has room for are a loop, however long it says it is."""
    data = bytearray(fixture("needed.so"))
    elf = read(bytes(data))
    assert elf is not None
    at = elf.version_names()[0].at - 4  # Elf64_Verneed, whose vn_cnt is the second half-word
    struct.pack_into("<H", data, at + 2, 0xFFFF)
    assert list(ELF.edits("ext/needed.so", bytes(data), MOVES)) == []


@given(st.binary(max_size=400))
def test_any_bytes_are_harmless(tail: bytes) -> None:
    """ELF's magic alone promises nothing."""
    check_sound("bin/python3.12", b"\x7fELF" + tail)


parts = st.sampled_from(
    ["/build/env/lib", "/build/env", "/build/env//lib/", "/usr/lib", "$ORIGIN", "${ORIGIN}/..", ""]
)


@given(st.lists(parts, min_size=1, max_size=5), st.booleans(), st.sampled_from("<>"))
def test_edits_reach_a_fixed_point(path: list[str], wide: bool, order: str) -> None:
    """Edited once, a file is right; no build path is left in it if there was room."""
    data = synthetic(rpath=":".join(path), wide=wide, order=order, orphan="x" * 99)
    new, _ = relocated("lib/python3.12/lib-dynload/a.so", data)
    assert b"/build" not in new
    kept = [part for part in path if part and "/build" not in part]
    if "/build" in ":".join(path):
        assert [p for p in says(new).rpath[0].split(":") if p in kept] == list(dict.fromkeys(kept))


# ---- the loader itself -----------------------------------------------------------------------


@runs_here
@needs_gcc
@pytest.mark.parametrize("tags", ["enable", "disable"])
@pytest.mark.parametrize("place", ["lib", "deep/" * 40 + "lib"])
def test_a_program_runs_in_the_moved_tree(tmp_path: Path, tags: str, place: str) -> None:
    """A program and its library, linked by an absolute path, run where they were moved to.

    The deep place has no room in the string table, so the program gets a further segment.
    """
    built = tmp_path / "built" / "prefix"
    for folder in ("bin", "lib"):
        (built / folder).mkdir(parents=True)
    library = tmp_path / "a.c"
    library.write_text("int answer(void) { return 42; }")
    program = tmp_path / "b.c"
    program.write_text("int answer(void); int main(void) { return answer(); }")
    soname = f"-Wl,-soname,{built}/lib/libanswer.so"
    out = str(built / "lib/libanswer.so")
    subprocess.run(["gcc", "-shared", "-o", out, str(library), soname], check=True)
    path = f"-Wl,--{tags}-new-dtags,-rpath,{built}/lib"
    command = ["gcc", "-o", str(built / "bin/program"), str(program), out, path]
    subprocess.run(command, check=True)

    moved = tmp_path / "moved é here"
    moves = (Move(f"{built}/lib", place), Move(str(built), ""))
    for folder, new_folder, file in (("bin", "bin", "program"), ("lib", place, "libanswer.so")):
        target = moved / new_folder / file
        target.parent.mkdir(parents=True)
        new, why = relocated(f"{new_folder}/{file}", (built / folder / file).read_bytes(), moves)
        assert (GROWN in why) == (folder == "bin" and place != "lib")
        assert str(built).encode() not in new
        target.write_bytes(new)
        target.chmod(0o755)
    shutil.rmtree(built)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "libanswer.so").write_bytes(b"not a library")
    for env in ({}, {"LD_LIBRARY_PATH": str(foreign)}):
        run = subprocess.run([str(moved / "bin/program")], check=False, env=env)
        assert run.returncode == 42


def pyenv() -> Path | None:
    """Return a CPython 3.12 that was built with a shared library and an absolute RUNPATH."""
    for path in sorted(Path("~/.pyenv/versions").expanduser().glob("3.12.*")):
        if (path / "lib/libpython3.12.so.1.0").is_file():
            return path
    return None


@runs_here
@pytest.mark.skipif(pyenv() is None, reason="NOT PROVEN HERE: no pyenv build of Python 3.12")
def test_a_real_interpreter_starts_where_it_was_moved_to(tmp_path: Path) -> None:
    """Every file of a pyenv build becomes relative, and a foreign libpython is not loaded."""
    source = pyenv()
    assert source is not None
    skip = shutil.ignore_patterns("site-packages", "test", "__pycache__", "config-*", "idlelib")
    shutil.copytree(source / "lib/python3.12", tmp_path / "lib/python3.12", ignore=skip)
    (tmp_path / "bin").mkdir()
    names = ["bin/python3.12", "lib/libpython3.12.so.1.0"]
    for name in names:
        shutil.copy(source / name, tmp_path / name)
    dynload = tmp_path / "lib/python3.12/lib-dynload"
    names += [str(path.relative_to(tmp_path)) for path in sorted(dynload.glob("*.so"))]
    moves = (Move(str(source), ""),)
    for name in names:
        target = tmp_path / name
        new, why = relocated(name, target.read_bytes(), moves)
        assert GROWN not in why
        found = says(new)
        assert not any(str(source) in text for text in found.rpath + found.runpath + found.needed)
        target.chmod(0o755)
        target.write_bytes(new)
    assert len(names) > 60
    code = (
        "import sys, os, _ctypes, _ssl, math, json\n"
        "maps = open('/proc/self/maps').read()\n"
        "print(json.dumps([sys.prefix, sys.argv[1] in maps, len(os.listdir(sys.argv[2]))]))\n"
    )
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "libpython3.12.so.1.0").write_bytes(b"not a library")
    run = subprocess.run(
        [str(tmp_path / "bin/python3.12"), "-IBc", code, str(source), str(dynload)],
        check=True,
        capture_output=True,
        text=True,
        env={"LD_LIBRARY_PATH": str(foreign)},
    )
    assert run.stdout.strip() == f'["{tmp_path}", false, {len(names) - 2}]'
