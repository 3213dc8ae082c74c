"""The cache: runs as formats packed them, and what is known of files that have not changed.

    v2/runs/<names>/<key>   a run's bytes, what its format must know of it, checksums
    v2/known/<key>          digests, edits and leaks of the files of a run, as JSON

Entries are written aside and renamed, so that any number of processes may share a folder, and are
checked whole before a byte of them is used. Whatever is wrong with the cache, a pack goes on
without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from envpack.errors import SourceFault
from envpack.foreign import parsed_json, read_bytes
from envpack.kept import Packed

DEFAULT_CAP = 5_000_000_000
"""Bytes."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
_VERSION = "v2"
_PARTIAL = ".part-"
_PARTIAL_AGE = 24 * 3600
_MAGIC = b"envprun1"
_END = struct.Struct("<Q32s8s")
"""The last bytes of an entry: the length and the sha256 of the JSON before them, and a name."""

_CHUNK = 1024 * 1024


class Usage(NamedTuple):
    """What the cache holds: the number of entries, and their bytes."""

    entries: int
    size: int


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache in `folder`, which need not exist, of at most `cap` bytes after `trim`.

    `known` is whether what was found out of unchanged files is believed.
    """

    folder: str
    cap: int = DEFAULT_CAP
    known: bool = True

    # ---- runs --------------------------------------------------------------------------------

    def has_like(self, names: str) -> bool:
        """Say whether there is any run of the same names, so that a key is worth finding out."""
        return os.path.isdir(self._path("runs", names))

    def run(self, names: str, key: str) -> Packed | None:
        """Return a run that is there and whole; it is to be released."""
        try:
            descriptor = os.open(self._path("runs", names, key), _FLAGS)
        except OSError:
            return None
        try:
            packed = _checked(descriptor)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, struct.error):
            packed = None
        if packed is None:
            os.close(descriptor)
            return None
        with suppress(OSError):
            os.utime(descriptor)
        return packed

    def keep(self, names: str, key: str, packed: Packed) -> None:
        """Keep a run that was packed just now."""
        with suppress(OSError), _aside(self._path("runs", names, key)) as descriptor:
            packed.copy_to(descriptor)
            facts = {"facts": packed.facts, "size": packed.size}
            text = json.dumps({**facts, "crcs": _crcs(descriptor, packed.size)}).encode()
            _write(descriptor, text)
            _write(descriptor, _END.pack(len(text), hashlib.sha256(text).digest(), _MAGIC))

    # ---- what is known -----------------------------------------------------------------------

    def recall(self, key: str) -> dict[str, Any] | None:
        """Return what was remembered under a key."""
        if not self.known:
            return None
        path = self._path("known", key)
        try:
            digest, _, text = (read_bytes(path, most=sys.maxsize) or b"").partition(b"\n")
            if hashlib.sha256(text).hexdigest().encode() != digest:
                return None
            value = parsed_json(text, path)
        except SourceFault:
            return None
        with suppress(OSError):
            os.utime(self._path("known", key))
        return value if isinstance(value, dict) else None

    def remember(self, key: str, value: dict[str, Any]) -> None:
        """Remember something under a key."""
        text = json.dumps(value).encode()
        with suppress(OSError), _aside(self._path("known", key)) as descriptor:
            _write(descriptor, hashlib.sha256(text).hexdigest().encode() + b"\n" + text)

    # ---- care --------------------------------------------------------------------------------

    def usage(self) -> Usage:
        """Count what is there."""
        sizes = [size for _, size, _ in self._entries()]
        return Usage(len(sizes), sum(sizes))

    def trim(self, cap: int | None = None) -> Usage:
        """Remove what was used least recently until at most `cap` bytes are left; return it."""
        entries = sorted(self._entries())
        left = sum(size for _, size, _ in entries)
        cap, gone, freed = self.cap if cap is None else cap, 0, 0
        for _, size, path in entries:
            if left - freed <= cap:
                break
            with suppress(OSError):
                os.unlink(path)
                gone, freed = gone + 1, freed + size
                os.rmdir(os.path.dirname(path))  # if it is empty now
        return Usage(gone, freed)

    def clear(self) -> Usage:
        """Remove everything, and nothing in the folder that is not the cache's."""
        usage = self.usage()
        shutil.rmtree(self._path(), ignore_errors=True)
        with suppress(OSError):
            os.rmdir(self.folder)
        return usage

    def _path(self, *parts: str) -> str:
        return os.path.join(self.folder, _VERSION, *parts)

    def _entries(self) -> Iterator[tuple[int, int, str]]:
        """Yield when each entry was last used, its size and path; old partial ones go."""
        for folder, _, names in os.walk(self._path()):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):
                    status = os.stat(path)
                    if not name.startswith(_PARTIAL):
                        yield status.st_mtime_ns, status.st_size, path
                    elif time.time() - status.st_mtime > _PARTIAL_AGE:
                        os.unlink(path)


class _aside:  # noqa: N801 - a context manager, used like a function
    """Gives the descriptor of a new file beside `path`, and renames it if all went well."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._temporary = ""
        self._descriptor = -1

    def __enter__(self) -> int:
        folder = os.path.dirname(self._path)
        os.makedirs(folder, exist_ok=True)
        self._temporary = os.path.join(folder, f"{_PARTIAL}{secrets.token_hex(8)}")
        self._descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        return self._descriptor

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._descriptor)
        try:
            if kind is None:
                os.replace(self._temporary, self._path)
        finally:
            with suppress(OSError):
                os.unlink(self._temporary)


def _checked(descriptor: int) -> Packed | None:
    """Return the run in an open entry, None if a bit of it is wrong."""
    size = os.fstat(descriptor).st_size
    length, digest, magic = _END.unpack(os.pread(descriptor, _END.size, size - _END.size))
    begin = size - _END.size - length
    if magic != _MAGIC or begin < 0:
        return None
    text = os.pread(descriptor, length, begin)
    if hashlib.sha256(text).digest() != digest:
        return None
    value = json.loads(text)
    if value["size"] != begin or _crcs(descriptor, begin) != value["crcs"]:
        return None
    return Packed(descriptor, 0, begin, value["facts"], lambda: os.close(descriptor))


def _crcs(descriptor: int, size: int) -> list[int]:
    """Return the CRC-32 of every chunk of the first `size` bytes of a file.

    It is damage that is looked for, as file systems do it; whoever can write an entry can also
    write its checksum.
    """
    from zlib_ng import zlib_ng  # late: not every run has a cache; ten times as fast as sha256

    starts = range(0, size, _CHUNK)
    return [
        zlib_ng.crc32(os.pread(descriptor, min(_CHUNK, size - start), start)) for start in starts
    ]


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
