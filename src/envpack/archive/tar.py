"""Tar archives: ustar headers, with pax records where ustar cannot say it.

Headers as in POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Extended Header". Everything
that could tell one machine from another is constant: owner and group are 0 and nameless, modes are
0755 and 0644, and all members have one mtime.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

from envpack.archive import deflate
from envpack.archive.blocks import (
    BLOCK,
    PLAIN,
    contents,
    gathered,
    mode_of,
    runs_of,
    unpacked,
)
from envpack.kept import Packed, Seam
from envpack.model import Item, LinkKind, Member, Rendered, Renderer
from envpack.parallel import Pool

_RECORD = 512
_BLOCKING = 20 * _RECORD
"""An archive ends with two zero records, filled up to what `tar` writes at a time."""

_NAME_MAX = 100
_PREFIX_MAX = 155
_OCTAL_MAX = 8**11 - 1
"""Most a size or mtime can be in 11 octal digits: 8 GiB - 1."""

_REGULAR = b"0"
_HARD = b"1"
_SYMBOLIC = b"2"
_EXTENDED = b"x"

_EXTENDED_NAME = b"@PaxHeader"
_MAGIC = b"ustar\x0000"
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
"""name mode uid gid size mtime chksum typeflag linkname magic uname gname devmajor devminor
prefix, each cut or filled up with NUL to its length."""

_ID = b"0000000\x00"

ZSTD_LEVELS = (-1, 1, 2, 3, 5, 7, 9, 12, 15)
"""zstd's own levels for 1 to 9; the default is zstd's own default."""

_ZSTD_THREADS_MAX = 8
"""zstd's memory grows with its threads, and reading cannot feed more than these."""

_ZSTD_JOB = 2 * 1024 * 1024
"""What one thread takes at a time; zstd's own choice needs half as much memory again."""


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Split `name` at a slash into ustar's prefix and name, None if it does not fit them."""
    if len(name) <= _NAME_MAX:
        return b"", name
    slash = name.find(b"/", len(name) - _NAME_MAX - 1)
    if 0 < slash <= _PREFIX_MAX and slash < len(name) - 1:
        return name[:slash], name[slash + 1 :]
    return None


def _ustar(
    split: tuple[bytes, bytes],
    *,
    mode: int,
    size: int,
    mtime: int,
    kind: bytes,
    target: bytes = b"",
) -> bytes:
    """Return one header record; what is too long is cut, a number too large is 0."""
    prefix, name = split[0], split[1][:_NAME_MAX]
    target = target[:_NAME_MAX]
    octal = b"%011o" % (size if size <= _OCTAL_MAX else 0)
    rest = _constant(mode, mtime, kind)
    checksum = rest + sum(name) + sum(octal) + sum(target) + sum(prefix)
    return _HEADER.pack(
        name,
        b"%07o" % mode,
        _ID,
        _ID,
        octal,
        _octal_time(mtime),
        b"%06o\x00 " % checksum,
        kind,
        target,
        _MAGIC,
        b"",
        b"",
        b"",
        b"",
        prefix,
    )


@cache
def _constant(mode: int, mtime: int, kind: bytes) -> int:
    """Return what all but name, size and target add to the checksum: its own field is blanks."""
    fields = (b"%07o" % mode, _ID, _ID, _octal_time(mtime), b" " * 8, kind, _MAGIC)
    return sum(map(sum, fields))


def _octal_time(mtime: int) -> bytes:
    return b"%011o" % (mtime if 0 <= mtime <= _OCTAL_MAX else 0)


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Return `length key=value` and a newline; the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _padding(size: int, unit: int = _RECORD) -> bytes:
    """Return the zeros that fill `size` up to a multiple of `unit`."""
    return bytes(-size % unit)


def _bytes(text: str) -> bytes:
    """Encode a name; bytes of a file system that were no UTF-8 come back as they were."""
    return text.encode("utf-8", "surrogateescape")


def header(member: Member, mtime: int) -> bytes:
    """Return the header of `member`: one record, after pax records if it needs any."""
    name = _bytes(member.name)
    size, kind, target, mode = member.size, _REGULAR, b"", mode_of(member)
    if member.link is not None:
        size, target = 0, _bytes(member.link.target)
        kind = _HARD if member.link.kind is LinkKind.HARD else _SYMBOLIC
    split = _split(name)
    pax = b""
    if split is None or not name.isascii():
        pax += _pax_record(b"path", name)
    if len(target) > _NAME_MAX or not target.isascii():
        pax += _pax_record(b"linkpath", target)
    if size > _OCTAL_MAX:
        pax += _pax_record(b"size", b"%d" % size)
    if not 0 <= mtime <= _OCTAL_MAX:
        pax += _pax_record(b"mtime", b"%d" % mtime)
    own = _ustar(split or (b"", name), mode=mode, size=size, mtime=mtime, kind=kind, target=target)
    if not pax:
        return own
    if not _is_utf8(name + target):
        pax = _pax_record(b"hdrcharset", b"BINARY") + pax
    records = _ustar((b"", _EXTENDED_NAME), mode=PLAIN, size=len(pax), mtime=mtime, kind=_EXTENDED)
    return records + pax + _padding(len(pax)) + own


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def pieces(members: Iterable[Member | Rendered], mtime: int) -> Iterator[bytes]:
    """Yield the records of members in pieces of any length."""
    for member in members:
        if isinstance(member, Rendered):
            yield member.content
            continue
        yield header(member, mtime)
        if member.link is None:
            yield from contents(member)
            yield _padding(member.size)


def rendered(members: Sequence[Member], mtime: int) -> Rendered:
    """Return the records of members."""
    records = b"".join(pieces(members, mtime))
    return Rendered(records, len(records))


def ended(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a whole tar archive: the records, and what ends them."""
    total = 0
    for piece in pieces:
        total += len(piece)
        yield piece
    yield end(total)


def end(total: int) -> bytes:
    """Return what ends an archive of `total` bytes of records."""
    zeros = bytes(2 * _RECORD)
    return zeros + _padding(total + len(zeros), _BLOCKING)


class TarFormat:
    """Tar without compression; what the compressing ones have in common."""

    name = "tar"
    suffixes: tuple[str, ...] = (".tar",)
    hardlinks = True
    symlinks = True
    levels = False
    folder = False

    def engine(self, level: int | None) -> str:
        """Say that runs are not kept."""
        del level
        return ""

    def renderer(self, *, level: int | None, mtime: int) -> Renderer:
        """Return what makes records of members."""
        del level
        return Renderer(partial(rendered, mtime=mtime), compresses=False)

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
        blocks = gathered(ended(pieces(unpacked(items), mtime)))
        with open(target, "xb") as file:
            file.writelines(self._squeezed(blocks, level, pool))

    def _squeezed(self, blocks: Iterator[bytes], level: int | None, pool: Pool) -> Iterator[bytes]:
        """Yield the file's bytes for the tar's; not at all compressed here."""
        del level, pool
        return blocks


class TarGzFormat(TarFormat):
    """Tar in one gzip member, which also readers that stop after the first member read."""

    name = "tar.gz"
    suffixes: tuple[str, ...] = (".tar.gz", ".tgz")
    levels = True

    def engine(self, level: int | None) -> str:
        """Say what makes the bytes of a run."""
        return f"{deflate.engine(level or deflate.DEFAULT_LEVEL)}, blocks of {BLOCK}"

    def write(
        self,
        items: Iterable[Item],
        target: str,
        *,
        level: int | None,
        mtime: int,
        pool: Pool,
    ) -> None:
        """Create `target` from `items`, run by run; see `envpack.model.Format.write`."""
        tasks = _gzip_tasks(items, level or deflate.DEFAULT_LEVEL, mtime)
        # Reading too, as what becomes of a run is read back to be kept.
        with open(target, "x+b", buffering=0) as file:
            member = deflate.GzipMember(file)
            for piece in pool.ordered(tasks, budget=deflate.budget(pool, BLOCK)):
                member.put(piece)
            member.close()


def _gzip_tasks(
    items: Iterable[Item], level: int, mtime: int
) -> Iterator[tuple[Callable[[], deflate.Block | Packed | Seam], int]]:
    """Yield the work in the order of the file, with its cost in bytes."""
    total = 0

    def counted(pieces: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal total
        for piece in pieces:
            total += len(piece)
            yield piece

    for run in runs_of(items):
        if run.packed is not None:
            total += run.packed.facts["size"]
            yield partial(_itself, run.packed), 0
            continue
        blocks = gathered(counted(pieces(run.members, mtime)))
        yield from deflate.tasks(blocks, level=level, final=False)
        for seam in run.ends:
            yield partial(_itself, seam), 0
    yield from deflate.tasks([end(total)], level=level)


def _itself(item: Packed | Seam) -> Packed | Seam:
    return item


class TarZstFormat(TarFormat):
    """Tar in one zstd frame with a checksum."""

    name = "tar.zst"
    suffixes: tuple[str, ...] = (".tar.zst", ".tzst")
    levels = True

    def _squeezed(self, blocks: Iterator[bytes], level: int | None, pool: Pool) -> Iterator[bytes]:
        import zstandard  # late: 17 ms that only this format needs

        # Never 0 threads, which is another code path with other bytes.
        parameters = zstandard.ZstdCompressionParameters.from_level(
            ZSTD_LEVELS[(level or deflate.DEFAULT_LEVEL) - 1],
            threads=min(pool.jobs, _ZSTD_THREADS_MAX),
            write_checksum=1,
            job_size=_ZSTD_JOB,
        )
        engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        for block in blocks:
            yield engine.compress(block)
        yield engine.flush()
