"""Zip archives as PKWARE's APPNOTE 6.3.10 has them, with Unix modes.

Small members are deflated whole by a worker, with libdeflate, which needs the whole and is the
best at equal speed; large ones block by block, as in `envpack.archive.deflate`. Nothing is written
behind a member (no data descriptors): its local header is written again when the sizes are known.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, NamedTuple

from envpack.archive import deflate
from envpack.archive.blocks import BLOCK, contents, gathered, mode_of
from envpack.model import LinkKind, Member
from envpack.parallel import Pool

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_LOCAL_SIGNATURE = 0x04034B50
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_CENTRAL_SIGNATURE = 0x02014B50
_END = struct.Struct("<IHHHHIIH")
_END_SIGNATURE = 0x06054B50
_END_64 = struct.Struct("<IQHHIIQQQQ")
_END_64_SIGNATURE = 0x06064B50
_LOCATOR_64 = struct.Struct("<IIQI")
_LOCATOR_64_SIGNATURE = 0x07064B50
"""4.3.7, 4.3.12, 4.3.16, 4.3.14 and 4.3.15."""

_MAX_32 = 0xFFFFFFFF
_MAX_16 = 0xFFFF
"""In a field: the value is in the zip64 record (4.4.1.4)."""

_EXTRA_64 = 0x0001
_STORED = 0
_DEFLATED = 8
_UTF_8 = 1 << 11
_UNIX = 3 << 8
_VERSION = 20
_VERSION_64 = 45
"""4.5.3, 4.4.5, 4.4.4 bit 11, 4.4.2 and 4.4.3."""

_DOS_FIRST = 315532800
_DOS_LAST = 4354819198
"""1980-01-01 00:00:00 and 2107-12-31 23:59:58 UTC, the ends of a DOS date (4.4.6)."""

_WHOLE = 8 * 1024 * 1024
_PER_MEMBER = 4096
_AHEAD = 2 * _WHOLE


class Level(NamedTuple):
    """libdeflate's own level, and what it gave: MB/s of input on one core, output / input."""

    engine: int
    speed: int
    ratio: float


LEVELS: tuple[Level, ...] = (
    Level(1, 205, 0.322),
    Level(2, 165, 0.310),
    Level(3, 154, 0.305),
    Level(5, 123, 0.296),
    Level(6, 105, 0.293),
    Level(7, 77, 0.292),
    Level(8, 46, 0.291),
    Level(9, 36, 0.290),
    Level(10, 12, 0.284),
)
"""Levels 1 to 9 for members that are deflated whole; the others have the tar.gz's.

Measured with deflate 0.9.0 (libdeflate) on 7127 files, 242 MB: the site-packages of numpy, pandas,
scipy, scikit-learn, pyarrow and black. zlib at level 4, which venv-pack uses, gave 74 MB/s and
0.308 on it, at level 6 37 MB/s and 0.296. libdeflate's levels 11 and 12 halve the speed again for
0.0005.
"""

DEFAULT_LEVEL = 5


@dataclass(slots=True)
class _Record:
    """What the local and the central header say of one member; `wide` if sizes need zip64."""

    name: bytes
    flags: int
    mode: int
    method: int
    dos_time: int
    dos_date: int
    offset: int
    wide: bool
    crc: int = 0
    packed: int = 0
    size: int = 0

    def local(self) -> bytes:
        """Return the local file header (4.3.7)."""
        extra = _extra_64((self.size, self.packed) if self.wide else ())
        return (
            _LOCAL.pack(
                _LOCAL_SIGNATURE,
                _VERSION_64 if self.wide else _VERSION,
                *self._shared(),
                len(self.name),
                len(extra),
            )
            + self.name
            + extra
        )

    def central(self, limit: int) -> bytes:
        """Return the central directory header (4.3.12)."""
        far = self.offset >= limit
        sizes = (self.size, self.packed) if self.wide else ()
        extra = _extra_64((*sizes, self.offset) if far else sizes)
        version = _VERSION_64 if extra else _VERSION
        return (
            _CENTRAL.pack(
                _CENTRAL_SIGNATURE,
                _UNIX | version,
                version,
                *self._shared(),
                len(self.name),
                len(extra),
                0,
                0,
                0,
                self.mode << 16,
                _MAX_32 if far else self.offset,
            )
            + self.name
            + extra
        )

    def _shared(self) -> tuple[int, ...]:
        """Return the fields from the flags to the uncompressed size, the same in both headers."""
        packed, size = (_MAX_32, _MAX_32) if self.wide else (self.packed, self.size)
        return self.flags, self.method, self.dos_time, self.dos_date, self.crc, packed, size


def _extra_64(values: tuple[int, ...]) -> bytes:
    """Return the zip64 extended information field (4.5.3), nothing for no values."""
    if not values:
        return b""
    return struct.pack(f"<HH{len(values)}Q", _EXTRA_64, 8 * len(values), *values)


class _Piece(NamedTuple):
    """A run of compressed bytes; `starts` is the member that begins with it."""

    starts: Member | None
    method: int
    block: deflate.Block


def _dos(mtime: int) -> tuple[int, int]:
    """Return time and date as DOS has them (4.4.6), in UTC, to two seconds."""
    when = datetime.fromtimestamp(min(max(mtime, _DOS_FIRST), _DOS_LAST), UTC)
    time = when.hour << 11 | when.minute << 5 | when.second // 2
    return time, when.year - 1980 << 9 | when.month << 5 | when.day


def _name(text: str) -> tuple[bytes, int]:
    """Return a name and its flags; bytes that are no UTF-8 are not called UTF-8."""
    try:
        name = text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape"), 0
    return name, 0 if name.isascii() else _UTF_8


def _whole(member: Member, data: bytes, level: int) -> _Piece:
    """Deflate a member at once; one that does not shrink is stored."""
    import deflate as libdeflate  # late: only zip needs it

    crc = libdeflate.crc32(data)
    packed = bytes(libdeflate.deflate_compress(data, LEVELS[level - 1].engine))
    if len(packed) < len(data):
        return _Piece(member, _DEFLATED, deflate.Block(packed, crc, len(data), last=True))
    return _Piece(member, _STORED, deflate.Block(data, crc, len(data), last=True))


def _link_text(member: Member) -> _Piece:
    """Store a symbolic link: a member whose content is the link's text."""
    import deflate as libdeflate  # late: only zip needs it

    assert member.link is not None
    if member.link.kind is LinkKind.HARD:
        raise RuntimeError(f"a zip archive cannot hold `{member.name}` as a hard link")
    text = member.link.target.encode("utf-8", "surrogateescape")
    block = deflate.Block(text, libdeflate.crc32(text), len(text), last=True)
    return _Piece(member, _STORED, block)


def _part(starts: Member | None, task: Callable[[], deflate.Block]) -> _Piece:
    return _Piece(starts, _DEFLATED, task())


def _tasks(
    members: Iterable[Member], level: int, whole: int
) -> Iterator[tuple[Callable[[], _Piece], int]]:
    """Yield the work in the order of the file, with its cost in bytes."""
    for member in members:
        if member.link is not None:
            yield partial(_link_text, member), _PER_MEMBER
        elif member.size <= whole:
            data = b"".join(contents(member))
            yield partial(_whole, member, data, level), member.size + _PER_MEMBER
        else:
            starts: Member | None = member
            for task, cost in deflate.tasks(gathered(contents(member)), level=level):
                yield partial(_part, starts, task), cost
                starts = None


class _Writer:
    """Writes pieces and headers to a seekable file, and the central directory at the end."""

    def __init__(self, file: BinaryIO, mtime: int, *, limit: int, many: int) -> None:
        self._file = file
        self._dos = _dos(mtime)
        self._limit = limit
        self._many = many
        self._offset = 0
        self._central: list[bytes] = []
        self._record: _Record | None = None

    def put(self, piece: _Piece) -> None:
        """Write one piece, and the local header before a member's first one."""
        if piece.starts is not None:
            self._record = self._begun(piece)
        record = self._record
        assert record is not None
        block = piece.block
        record.crc = deflate.crc32_combine(record.crc, block.crc, block.size)
        record.packed += len(block.data)
        record.size += block.size
        if piece.starts is not None:
            head = record.local()
            self._file.write(head)
            self._offset += len(head)
        self._file.write(block.data)
        self._offset += len(block.data)
        if block.last:
            if piece.starts is None:
                self._file.seek(record.offset)
                self._file.write(record.local())
                self._file.seek(self._offset)
            self._central.append(record.central(self._limit))

    def _begun(self, piece: _Piece) -> _Record:
        """Return the record of a member of which nothing is written yet."""
        member = piece.starts
        assert member is not None
        most = member.size if piece.block.last else deflate.bound(member.size, BLOCK)
        name, flags = _name(member.name)
        return _Record(
            name=name,
            flags=flags,
            mode=mode_of(member) | (stat.S_IFREG if member.link is None else stat.S_IFLNK),
            method=piece.method,
            dos_time=self._dos[0],
            dos_date=self._dos[1],
            offset=self._offset,
            wide=most >= self._limit,
        )

    def close(self) -> None:
        """Write the central directory and its end records."""
        start = self._offset
        self._file.writelines(self._central)
        size = sum(map(len, self._central))
        count = len(self._central)
        crowded, large, far = count >= self._many, size >= self._limit, start >= self._limit
        if crowded or large or far:
            self._file.write(
                _END_64.pack(
                    _END_64_SIGNATURE,
                    _END_64.size - 12,
                    _UNIX | _VERSION_64,
                    _VERSION_64,
                    0,
                    0,
                    count,
                    count,
                    size,
                    start,
                )
            )
            self._file.write(_LOCATOR_64.pack(_LOCATOR_64_SIGNATURE, 0, start + size, 1))
        count = _MAX_16 if crowded else count
        self._file.write(
            _END.pack(
                _END_SIGNATURE,
                0,
                0,
                count,
                count,
                _MAX_32 if large else size,
                _MAX_32 if far else start,
                0,
            )
        )


class ZipFormat:
    """Zip with Unix modes; zip64 where sizes or counts reach `limit` and `many`.

    Members of at most `whole` bytes are compressed at once. The parameters are for tests.
    """

    name = "zip"
    suffixes: tuple[str, ...] = (".zip",)
    hardlinks = False
    symlinks = True
    levels = True
    folder = False

    def __init__(self, *, limit: int = _MAX_32, many: int = _MAX_16, whole: int = _WHOLE) -> None:
        self._limit = limit
        self._many = many
        self._whole = whole

    def write(
        self,
        members: Iterable[Member],
        target: str,
        *,
        level: int | None,
        mtime: int,
        pool: Pool,
    ) -> None:
        """Create `target` from `members`; see `envpack.model.Format.write`."""
        tasks = _tasks(members, level or DEFAULT_LEVEL, self._whole)
        budget = max(_AHEAD, deflate.budget(pool, BLOCK))
        with open(target, "xb") as file:
            writer = _Writer(file, mtime, limit=self._limit, many=self._many)
            for piece in pool.ordered(tasks, budget=budget):
                writer.put(piece)
            writer.close()
