"""A small ELF file cannot ask for much time or memory, whatever its tables say."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from envpack.floor import wanted
from envpack.model import Move
from envpack.relocate.elf import ElfRelocator, loader_strings
from envpack.relocate.elf_add import edits_with

TABLE = 0x1000
STRINGS = 2 << 20
MOVES = (Move("/old", ""),)
LONG = b"\0/old/lib\0" + b"a" * ((1 << 20) - 64)
NEEDED, STRTAB, STRSZ, RUNPATH = 1, 5, 10, 29
VERNEED, VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF


def file(entries: list[tuple[int, int]], strings: bytes, more: bytes = b"") -> bytes:
    """Return a shared object with a dynamic section, strings at STRINGS and `more` behind them."""
    strings += b"\0"
    entries = [(STRTAB, STRINGS), (STRSZ, len(strings)), *entries, (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    end = STRINGS + len(strings) + len(more) + 64
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, end, end, 4096)
    head += struct.pack("<IIQQQQQQ", 2, 6, TABLE, TABLE, TABLE, len(dynamic), len(dynamic), 8)
    data = (head.ljust(TABLE, b"\0") + dynamic).ljust(STRINGS, b"\0") + strings + more
    return data.ljust(end, b"\0")


def many_needed(step: int) -> bytes:
    """Return a file with 65 000 needed libraries, of names that share a megabyte."""
    return file([(RUNPATH, 1), *((NEEDED, 10 + step * n) for n in range(65_000))], LONG)


def many_versions() -> bytes:
    """Return a file that wants 65 000 versions of one library."""
    names = b"".join(struct.pack("<IHHII", 0, 0, 2, 10 + n % 900, 16) for n in range(65_000))
    table = struct.pack("<HHIII", 1, 65_000, 10, 16, 0) + names
    place = STRINGS + len(LONG) + 1
    return file([(RUNPATH, 1), (VERNEED, place), (VERNEEDNUM, 1)], LONG, table)


def many_parts() -> bytes:
    """Return a file with a search path of 100 000 folders."""
    return file([(RUNPATH, 1)], b"\0" + b":".join(b"/old/%x" % n for n in range(100_000)))


HOSTILE = [many_needed(0), many_needed(1), many_versions(), many_parts()]
READERS: list[Callable[[bytes], Any]] = [
    wanted,
    loader_strings,
    lambda data: ElfRelocator().edits("lib/x.so", data, MOVES),
    lambda data: edits_with("lib/x.so", data, MOVES, ("$ORIGIN",)),
]


@pytest.mark.parametrize("data", HOSTILE, ids=["one", "shifted", "versions", "parts"])
@pytest.mark.parametrize("read", READERS, ids=["wanted", "strings", "edits", "add"])
def test_reading_is_bounded(data: bytes, read: Callable[[bytes], Any]) -> None:
    """Seconds and a few megabytes, where each entry alone would be within its own limit."""
    tracemalloc.start()
    begin = time.process_time()
    read(data)
    spent, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spent < 3
    assert peak < 64 << 20


def test_a_large_search_path_is_read() -> None:
    """Of a thousand folders, more than any build was seen to have."""
    path = b":".join(b"/old/a/rather/long/name/of/a/folder/%d" % n for n in range(1000))
    data = file([(RUNPATH, 1)], b"\0" + path)
    assert len(wanted(data).search) == 1000
    assert loader_strings(data)[0] == path
