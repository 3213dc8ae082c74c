"""What cannot be had for less: `bare.py tar.gz|tar.zst|zip THREADS FOLDER OUT [sha256]`.

Reads the files of a folder and compresses them with envpack's own engines at its default levels:
no headers, no edits, no search, nothing that anybody could unpack; `sha256` also hashes every
file, as a manifest and RECORD need it. Its time is the limit of any packer with these engines, so
what envpack takes over it is envpack's own.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import deflate
import zstandard
from zlib_ng import zlib_ng

BLOCK = 1024 * 1024
WINDOW = 32 * 1024
ZLIB_NG, LIBDEFLATE, ZSTD = 4, 6, 3


def paths(folder: str) -> Iterator[str]:
    """Yield every file that is no link."""
    for above, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(above, name)
            if not os.path.islink(path):
                yield path


def blocks(folder: str, *, hashed: bool = False) -> Iterator[bytes]:
    """Yield all files as one stream, in blocks."""
    held: list[bytes] = []
    size = 0
    for path in paths(folder):
        total = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(BLOCK):
                if hashed:
                    total.update(piece)
                held.append(piece)
                size += len(piece)
                if size >= BLOCK:
                    yield b"".join(held)
                    held, size = [], 0
    yield b"".join(held)


def some(folder: str) -> Iterator[list[str]]:
    """Yield files, as many at once as a block has bytes."""
    held: list[str] = []
    size = 0
    for path in paths(folder):
        held.append(path)
        size += os.path.getsize(path)
        if size >= BLOCK:
            yield held
            held, size = [], 0
    yield held


def block_deflated(block: bytes, before: bytes) -> bytes:
    """Return a part of one deflate stream, made in one call as envpack does."""
    room = len(block) + len(block) // 256 + 64  # what does not shrink is not stored here
    engine = zlib_ng._ParallelCompress(room, ZLIB_NG)  # noqa: SLF001 - as envpack does
    return engine.compress_and_crc(block, before)[0]


def files_deflated(group: Iterable[str], *, hashed: bool) -> bytes:
    """Return files, each deflated on its own."""
    pieces = []
    for path in group:
        with open(path, "rb") as file:
            data = file.read()
        deflate.crc32(data)
        if hashed:
            hashlib.sha256(data)
        pieces.append(deflate.deflate_compress(data, LIBDEFLATE))
    return b"".join(pieces)


def tasks(form: str, folder: str, *, hashed: bool) -> Iterator[Callable[[], bytes]]:
    """Yield what the threads do."""
    if form == "zip":
        for group in some(folder):
            yield partial(files_deflated, group, hashed=hashed)
        return
    before = b""
    for block in blocks(folder, hashed=hashed):
        yield partial(block_deflated, block, before)
        before = block[-WINDOW:]


def main() -> None:
    """Compress a folder."""
    form, threads, folder, out, *words = sys.argv[1:]
    hashed = words == ["sha256"]
    with open(out, "wb") as file:
        if form == "tar.zst":
            engine = zstandard.ZstdCompressor(level=ZSTD, threads=int(threads)).compressobj()
            file.writelines(engine.compress(block) for block in blocks(folder, hashed=hashed))
            file.write(engine.flush())
            return
        waiting: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(int(threads)) as pool:
            for task in tasks(form, folder, hashed=hashed):
                waiting.append(pool.submit(task))
                if len(waiting) > 8 * int(threads):
                    file.write(waiting.popleft().result())
            file.writelines(future.result() for future in waiting)


if __name__ == "__main__":
    main()
