"""Reads what the dynamic loader reads of an ELF file, and no more.

Format: System V gABI, chapters 4 and 5; names as in `/usr/include/elf.h`; symbol versions as in the
LSB Core specification, "Symbol Versioning". Only program headers lead the way, because section
headers may be stripped or wrong, and the loader never looks at them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from envpack.model import View

MAGIC = b"\x7fELF"
EM_MIPS = 8

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_PN_XNUM = 0xFFFF  # the true count is in a section header

DT_NULL, DT_NEEDED, DT_STRTAB, DT_SYMTAB, DT_STRSZ = 0, 1, 5, 6, 10
DT_SONAME, DT_RPATH, DT_RUNPATH = 14, 15, 29
_DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFFFC, 0x6FFFFFFD
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_VER_FLG_WEAK = 2
# CONFIG, DEPAUDIT, AUDIT, AUXILIARY, USED and FILTER hold names too.
_STRING_TAGS = frozenset(
    {DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH}
    | {0x6FFFFEFA, 0x6FFFFEFB, 0x6FFFFEFC, 0x7FFFFFFD, 0x7FFFFFFE, 0x7FFFFFFF}
)
# PLTGOT HASH STRTAB SYMTAB RELA INIT FINI REL JMPREL INIT_ARRAY FINI_ARRAY PREINIT_ARRAY RELR
# TLSDESC_PLT TLSDESC_GOT GNU_HASH VERSYM VERDEF VERNEED
_ADDRESS_TAGS = frozenset(
    {3, 4, 5, 6, 7, 12, 13, 17, 23, 25, 26, 32, 36}
    | {0x6FFFFEF6, 0x6FFFFEF7, 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFE}
)

_HEAD = 1024  # the file header and, but for files that were patched, all program headers
# Each name is small, and nothing keeps a file from naming a large one again and again. Of what was
# seen the longest has 60 kB: the search path of a Spack build, of some 300 folders.
_MAX_STRING = 1 << 20
_MAX_PATH = 4096  # PATH_MAX: the kernel opens no loader beyond it
_MAX_TEXTS = 1 << 20
_MAX_PARTS = 1 << 12
_MAX_DYNAMIC = 1 << 20
_MAX_VERSIONS = 1 << 22
_MAX_SYMBOLS = 1 << 26


class Damaged(Exception):
    """The bytes are no ELF file that a loader would take; such a file is left alone."""


class _Shape(NamedTuple):
    """The structs of one class and byte order, each with only the fields that are needed.

    `header`: e_machine, e_phoff, e_phentsize, e_phnum. `segment`: p_type, p_offset, p_vaddr,
    p_filesz. `dynamic`: d_tag, d_un. `symbol`: st_name.
    """

    order: str
    header: struct.Struct
    segment: struct.Struct
    dynamic: struct.Struct
    symbol: struct.Struct


def _shape(wide: bool, order: str) -> _Shape:
    layouts = (
        ("18xH12xQ14xHH", "I4xQQ8xQ16x", "QQ", "I20x")
        if wide
        else ("18xH8xI10xHH", "III4xI12x", "II", "I12x")
    )
    return _Shape(order, *(struct.Struct(order + layout) for layout in layouts))


_SHAPES = {
    bytes((size, data)): _shape(size == 2, order)
    for size in (1, 2)
    for data, order in ((1, "<"), (2, ">"))
}


class Segment(NamedTuple):
    """A PT_LOAD: where its bytes are in the file and in memory."""

    offset: int
    address: int
    size: int


class VersionName(NamedTuple):
    """A name in DT_VERNEED or DT_VERDEF: the file offset of the word that holds its offset.

    `hash_at` is the file offset of the hash of this very name, 0 if none is kept next to it.
    """

    at: int
    value: int
    hash_at: int = 0


class Elf(NamedTuple):
    """The dynamic section of one file and the way from addresses to file offsets.

    `dynamic` is every entry before the first DT_NULL; `spare` is how many more entries there is
    room for, with one DT_NULL kept as the end. `loader` is where PT_INTERP is in the file and how
    many bytes it has, None for what is no program.
    """

    view: View
    shape: _Shape
    machine: int
    segments_at: int
    segments_size: int
    loads: tuple[Segment, ...]
    dynamic_at: int
    dynamic: tuple[tuple[int, int], ...]
    spare: int
    strings_at: int
    strings_size: int
    loader: tuple[int, int] | None = None

    def loader_path(self) -> bytes:
        """Return PT_INTERP, the path of the program's loader, without its NULs; b"" if none."""
        if self.loader is None or self.loader[1] > _MAX_PATH:
            return b""
        return cut(self.view, *self.loader).partition(b"\0")[0]

    def string(self, offset: int) -> bytes:
        """Return the string at `offset` of DT_STRTAB, without its NUL."""
        size = 128
        while offset < self.strings_size:
            size = min(size, self.strings_size - offset)
            data = cut(self.view, self.strings_at + offset, size)
            end = data.find(0)
            if end >= 0:
                return data[:end]
            if size >= min(_MAX_STRING, self.strings_size - offset):
                break
            size *= 8
        raise Damaged

    def texts(self, offsets: Iterable[int]) -> list[bytes]:
        """Return the strings at `offsets`, each as often as it is named, within reason in sum."""
        found = []
        room = _MAX_TEXTS
        for offset in offsets:
            text = self.string(offset)
            room -= len(text)
            if room < 0 or text.count(b":") > _MAX_PARTS:
                raise Damaged
            found.append(text)
        return found

    def strings(self) -> bytes:
        """Return all of DT_STRTAB; it must not run into another table."""
        if self._extent(self._entry(DT_STRTAB)) < self.strings_size:
            raise Damaged
        return cut(self.view, self.strings_at, self.strings_size)

    def symbol_names(self) -> Iterator[int]:
        """Yield the string offsets of all dynamic symbols, and possibly of more than there are.

        No entry holds their number. DT_HASH words are 8 bytes on some machines, and the walk of
        DT_GNU_HASH ends at symbol 1 in a file that exports nothing. The table ends before the next
        one, so reading up to there never misses a name; what is too much only costs room.
        """
        address = self._entry(DT_SYMTAB)
        size = self._extent(address)
        if size > _MAX_SYMBOLS:
            raise Damaged
        size -= size % self.shape.symbol.size
        data = cut(self.view, self._offset(address), size)
        return (name for (name,) in self.shape.symbol.iter_unpack(data))

    def version_names(self) -> tuple[VersionName, ...]:
        """Return every name in DT_VERNEED (vn_file, vna_name) and DT_VERDEF (vda_name)."""
        order = self.shape.order
        needs = self._version_names(
            (_DT_VERNEED, _DT_VERNEEDNUM),
            # vn_cnt, vn_file, vn_aux, vn_next; vna_name, vna_next
            (struct.Struct(order + "2xHIII"), struct.Struct(order + "8xII")),
            own=4,
        )
        definitions = self._version_names(
            (_DT_VERDEF, _DT_VERDEFNUM),
            # vd_cnt, vd_hash, vd_aux, vd_next; vda_name, vda_next
            (struct.Struct(order + "6xHIII"), struct.Struct(order + "II")),
            own=0,
        )
        return (*needs, *definitions)

    def version_needs(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Return DT_VERNEED: each library's name and the names of the versions wanted of it.

        All by string offset. A weak version (VER_FLG_WEAK) is left out: the loader does without.
        """
        found = dict(self.dynamic)
        if _DT_VERNEED not in found:
            return ()
        # vn_cnt, vn_file, vn_aux, vn_next; vna_flags, vna_name, vna_next
        outer = struct.Struct(self.shape.order + "2xHIII")
        inner = struct.Struct(self.shape.order + "4xH2xII")
        address = found[_DT_VERNEED]
        data = cut(self.view, self._offset(address), min(self._extent(address), _MAX_VERSIONS))
        budget = len(data) // inner.size + 1
        needs = []
        at = 0
        for _ in range(found.get(_DT_VERNEEDNUM, 0)):
            count, library, aux, following = _unpack(outer, data, at)
            budget -= count + 1
            if budget < 0:
                raise Damaged
            names = []
            place = at + aux
            for _ in range(count):
                flags, name, step = _unpack(inner, data, place)
                names += [] if flags & _VER_FLG_WEAK else [name]
                place += step
            needs.append((library, tuple(names)))
            at += following
            if not following:
                break
        return tuple(needs)

    def other_names(self) -> Iterator[int]:
        """Yield the string offsets of the dynamic entries other than those an edit may move."""
        movable = (DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH)
        return (value for tag, value in self.dynamic if tag in _STRING_TAGS and tag not in movable)

    def _version_names(
        self,
        tags: tuple[int, int],
        layouts: tuple[struct.Struct, struct.Struct],
        *,
        own: int,
    ) -> Iterator[VersionName]:
        """Walk a list of lists; `own` is where an outer record keeps a name, 0 if it has none."""
        outer, inner = layouts
        found = dict(self.dynamic)
        if tags[0] not in found:
            return
        address = found[tags[0]]
        base = self._offset(address)
        data = cut(self.view, base, min(self._extent(address), _MAX_VERSIONS))
        budget = len(data) // inner.size + 1  # more records than fit mean a loop
        at = 0
        for _ in range(found.get(tags[1], 0)):
            count, first, aux, following = _unpack(outer, data, at)
            if own:
                yield VersionName(base + at + own, first)
            place = at + aux
            for index in range(count):
                budget -= 1
                name, step = _unpack(inner, data, place)
                word = base + place + inner.size - 8
                yield VersionName(word, name, 0 if own or index else base + at + 8)
                place += step
            at += following
            budget -= 1
            if budget < 0:
                raise Damaged
            if not following:
                return

    def _entry(self, tag: int) -> int:
        value = dict(self.dynamic).get(tag)  # the last one counts, as for the loader
        if value is None:
            raise Damaged
        return value

    def _offset(self, address: int) -> int:
        return _offset(self.loads, address)

    def _extent(self, address: int) -> int:
        """Return how many bytes a table at `address` can have: up to the next one."""
        segment = _segment(self.loads, address)
        starts = sorted({value for tag, value in self.dynamic if tag in _ADDRESS_TAGS})
        after = starts[bisect_right(starts, address) :]
        end = segment.address + segment.size
        return min([end, *after[:1]]) - address


def read(view: View) -> Elf | None:
    """Read headers and PT_DYNAMIC; None for a file without one (static, or an object file).

    Raises Damaged.
    """
    head = view[0 : min(_HEAD, len(view))]
    shape = _SHAPES.get(head[4:6])
    if head[:4] != MAGIC or shape is None:
        raise Damaged
    machine, table_at, entry_size, count = _unpack(shape.header, head, 0)
    if not count:
        return None
    if count == _PN_XNUM or entry_size != shape.segment.size:
        raise Damaged
    size = count * entry_size
    end = table_at + size
    table = head[table_at:end] if end <= len(head) else cut(view, table_at, size)
    loads: list[Segment] = []
    place = loader = None
    for kind, offset, address, length in shape.segment.iter_unpack(table):
        if kind == _PT_LOAD:
            loads.append(Segment(offset, address, length))
        elif kind == _PT_DYNAMIC:
            place = offset, length
        elif kind == _PT_INTERP and loader is None:
            loader = offset, length
    if place is None:
        return None
    dynamic, spare = _read_dynamic(view, shape.dynamic, *place)
    found = dict(dynamic)
    if DT_STRTAB not in found or DT_STRSZ not in found:
        raise Damaged
    return Elf(
        view=view,
        shape=shape,
        machine=machine,
        segments_at=table_at,
        segments_size=size,
        loads=tuple(loads),
        dynamic_at=place[0],
        dynamic=dynamic,
        spare=spare,
        strings_at=_offset(loads, found[DT_STRTAB]),
        strings_size=found[DT_STRSZ],
        loader=loader,
    )


def _read_dynamic(
    view: View, layout: struct.Struct, start: int, size: int
) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the entries before the first DT_NULL, and how many more there is room for."""
    if size > _MAX_DYNAMIC:
        raise Damaged
    table = tuple(layout.iter_unpack(cut(view, start, size - size % layout.size)))
    count = next((n for n, (tag, _) in enumerate(table) if tag == DT_NULL), None)
    if count is None:
        raise Damaged
    rest = table[count:]
    empty = next((n for n, entry in enumerate(rest) if entry != (0, 0)), len(rest))
    return table[:count], max(0, empty - 1)


def gaps(strings: bytes, used: Iterable[int]) -> list[tuple[int, int]]:
    """Return the spans of a string table that are part of no used string, in order.

    A string lasts from its offset to the next NUL, so the tail that a linker shares between two
    names belongs to both of them. Offset 0 is the empty string of everybody.
    """
    found: list[tuple[int, int]] = []
    covered = 0
    for offset in sorted({0, *used}):
        if offset < covered or offset >= len(strings):
            continue
        if offset > covered:
            found.append((covered, offset))
        end = strings.find(0, offset)
        covered = end + 1 if end >= 0 else len(strings)
    if covered < len(strings):
        found.append((covered, len(strings)))
    return found


def cut(view: View, start: int, size: int) -> bytes:
    """Return exactly `size` bytes from `start`. Raises Damaged if the file has not that many."""
    if start + size > len(view):
        raise Damaged
    data = view[start : start + size]
    if len(data) != size:
        raise Damaged
    return data


def _unpack(layout: struct.Struct, data: bytes, at: int) -> tuple[int, ...]:
    if at + layout.size > len(data):
        raise Damaged
    return layout.unpack_from(data, at)


def _segment(loads: Iterable[Segment], address: int) -> Segment:
    for load in loads:
        if load.address <= address < load.address + load.size:
            return load
    raise Damaged


def _offset(loads: Iterable[Segment], address: int) -> int:
    segment = _segment(loads, address)
    return segment.offset + address - segment.address
