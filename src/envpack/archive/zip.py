"""Zip archives as PKWARE's APPNOTE 6.3.10 has them, with Unix modes.

Small members are deflated whole by a worker, with libdeflate, which needs the whole and is the
best at equal speed; large ones block by block, as in `envpack.archive.deflate`. Nothing is written
behind a member (no data descriptors): its local header is written again when the sizes are known.
"""

from __future__ import annotations

import mmap
import shutil
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, NamedTuple

from envpack.archive import deflate
from envpack.archive.blocks import BLOCK, contents, gathered, mode_of, runs_of
from envpack.archive.zip_records import (
    DEFLATED,
    MAX_16,
    MAX_32,
    STORED,
    Record,
    dos_time,
    end_records,
    name_and_flags,
)
from envpack.kept import Packed, Seam
from envpack.model import Item, LinkKind, Member, Rendered, Renderer
from envpack.parallel import Pool

_WHOLE = 32 * 1024 * 1024
_PER_MEMBER = 4096
_TOGETHER = 512 * 1024
_AHEAD = 24 * 1024 * 1024
"""How much of input, of room for output and of output may be held, but for large members."""

_LARGE = _AHEAD // 3
"""Above this a member costs less than it takes; see `_room`."""

_IN_MEMORY = 4 * 1024 * 1024


LEVELS = (1, 3, 5, 6, 7, 7, 8, 9, 10)
"""libdeflate's own levels for 1 to 9, about as fast as tar.gz at the same one.

They are for members that are deflated whole.
"""

_SMALL = 128 * 1024
_SMALL_LEVELS = (1, 3, 5, 7, 7, 7, 8, 9, 10)
"""The levels of members up to `_SMALL` bytes: there the default's next level costs least."""

_BLOCK_LEVELS = (2, 4, 6, 6, 7, 8, 9, 9, 9)
"""The levels of `envpack.archive.deflate` for the others, with which they do not get larger."""

DEFAULT_LEVEL = deflate.DEFAULT_LEVEL


class _Piece(NamedTuple):
    """Some compressed bytes; `starts` is the member that begins with them."""

    starts: Member | None
    method: int
    block: deflate.Block


def _whole(member: Member, data: deflate.Bytes, level: int) -> _Piece:
    """Deflate a member at once; one that does not shrink is stored."""
    import deflate as libdeflate  # late: only zip needs it

    crc = libdeflate.crc32(data)
    levels = _SMALL_LEVELS if len(data) <= _SMALL else LEVELS
    packed: deflate.Bytes = libdeflate.deflate_compress(data, levels[level - 1])
    if len(packed) >= len(data):
        return _Piece(member, STORED, deflate.Block(data, crc, len(data), last=True))
    if len(packed) <= _TOGETHER:
        packed = bytes(packed)  # a bytearray keeps up to twice its length
    return _Piece(member, DEFLATED, deflate.Block(packed, crc, len(data), last=True))


def _link_text(member: Member) -> _Piece:
    """Store a symbolic link: a member whose content is the link's text."""
    import deflate as libdeflate  # late: only zip needs it

    assert member.link is not None
    if member.link.kind is LinkKind.HARD:
        raise RuntimeError(f"a zip archive cannot hold `{member.name}` as a hard link")
    text = member.link.target.encode("utf-8", "surrogateescape")
    block = deflate.Block(text, libdeflate.crc32(text), len(text), last=True)
    return _Piece(member, STORED, block)


def _part(starts: Member | None, task: Callable[[], deflate.Block]) -> list[_Piece]:
    return [_Piece(starts, DEFLATED, task())]


def _wholes(members: list[tuple[Member, deflate.Bytes]], level: int) -> list[_Piece]:
    """Deflate some members, each at once."""
    return [
        _link_text(member) if member.link is not None else _whole(member, data, level)
        for member, data in members
    ]


_Put = _Piece | Rendered | Packed | Seam
"""What the writer takes, in the order of the file."""


def _itself(item: Rendered | Packed | Seam) -> list[_Put]:
    return [item]


def _weight(pieces: Sequence[_Put]) -> int:
    """Return the bytes of pieces that wait to be written."""
    found = (piece.size if isinstance(piece, Rendered) else 0 for piece in pieces)
    return sum(found) + sum(len(piece.block.data) for piece in pieces if isinstance(piece, _Piece))


_Work = tuple[Callable[[], Sequence[_Put]], int]
"""What one task makes, and its cost in bytes."""


def _tasks(items: Iterable[Item], level: int, whole: int) -> Iterator[_Work]:
    """Yield the work in the order of the file."""
    for run in runs_of(items):
        if run.packed is not None:
            yield partial(_itself, run.packed), 0
            continue
        yield from _member_tasks(run.members, level, whole)
        for seam in run.ends:
            yield partial(_itself, seam), 0


def _member_tasks(members: Iterable[Member | Rendered], level: int, whole: int) -> Iterator[_Work]:
    """Yield the work of members: small ones together, as a task has its price too."""
    small: list[tuple[Member, deflate.Bytes]] = []
    cost = 0
    for member in members:
        if small and (isinstance(member, Rendered) or cost + 2 * member.size > _TOGETHER):
            yield partial(_wholes, small, level), cost
            small, cost = [], 0
        if isinstance(member, Rendered):
            yield partial(_itself, member), member.size
            continue
        if _TOGETHER < 2 * member.size <= 2 * whole:
            room = _room(member.size)
            yield partial(_wholes, [], level), room  # before it is read
            yield partial(_wholes, [(member, _content(member))], level), room
            continue
        if member.link is not None or member.size <= whole:
            small.append((member, b"" if member.link is not None else _content(member)))
            cost += 2 * member.size + _PER_MEMBER
            continue
        starts: Member | None = member
        blocks = gathered(contents(member))
        for task, size in deflate.tasks(blocks, level=_BLOCK_LEVELS[level - 1]):
            yield partial(_part, starts, task), 2 * size
            starts = None
    if small:
        yield partial(_wholes, small, level), cost


def _room(size: int) -> int:
    """Return what a member costs: two large ones fit that have 40 MiB together, or any one."""
    return min(2 * size, _LARGE + (size - _LARGE // 2) // 4)


def _content(member: Member) -> deflate.Bytes:
    """Return the content of a member; a large one in memory that is given back when it is done."""
    if member.size <= _TOGETHER:
        return b"".join(contents(member))
    held = mmap.mmap(-1, member.size)
    for block in contents(member):
        held.write(block)
    return held


def _record(piece: _Piece, dos: tuple[int, int], offset: int, limit: int) -> Record:
    """Return the record of a member of which nothing is written yet, at its first piece."""
    member = piece.starts
    assert member is not None
    most = member.size if piece.block.last else deflate.bound(member.size, BLOCK)
    name, flags = name_and_flags(member.name)
    return Record(
        name=name,
        flags=flags,
        mode=mode_of(member) | (stat.S_IFREG if member.link is None else stat.S_IFLNK),
        method=piece.method,
        dos_time=dos[0],
        dos_date=dos[1],
        offset=offset,
        wide=most >= limit,
        crc=piece.block.crc,
        packed=len(piece.block.data),
        size=piece.block.size,
    )


def rendered(members: Sequence[Member], level: int, dos: tuple[int, int], limit: int) -> Rendered:
    """Return small members as they go into the file, and their records, on a worker."""
    pieces: list[deflate.Bytes] = []
    records: list[Record] = []
    offset = 0
    for member in members:
        piece = _whole(member, _content(member), level)
        record = _record(piece, dos, offset, limit)
        head = record.local()
        pieces += head, piece.block.data
        records.append(record)
        offset += len(head) + record.packed
    return Rendered((b"".join(pieces), records), offset)


class _Writer:
    """Writes pieces and headers to a seekable file, and the central directory at the end."""

    def __init__(
        self, file: BinaryIO, central: IO[bytes], mtime: int, *, limit: int, many: int
    ) -> None:
        self._file = file
        self._dos = dos_time(mtime)
        self._limit = limit
        self._many = many
        self._offset = 0
        self._central = central
        self._count = 0
        self._record: Record | None = None
        self._start = 0
        self._run: list[Record] = []

    def put_all(self, pieces: Iterable[_Put]) -> None:
        """Write what comes next."""
        for piece in pieces:
            self.put(piece)

    def put(self, piece: _Put) -> None:
        """Write what comes next; before a member's first piece its local header."""
        if isinstance(piece, Rendered):
            self._put_rendered(*piece.content)
        elif isinstance(piece, Packed):
            self._end_run(None)
            self._copy(piece)
        elif isinstance(piece, Seam):
            self._end_run(piece)
        else:
            self._put(piece)

    def _copy(self, packed: Packed) -> None:
        """Copy a run that was packed before."""
        self._file.flush()
        packed.copy_to(self._file.fileno())
        packed.release()
        records = [Record.of(facts, self._offset) for facts in packed.facts["members"]]
        self._central.writelines(record.central(self._limit) for record in records)
        self._count += len(records)
        self._start = self._offset = self._offset + packed.size
        self._file.seek(self._offset)

    def _end_run(self, seam: Seam | None) -> None:
        if seam is not None and seam.keep is not None:
            self._file.flush()
            facts = {"members": [record.facts(self._start) for record in self._run]}
            seam.keep(Packed(self._file.fileno(), self._start, self._offset, facts))
        self._start, self._run = self._offset, []

    def _put_rendered(self, data: bytes, records: Sequence[Record]) -> None:
        self._file.write(data)
        for record in records:
            record.offset += self._offset
            self._done(record)
        self._offset += len(data)

    def _put(self, piece: _Piece) -> None:
        block = piece.block
        if piece.starts is not None:
            self._record = _record(piece, self._dos, self._offset, self._limit)
            head = self._record.local()
            self._file.write(head)
            self._offset += len(head)
        record = self._record
        assert record is not None
        if piece.starts is None:
            record.crc = deflate.crc32_combine(record.crc, block.crc, block.size)
            record.packed += len(block.data)
            record.size += block.size
        self._file.write(block.data)
        self._offset += len(block.data)
        if block.last:
            if piece.starts is None:
                self._file.seek(record.offset)
                self._file.write(record.local())
                self._file.seek(self._offset)
            self._done(record)

    def _done(self, record: Record) -> None:
        self._central.write(record.central(self._limit))
        self._count += 1
        self._run.append(record)

    def close(self) -> None:
        """Write the central directory and its end records."""
        start = self._offset
        size = self._central.tell()
        self._central.seek(0)
        shutil.copyfileobj(self._central, self._file)
        self._file.write(end_records(self._count, size, start, self._limit, self._many))


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

    def __init__(self, *, limit: int = MAX_32, many: int = MAX_16, whole: int = _WHOLE) -> None:
        self._limit = limit
        self._many = many
        self._whole = whole

    def engine(self, level: int | None) -> str:
        """Say what makes the bytes of a run."""
        from importlib.metadata import version  # late: 10 ms that only a cache needs

        level = level or DEFAULT_LEVEL
        small = f"{_SMALL_LEVELS[level - 1]} up to {_SMALL}"
        own = f"libdeflate {version('deflate')} level {small}, {LEVELS[level - 1]}"
        blocks = deflate.engine(_BLOCK_LEVELS[level - 1])
        large = f"{blocks} over {self._whole}, blocks of {BLOCK}"
        return f"{own}, {large}, zip64 from {self._limit}"

    def renderer(self, *, level: int | None, mtime: int) -> Renderer:
        """Return what deflates members whole."""
        render = partial(
            rendered, level=level or DEFAULT_LEVEL, dos=dos_time(mtime), limit=self._limit
        )
        return Renderer(render, compresses=True)

    def write(
        self,
        items: Iterable[Item],
        target: str,
        *,
        level: int | None,
        mtime: int,
        pool: Pool,
    ) -> None:
        """Create `target` from `items`; see `envpack.model.Format.write`."""
        tasks = _tasks(items, level or DEFAULT_LEVEL, self._whole)
        budget = max(_AHEAD, 2 * deflate.budget(pool, BLOCK))
        # Reading too, as what becomes of a run is read back to be kept.
        # The central directory takes 100 bytes a member: many do not stay in memory.
        with open(target, "x+b") as file, SpooledTemporaryFile(_IN_MEMORY) as central:
            writer = _Writer(file, central, mtime, limit=self._limit, many=self._many)
            # Without a name for what was written: it would be held until the next is there.
            deque(map(writer.put_all, pool.ordered(tasks, budget=budget, weigh=_weight)), maxlen=0)
            writer.close()
