"""One deflate stream, and one gzip member, made by many workers.

The input is cut into blocks of one length. Each is deflated on its own, primed with the 32 KiB
before it, and ends at a byte boundary (Z_SYNC_FLUSH, RFC 1951 3.2.4), so that the results laid end
to end are one stream that any decoder reads, also those that stop after a gzip file's first
member. The CRC-32 of the whole is computed from those of the blocks. What comes out depends on the
input, the level and the length of the blocks, and not on the number of workers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import FileIO
from mmap import mmap
from typing import BinaryIO, NamedTuple

from envpack.kept import Packed, Seam
from envpack.parallel import Pool

WINDOW = 32 * 1024
"""How far back a deflate stream may refer (RFC 1951 2)."""

_STORED_MAX = 0xFFFF
"""Most bytes of a stored block (RFC 1951 3.2.4)."""

_STORED = struct.Struct("<BHH")
"""BFINAL and BTYPE 00, LEN, NLEN (RFC 1951 3.2.4), which begin at a byte boundary here."""

_GZIP_HEADER = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, 0, 0, 0, 255)
"""ID1, ID2, CM = deflate, FLG = no fields, MTIME = none, XFL, OS = unknown (RFC 1952 2.3)."""

_GZIP_TRAILER = struct.Struct("<II")
"""CRC32 and ISIZE, the size modulo 2**32 (RFC 1952 2.3.1)."""

_AHEAD = 4
_MOST_AHEAD = 32
"""Blocks in flight for each worker, and for all: more could not be read in the time."""

_MORE = 64
"""Room for what an empty block takes to deflate; more than it is long no other block may."""

LEVELS = (1, 2, 3, 4, 5, 6, 7, 9, 9)
"""zlib-ng's own levels for 1 to 9; its 8 is both slower and larger than its 9."""

DEFAULT_LEVEL = 4
"""What gives archives as small as zlib at that level does, at twice its speed."""


def engine(level: int) -> str:
    """Say what a stream's bytes depend on besides its input, versions included."""
    from importlib.metadata import version  # late: 10 ms that only a cache needs

    from zlib_ng import zlib_ng  # late: not every run compresses

    # At some levels a block in one call is two bytes shorter than the same in two.
    calls = "one call" if hasattr(zlib_ng, "_ParallelCompress") else "two calls"
    return f"zlib-ng {version('zlib-ng')} level {LEVELS[level - 1]}, {calls}"


Bytes = bytes | bytearray | mmap
"""Bytes in memory, of which the last kind goes back to the system as soon as nobody holds it."""


class Block(NamedTuple):
    """A piece of a deflate stream, and the CRC-32 and size of the bytes it stands for."""

    data: Bytes
    crc: int
    size: int
    last: bool


def crc32_combine(first: int, second: int, length: int) -> int:
    """Return the CRC-32 of two strings laid end to end from theirs; `length` is the second's."""
    from zlib_ng import zlib_ng  # late: not every run compresses

    return zlib_ng.crc32_combine(first, second, length)


def _stored(data: bytes, last: bool) -> bytes:
    """Return `data` as stored blocks, which also end at a byte boundary."""
    pieces: list[bytes] = []
    for start in range(0, len(data), _STORED_MAX):
        part = data[start : start + _STORED_MAX]
        final = last and start + _STORED_MAX >= len(data)
        pieces += _STORED.pack(final, len(part), len(part) ^ 0xFFFF), part
    return b"".join(pieces)


def bound(size: int, block: int) -> int:
    """Return what the stream of `size` bytes in blocks of `block` cannot exceed."""
    return size + _STORED.size * (size // _STORED_MAX + size // block + 2)


def _deflate(data: bytes, before: bytes, level: int, last: bool) -> Block:
    """Deflate one block; one that does not shrink is stored."""
    from zlib_ng import zlib_ng  # late: not every run compresses

    packed: bytes | None
    crc: int | None = None
    if last or not hasattr(zlib_ng, "_ParallelCompress"):
        flush = zlib_ng.Z_FINISH if last else zlib_ng.Z_SYNC_FLUSH
        wbits = -zlib_ng.MAX_WBITS
        engine = zlib_ng.compressobj(level=LEVELS[level - 1], wbits=wbits, zdict=before)
        packed = engine.compress(data) + engine.flush(flush)
    else:
        packed, crc = _at_once(data, before, LEVELS[level - 1])
    if packed is None or len(packed) > len(data) > 0:
        packed = _stored(data, last)
    return Block(packed, zlib_ng.crc32(data) if crc is None else crc, len(data), last)


def _at_once(data: bytes, before: bytes, level: int) -> tuple[bytes | None, int | None]:
    """Deflate up to a byte boundary; return that and the CRC-32, nothing if it does not shrink.

    In one call that releases the GIL once, where a compressobj takes it back for each piece of its
    output, and a worker waits for it. zlib-ng's own `gzip_ng_threaded` is built on this class; a
    new one is made for each block because a used one gives other bytes.
    """
    from zlib_ng import zlib_ng  # late: not every run compresses

    engine = zlib_ng._ParallelCompress(len(data) + _MORE, level)  # noqa: SLF001 - as said above
    try:
        return engine.compress_and_crc(data, before)
    except OverflowError:
        return None, None


def tasks(
    blocks: Iterable[bytes],
    *,
    level: int,
    final: bool = True,
) -> Iterator[tuple[Callable[[], Block], int]]:
    """Yield the work that makes one raw deflate stream of `blocks`, with its cost in bytes.

    In the shape that `Pool.ordered` takes. No block gives one piece, the empty stream. Without
    `final` it ends at a byte boundary, and another stream may follow.
    """
    before = b""
    source = iter(blocks)
    block = next(source, b"")
    for following in source:
        yield partial(_deflate, block, before, level, last=False), len(block)
        before = (before + block[-WINDOW:])[-WINDOW:]
        block = following
    if final or block:
        yield partial(_deflate, block, before, level, last=final), len(block)


def budget(pool: Pool, block: int) -> int:
    """Return how many bytes may be in flight: a few blocks for each worker, up to a limit."""
    return min(_AHEAD * pool.jobs, _MOST_AHEAD) * block


class GzipMember:
    """A gzip file of one member (RFC 1952), written to a file run by run.

    `file` is unbuffered, as runs that were packed before are copied behind Python's back.
    """

    def __init__(self, file: BinaryIO | FileIO) -> None:
        self._file = file
        self._crc = self._size = 0
        self._position = self._write(_GZIP_HEADER)
        self._begin()

    def _begin(self) -> None:
        self._start = self._position
        self._run_crc = self._run_size = 0

    def _write(self, data: Bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        return len(data)

    def put(self, piece: Block | Packed | Seam) -> None:
        """Write what comes next."""
        if isinstance(piece, Block):
            self._position += self._write(piece.data)
            self._run_crc = crc32_combine(self._run_crc, piece.crc, piece.size)
            self._run_size += piece.size
            return
        if isinstance(piece, Packed):
            piece.copy_to(self._file.fileno())
            piece.release()
            self._position += piece.size
            self._run_crc, self._run_size = piece.facts["crc"], piece.facts["size"]
        elif piece.keep is not None:
            facts = {"crc": self._run_crc, "size": self._run_size}
            piece.keep(Packed(self._file.fileno(), self._start, self._position, facts))
        self._end_run()

    def _end_run(self) -> None:
        self._crc = crc32_combine(self._crc, self._run_crc, self._run_size)
        self._size += self._run_size
        self._begin()

    def close(self) -> None:
        """Write the trailer."""
        self._end_run()
        self._write(_GZIP_TRAILER.pack(self._crc, self._size & 0xFFFFFFFF))
