"""Reading archives that others made: the one place where their members are read.

Whatever is in them, a sentence with the file's name comes out, and no more than a bound of bytes.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, NamedTuple, cast

from envpack.errors import ProjectFault
from envpack.model import Link, LinkKind

_ZIP_MAGIC = b"PK"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BZIP2_MAGIC = b"BZh"
_LZMA_MAGICS = (b"\xfd7zX", b"\x5d\x00\x00")
_CHUNK = 1024 * 1024

_FLOOR = 256 * 1024 * 1024
_RATIO = 100
_LONGEST = 1024 * 1024
"""Bytes that tar may have to say about one member, such as a long name."""
_TEXT = 4096
"""Bytes of a link's text; no system takes longer ones."""

_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RecursionError,
    ValueError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    *(() if zipfile.lzma is None else (zipfile.lzma.LZMAError,)),  # type: ignore[attr-defined]
)
"""What readers raise, by the code of the standard library, for bytes that make no sense."""


class ArchiveFault(ProjectFault):
    """A foreign archive is damaged, of an unknown kind, or holds what is refused."""


class Content:
    """A member's content, opened when it is first asked for."""

    def __init__(self, name: str, begin: Callable[[], IO[bytes]]) -> None:
        self._name = name
        self._begin = begin
        self._file: IO[bytes] | None = None

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or all that are left; raises ArchiveFault."""
        with _told(self._name):
            if self._file is None:
                self._file = self._begin()
            return self._file.read(size)

    def blocks(self) -> Iterator[bytes]:
        """Yield the content piece by piece; raises ArchiveFault."""
        while block := self.read(_CHUNK):
            yield block


class Stored(NamedTuple):
    """One member as it is in the archive: `mode` is its permission bits, `size` its content's.

    `data` may be read until the next member is asked for; links and folders have none. In a
    directory, hard links are files like their targets. `archive` is the name of the file.
    """

    name: str
    mode: int
    size: int
    link: Link | None
    data: Content
    archive: str
    folder: bool = False

    def whole(self, most: int) -> bytes:
        """Return all of the content; raises ArchiveFault for more than `most` bytes."""
        if self.size > most:
            raise refused(self.archive, f"its `{shown(self.name)}` has more than {most:,} bytes")
        return self.data.read()


def members(path: str, start: int = 0, *, folders: bool = False) -> Iterator[Stored]:
    """Yield the files and links of an archive or a directory, whose kind its first bytes tell.

    `start` is where a tar archive begins in its file. With `folders` their members come too, as
    far as an archive has them. Checksums are compared where there are any: a zip member's when it
    is read to its end, those of tar.gz and tar.zst after the last member.

    Raises ArchiveFault for what is damaged, for devices and fifos, and for more than 256 MiB plus
    a hundred times the file's own size: Pythons and sources unpack to three to ten times of it,
    and deflate reaches a thousand with zeros.
    """
    name = os.path.basename(path)
    with _told(name):
        for member in _members(path, name, start):
            if folders or not member.folder:
                yield member


def refused(archive: str, reason: str) -> ArchiveFault:
    """Return what to raise for an archive that holds what none should."""
    return ArchiveFault(f"`{archive}` is refused: {reason}")


def shown(name: str) -> str:
    """Return a member's name as it can be printed."""
    return "".join(char if char.isprintable() else "?" for char in name)


@contextmanager
def _told(archive: str) -> Iterator[None]:
    """Make one sentence of what readers of archives raise."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # gzip's and bzip2's own
            raise ArchiveFault(f"`{archive}` is damaged: {error}") from error
        raise ArchiveFault(f"cannot read `{archive}`: {error.strerror}") from error
    except _DAMAGE as error:
        reason = shown(str(error)) or type(error).__name__
        raise ArchiveFault(f"`{archive}` is damaged: {reason}") from error
    except NotImplementedError as error:  # zipfile's, for methods and versions
        raise ArchiveFault(f"cannot read `{archive}`: {error}") from error
    except RuntimeError as error:  # zipfile's, where a password is asked for
        raise ArchiveFault(f"cannot read `{archive}`: it is encrypted") from error


def _members(path: str, name: str, start: int) -> Iterator[Stored]:
    if os.path.isdir(path):
        yield from _of_directory(path, name, "")
        return
    with open(path, "rb") as file:
        most = _FLOOR + _RATIO * os.fstat(file.fileno()).st_size
        file.seek(start)
        magic = file.read(4)
    if magic.startswith(_ZIP_MAGIC):
        yield from _of_zip(path, name, most)
    else:
        yield from _of_tar(path, name, magic, start, most)


def _nothing() -> IO[bytes]:
    return io.BytesIO()


def _of_directory(root: str, name: str, above: str) -> Iterator[Stored]:
    with os.scandir(os.path.join(root, above)) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        inside = above + entry.name
        if entry.is_symlink():
            link = Link(LinkKind.SYMBOLIC, os.readlink(entry.path))
            yield Stored(inside, 0o777, 0, link, Content(name, _nothing), name)
        elif entry.is_dir():
            yield from _of_directory(root, name, inside + "/")
        elif entry.is_file():
            status = entry.stat()
            with open(entry.path, "rb") as file:
                data = Content(name, lambda file=file: file)  # type: ignore[misc]
                mode = stat.S_IMODE(status.st_mode)
                yield Stored(inside, mode, status.st_size, None, data, name)


def _of_zip(path: str, name: str, most: int) -> Iterator[Stored]:
    with zipfile.ZipFile(path) as archive, ExitStack() as opened:
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > most:  # zipfile reads no more than it says
            raise refused(name, f"it unpacks to more than {most:,} bytes")
        for info in infos:

            def begin(info: zipfile.ZipInfo = info) -> IO[bytes]:
                opened.close()  # the one before
                return opened.enter_context(archive.open(info))

            kind, mode = (
                stat.S_IFMT(info.external_attr >> 16),
                stat.S_IMODE(info.external_attr >> 16),
            )
            data = Content(name, begin)
            if info.is_dir():
                yield Stored(info.filename, mode, 0, None, data, name, folder=True)
            elif kind == stat.S_IFLNK:
                if info.file_size > _TEXT:
                    raise refused(name, f"its link `{shown(info.filename)}` has no end")
                link = Link(LinkKind.SYMBOLIC, os.fsdecode(data.read()))
                empty = Content(name, _nothing)
                yield Stored(info.filename, mode, 0, link, empty, name)
            elif kind in {0, stat.S_IFREG}:
                yield Stored(info.filename, mode, info.file_size, None, data, name)
            else:
                raise refused(name, f"its `{shown(info.filename)}` is neither a file nor a link")


def _of_tar(path: str, name: str, magic: bytes, start: int, most: int) -> Iterator[Stored]:
    with ExitStack() as stack:
        source: IO[bytes] = stack.enter_context(open(path, "rb"))
        source.seek(start)
        if magic.startswith(_GZIP_MAGIC):
            source = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=source)))
        elif magic == _ZSTD_MAGIC:
            source = stack.enter_context(io.BufferedReader(_Zstd(source), _CHUNK))
        elif magic.startswith(_BZIP2_MAGIC):
            import bz2  # late: for old sdists

            source = cast("IO[bytes]", stack.enter_context(bz2.BZ2File(source)))
        elif magic.startswith(_LZMA_MAGICS):
            import lzma  # late: for old sdists

            source = cast("IO[bytes]", stack.enter_context(lzma.LZMAFile(source)))
        tape = _Tape(_Bounded(source, name, most))
        archive = stack.enter_context(tarfile.TarFile(fileobj=cast("IO[bytes]", tape)))
        while (info := tape.header(archive.next)) is not None:
            archive.members.clear()  # type: ignore[attr-defined] # or it keeps all of them
            if info.islnk() or info.issym():
                kind = LinkKind.HARD if info.islnk() else LinkKind.SYMBOLIC
                link = Link(kind, info.linkname)
                yield Stored(info.name, info.mode, 0, link, Content(name, _nothing), name)
            elif info.isdir():
                empty = Content(name, _nothing)
                yield Stored(info.name, info.mode, 0, None, empty, name, folder=True)
            elif info.isreg() and info.sparse is None:
                data = archive.extractfile(info)
                assert data is not None
                content = Content(name, lambda data=data: data)  # type: ignore[misc]
                yield Stored(info.name, info.mode, info.size, None, content, name)
            else:
                raise refused(name, f"its `{shown(info.name)}` is neither a file nor a link")
        if any(tape.last):
            raise tarfile.ReadError("a header makes no sense")
        while tape.read(_CHUNK):  # to the end, where the checksum is
            pass


class _Tape:
    """A tar archive that is read once, from its beginning to its end, for tarfile.

    tarfile takes a header that makes no sense for the end of the archive, so `last` has what was
    read last: after the last member that is zeros, or nothing. It also reads what a header says of
    one member, such as a long name, of whatever length.
    """

    def __init__(self, source: _Bounded) -> None:
        self._source = source
        self._place = 0
        self._left: int | None = _LONGEST  # tarfile reads the first header at once
        self.last = b""

    def header(self, read: Callable[[], tarfile.TarInfo | None]) -> tarfile.TarInfo | None:
        """Return the next header; raises tarfile.ReadError for one that is too long."""
        self._left = _LONGEST
        try:
            return read()
        finally:
            self._left = None

    def read(self, size: int) -> bytes:
        """Return the next bytes, as many as there are; raises tarfile.ReadError for too many."""
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise tarfile.ReadError("a header of impossible size")
        pieces = [piece := self._source.read(size)]
        while piece and sum(map(len, pieces)) < size:  # what is unpacked comes in blocks
            piece = self._source.read(size - sum(map(len, pieces)))
            pieces.append(piece)
        self.last = b"".join(pieces)
        self._place += len(self.last)
        return self.last

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._place

    def seek(self, place: int) -> None:
        """Go on to a place; raises tarfile.ReadError for one that was passed."""
        if place < self._place:
            raise tarfile.ReadError("a member lies in another")
        left, self._left = self._left, None
        while self._place < place and self.read(min(_CHUNK, place - self._place)):
            pass
        self._left = left


class _Bounded:
    """A stream that may be read up to a bound."""

    def __init__(self, source: IO[bytes], name: str, most: int) -> None:
        self._source = source
        self._name = name
        self._most = self._left = most

    def read(self, size: int) -> bytes:
        """Return the next bytes; raises ArchiveFault behind the bound."""
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise refused(self._name, f"it unpacks to more than {self._most:,} bytes")
        return data


class _Zstd(io.RawIOBase):
    """A zstd file's content, all its frames; raises EOFError if one is cut, as gzip does."""

    def __init__(self, source: IO[bytes]) -> None:
        import zstandard  # late: 17 ms that only this format needs

        self._source = source
        self._damage = zstandard.ZstdError
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
            try:
                self._held = self._engine.decompress(block)
            except self._damage as error:
                raise tarfile.ReadError(str(error)) from error
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count
