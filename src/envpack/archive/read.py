"""Reading an archive back, to verify and to inspect it, with other code than wrote it."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, NamedTuple, cast

from envpack.model import Link, LinkKind

_ZIP_MAGIC = b"PK"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CHUNK = 1024 * 1024


class Stored(NamedTuple):
    """One member as it is in the archive: `mode` is its permission bits, `size` its content's.

    `data` may be read until the next member is asked for; links have none. In a directory, hard
    links are files like their targets.
    """

    name: str
    mode: int
    size: int
    link: Link | None
    data: IO[bytes]


def members(path: str, start: int = 0) -> Iterator[Stored]:
    """Yield the files and links of an archive or a directory, whose kind its first bytes tell.

    `start` is where a tar archive begins in its file.
    Checksums are compared where there are any: a zip member's when it is read to its end, those of
    tar.gz and tar.zst after the last member. Raises OSError, EOFError, tarfile.TarError,
    zipfile.BadZipFile, zlib.error or zstandard.ZstdError for what is damaged.
    """
    if os.path.isdir(path):
        yield from _of_directory(path, "")
        return
    with open(path, "rb") as file:
        file.seek(start)
        magic = file.read(4)
    if magic.startswith(_ZIP_MAGIC):
        yield from _of_zip(path)
    else:
        yield from _of_tar(path, magic, start)


def _of_directory(root: str, above: str) -> Iterator[Stored]:
    with os.scandir(os.path.join(root, above)) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = above + entry.name
        if entry.is_symlink():
            link = Link(LinkKind.SYMBOLIC, os.readlink(entry.path))
            yield Stored(name, 0o777, 0, link, io.BytesIO())
        elif entry.is_dir():
            yield from _of_directory(root, name + "/")
        elif entry.is_file():
            status = entry.stat()
            with open(entry.path, "rb") as file:
                yield Stored(name, stat.S_IMODE(status.st_mode), status.st_size, None, file)


def _of_zip(path: str) -> Iterator[Stored]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                continue
            if stat.S_ISLNK(mode):
                link = Link(LinkKind.SYMBOLIC, os.fsdecode(archive.read(info)))
                yield Stored(info.filename, stat.S_IMODE(mode), 0, link, io.BytesIO())
                continue
            with archive.open(info) as data:
                yield Stored(info.filename, stat.S_IMODE(mode), info.file_size, None, data)


def _of_tar(path: str, magic: bytes, start: int) -> Iterator[Stored]:
    with ExitStack() as stack:
        source: IO[bytes] = stack.enter_context(open(path, "rb"))
        source.seek(start)
        if magic.startswith(_GZIP_MAGIC):
            source = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=source)))
        elif magic == _ZSTD_MAGIC:
            source = stack.enter_context(io.BufferedReader(_Zstd(source), _CHUNK))
        archive = stack.enter_context(tarfile.open(fileobj=source, mode="r|"))
        for info in archive:
            if info.islnk() or info.issym():
                kind = LinkKind.HARD if info.islnk() else LinkKind.SYMBOLIC
                yield Stored(info.name, info.mode, 0, Link(kind, info.linkname), io.BytesIO())
            elif info.isreg():
                data = archive.extractfile(info)
                assert data is not None
                yield Stored(info.name, info.mode, info.size, None, data)
        while source.read(_CHUNK):  # to the end, where the checksum is
            pass


class _Zstd(io.RawIOBase):
    """A zstd file's content, all its frames; raises EOFError if one is cut, as gzip does."""

    def __init__(self, source: IO[bytes]) -> None:
        import zstandard  # late: 17 ms that only this format needs

        self._source = source
        self._begin = zstandard.ZstdDecompressor().decompressobj
        self._engine = self._begin()
        self._held = b""

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with the next bytes, 0 at the end."""
        while not self._held:
            block = self._engine.unused_data or self._source.read(128 * 1024)
            if not block:
                if self._engine.eof:
                    return 0
                raise EOFError("the zstd frame ends before its end marker")
            if self._engine.eof:
                self._engine = self._begin()
            self._held = self._engine.decompress(block)
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count
