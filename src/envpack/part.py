"""A file that is not whole yet: what is there of it, its hashes so far, and its lock."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from envpack.bundled.holding import lock
from envpack.errors import FetchFault
from envpack.foreign import opened

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK = 1024 * 1024
_LONGEST_STEM = 200
_PART = re.compile(r"\.(?P<name>.*)\.(?P<key>[0-9a-f]{12})\.part", re.DOTALL)


class Wrong(Exception):
    """The bytes are not those that were wanted; the text says how they differ."""


class Digest(NamedTuple):
    """A file's sha256 and size, and its other hashes as far as they were wanted."""

    sha256: str
    size: int
    hashes: Mapping[str, str]

    def fits(self, hashes: Mapping[str, str], size: int | None) -> bool:
        """Say whether this is the file that was wanted; without any hash nobody can tell."""
        return bool(hashes) and self.difference(hashes, size) is None

    def difference(self, hashes: Mapping[str, str], size: int | None) -> str | None:
        """Say how this differs from what was wanted, None if it does not."""
        if size is not None and size != self.size:
            return f"its size differs: expected {size}, got {self.size}"
        for name, wanted in hashes.items():
            if self.hashes[name] != wanted.lower():
                return f"its {name} differs: expected {wanted.lower()}, got {self.hashes[name]}"
        return None


class _Hashes:
    """Running hashes: those wanted, and sha256."""

    def __init__(self, names: Iterable[str]) -> None:
        self._running: dict[str, _Hash] = {}
        for name in {*names, "sha256"}:
            if name not in hashlib.algorithms_guaranteed or name.startswith("shake_"):
                raise FetchFault(f"its hash is of the unknown kind `{name}`")
            self._running[name] = hashlib.new(name, usedforsecurity=False)
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        for running in self._running.values():
            running.update(data)
        self.size += len(data)

    def digest(self) -> Digest:
        found = {name: running.hexdigest() for name, running in self._running.items()}
        return Digest(found["sha256"], self.size, found)


def digest_of(path: str, hashes: Iterable[str]) -> Digest | None:
    """Read a file and return its digest, None if there is no file. Raises OSError."""
    running = _Hashes(hashes)
    file = opened(path, FetchFault)
    if file is None:
        return None
    with file:
        while data := file.read(_CHUNK):
            running.update(data)
    return running.digest()


class Part:
    """The growing file beside `path`.

    It is kept when it is left, unless it was finished or found wrong. Without any hash nobody could
    tell later whether two runs fetched the same file, so then it begins empty. `moved` is told how
    many bytes came, or went. `joined` says that the bytes come from more than one response, `etag`
    is the strong entity tag of the last one.
    """

    def __init__(
        self,
        path: str,
        hashes: Mapping[str, str],
        size: int | None,
        moved: Callable[[int], None],
    ) -> None:
        self._target = path
        self._wanted = hashes
        self._expected = size
        self._moved = moved
        self._hashes = _Hashes(hashes)
        self._finished = False
        self.joined = False
        self.etag: str | None = None
        self._path, self._file = _opened(path, hashes, size)
        if hashes:
            self._read()
        else:
            os.ftruncate(self._file, 0)

    @property
    def size(self) -> int:
        """Return how many bytes there are."""
        return self._hashes.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if not (self.size or self._finished):
                os.unlink(self._path)
        finally:
            os.close(self._file)

    def begin(self, etag: str | None) -> None:
        """Take the bytes that follow as those of one more response."""
        self.joined = self.size > 0
        self.etag = etag

    def write(self, data: bytes) -> None:
        """Append. Raises Wrong as soon as there is more than there should be, and OSError."""
        view = memoryview(data)
        while view:
            count = os.write(self._file, view)
            self._hashes.update(view[:count])
            self._tell(count)
            view = view[count:]
        if self._expected is not None and self.size > self._expected:
            raise Wrong(f"its size differs: expected {self._expected}, got more")

    def restart(self) -> None:
        """Throw away what is there."""
        self._tell(-self.size)
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._hashes = _Hashes(self._wanted)
        self.joined = False
        self.etag = None

    def is_right(self) -> bool:
        """Say whether nothing lacks."""
        return self._hashes.digest().fits(self._wanted, self._expected)

    def check(self) -> None:
        """Raise Wrong if these are not the bytes that were wanted."""
        if difference := self._hashes.digest().difference(self._wanted, self._expected):
            raise Wrong(difference)

    def finish(self) -> Digest:
        """Rename the part to its destination."""
        digest = self._hashes.digest()
        os.replace(self._path, self._target)
        self._finished = True
        return digest

    def _tell(self, count: int) -> None:
        if count:
            self._moved(count)

    def _read(self) -> None:
        """Hash what an earlier run left; more than there should be is thrown away."""
        while data := os.read(self._file, _CHUNK):
            self._hashes.update(data)
        self._tell(self.size)
        self.joined = self.size > 0
        if self._expected is not None and self.size > self._expected:
            self.restart()


def part_path(path: str, hashes: Mapping[str, str], size: int | None) -> str:
    """Return the name of the part for a destination and the hashes wanted there."""
    wanted = repr((sorted(hashes.items()), size))
    key = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:_LONGEST_STEM]}.{key}.part")


def leave_no_parts(paths: Iterable[str]) -> None:
    """Remove what earlier runs left of files that are whole now, unless somebody works on it."""
    names: dict[str, set[str]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        names.setdefault(folder, set()).add(name[:_LONGEST_STEM])
    for folder, whole in names.items():
        for name in os.listdir(folder):
            match = _PART.fullmatch(name)
            if match is not None and match["name"] in whole:
                _remove_unlocked(os.path.join(folder, name))


def _remove_unlocked(path: str) -> None:
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return
    try:
        if lock(file) or sys.platform == "win32":  # which removes nothing that is open
            os.unlink(path)
    finally:
        os.close(file)


def _opened(path: str, hashes: Mapping[str, str], size: int | None) -> tuple[str, int]:
    """Open and lock the part, or one of its own if another process has it."""
    name = part_path(path, hashes, size)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    file = os.open(name, flags, 0o666)
    free = lock(file) is not False
    # Whoever had it may have renamed it just now: then this is its file, not a part.
    if free and os.path.exists(name) and os.path.samestat(os.fstat(file), os.stat(name)):
        return name, file
    os.close(file)
    name = f"{name.removesuffix('.part')}.{secrets.token_hex(4)}.part"
    return name, os.open(name, flags | os.O_EXCL, 0o666)
