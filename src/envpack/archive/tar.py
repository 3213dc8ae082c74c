"""Tar archives: ustar headers, with pax records where ustar cannot say it.

Headers as in POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Extended Header". Everything
that could tell one machine from another is constant: owner and group are 0 and nameless, modes are
0755 and 0644, and all members have one mtime.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from envpack.archive import deflate
from envpack.archive.blocks import BLOCK, PLAIN, contents, gathered, mode_of
from envpack.model import LinkKind, Member
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
_CHECKSUM_FIELD = slice(148, 156)
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
"""name mode uid gid size mtime chksum typeflag linkname magic uname gname devmajor devminor
prefix, each cut or filled up with NUL to its length."""

_ID = b"0000000\x00"

_ZSTD_DEFAULT = 3
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
    prefix, name = split
    header = bytearray(
        _HEADER.pack(
            name,
            b"%07o" % mode,
            _ID,
            _ID,
            b"%011o" % (size if size <= _OCTAL_MAX else 0),
            b"%011o" % (mtime if 0 <= mtime <= _OCTAL_MAX else 0),
            b" " * 8,
            kind,
            target,
            _MAGIC,
            b"",
            b"",
            b"",
            b"",
            prefix,
        )
    )
    header[_CHECKSUM_FIELD] = b"%06o\x00 " % sum(header)
    return bytes(header)


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


def pieces(members: Iterable[Member], mtime: int) -> Iterator[bytes]:
    """Yield a whole tar archive in pieces of any length."""
    total = 0
    for member in members:
        head = header(member, mtime)
        yield head
        total += len(head)
        if member.link is None:
            yield from contents(member)
            padding = _padding(member.size)
            yield padding
            total += member.size + len(padding)
    end = bytes(2 * _RECORD)
    yield end + _padding(total + len(end), _BLOCKING)


class TarFormat:
    """Tar without compression; what the compressing ones have in common."""

    name = "tar"
    suffixes: tuple[str, ...] = (".tar",)
    hardlinks = True
    symlinks = True
    levels = False
    folder = False

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
        with open(target, "xb") as file:
            file.writelines(self._squeezed(gathered(pieces(members, mtime)), level, pool))

    def _squeezed(self, blocks: Iterator[bytes], level: int | None, pool: Pool) -> Iterator[bytes]:
        """Yield the file's bytes for the tar's; not at all compressed here."""
        del level, pool
        return blocks


class TarGzFormat(TarFormat):
    """Tar in one gzip member, which also readers that stop after the first member read."""

    name = "tar.gz"
    suffixes: tuple[str, ...] = (".tar.gz", ".tgz")
    levels = True

    def _squeezed(self, blocks: Iterator[bytes], level: int | None, pool: Pool) -> Iterator[bytes]:
        level = level or deflate.DEFAULT_LEVEL
        return deflate.gzip_member(blocks, level=level, pool=pool, block=BLOCK)


class TarZstFormat(TarFormat):
    """Tar in one zstd frame with a checksum; levels are zstd's own."""

    name = "tar.zst"
    suffixes: tuple[str, ...] = (".tar.zst", ".tzst")
    levels = True

    def _squeezed(self, blocks: Iterator[bytes], level: int | None, pool: Pool) -> Iterator[bytes]:
        import zstandard  # late: 17 ms that only this format needs

        # Never 0 threads, which is another code path with other bytes.
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level or _ZSTD_DEFAULT,
            threads=min(pool.jobs, _ZSTD_THREADS_MAX),
            write_checksum=1,
            job_size=_ZSTD_JOB,
        )
        engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        for block in blocks:
            yield engine.compress(block)
        yield engine.flush()
