"""Gives an ELF file a longer string table, where no byte of the old one is left for a new name.

A copy of DT_STRTAB with the new text goes to the end of the file, where a new PT_LOAD maps it. The
program header for it is the one of a PT_NOTE (the build id, mostly), which no loader needs, so no
other byte of the file moves. That is why this is not left to LIEF: it rewrites the whole file, must
not be used with pages over 4 KiB, and aborts the process on some damaged files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from envpack.model import Edit
from envpack.relocate._elf_read import DT_STRSZ, DT_STRTAB, Damaged, Elf, cut

GROWN = "RPATH (string table moved)"

_PT_LOAD, _PT_NOTE, _PF_R = 1, 4, 4
_MAX_PAGE = 1 << 24


def grown(elf: Elf, strings: bytes) -> list[Edit] | None:
    """Return the edits that make `strings` the string table, None if no header can be had.

    `strings` begins with the old table, so that the offsets of all names stay.
    """
    wide = elf.shape.dynamic.size == 16
    # p_type p_flags p_offset p_vaddr p_paddr p_filesz p_memsz p_align; ELF32 has p_flags late
    layout = struct.Struct(elf.shape.order + ("II6Q" if wide else "8I"))
    raw = cut(elf.view, elf.segments_at, elf.segments_size)
    table = [layout.unpack_from(raw, at) for at in range(0, len(raw), layout.size)]
    notes = [n for n, header in enumerate(table) if header[0] == _PT_NOTE]
    if not notes:
        return None
    address_at, size_at = (3, 6) if wide else (2, 5)
    loads = [header for header in table if header[0] == _PT_LOAD]
    page = max(4096, *(header[7] for header in loads))
    if page > _MAX_PAGE or page & (page - 1):
        raise Damaged
    size = len(elf.view)
    start = size + -size % 16
    end = max(header[address_at] + header[size_at] for header in loads)
    address = end + -end % page + start % page
    if address + len(strings) >= 1 << (63 if wide else 31):
        return None
    length = len(strings)
    place = (start, address, address, length, length)
    del table[notes[-1]]
    last = max(n for n, header in enumerate(table) if header[0] == _PT_LOAD)
    # The loader wants PT_LOADs in the order of their addresses.
    table.insert(
        last + 1,
        (_PT_LOAD, _PF_R, *place, page) if wide else (_PT_LOAD, *place, _PF_R, page),
    )
    headers = b"".join(layout.pack(*header) for header in table)
    return [
        Edit(elf.segments_at, elf.segments_at + len(headers), headers, GROWN),
        *_pointers(elf, address, length),
        Edit(size, size, bytes(start - size) + strings, GROWN),
    ]


def _pointers(elf: Elf, address: int, length: int) -> Iterator[Edit]:
    layout = elf.shape.dynamic
    half = layout.size // 2
    for index, (tag, _) in enumerate(elf.dynamic):
        if tag in {DT_STRTAB, DT_STRSZ}:
            at = elf.dynamic_at + index * layout.size
            value = address if tag == DT_STRTAB else length
            yield Edit(at + half, at + layout.size, layout.pack(tag, value)[half:], GROWN)
