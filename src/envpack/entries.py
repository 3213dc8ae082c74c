"""The entries of a plan: a list where there are few, rows packed by folder where there are many."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from typing import NamedTuple, TypeVar

from envpack.errors import SourceFault
from envpack.model import Alias, Derived, Disk, Entry, Head, Inline, Run, Summary
from envpack.rows import unpacked

_Named = TypeVar("_Named", Entry, Head)

SHARED = ".so"
"""What the base name of a shared object has in it, be it `.so`, `.so.1` or `.cpython-312.so`."""


class EntryList:
    """Entries that are all there."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)
        self._runs = [
            _run(name, tuple(group)) for name, group in groupby(entries, key=lambda each: each.run)
        ]
        self.size = sum(size_of(entry) for entry in entries)
        self.beyond = _asked(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def runs(self) -> Iterator[Run]:
        """Yield them run by run."""
        return iter(self._runs)


def _run(name: str, entries: tuple[Entry, ...]) -> Run:
    heads = partial(map, Head.of, entries)
    return Run(name, len(entries), partial(iter, entries), heads, tuple, entries)


def _asked(entries: Iterable[Entry]) -> frozenset[str]:
    """Return the names whose digests entries ask for, and which may be in another run."""
    found: set[str] = set()
    for entry in entries:
        if isinstance(entry.content, Derived):
            found |= entry.content.beyond
        elif isinstance(entry.content, Alias):
            found.add(entry.content.target)
    return frozenset(found)


def size_of(entry: Entry) -> int:
    """Return the bytes of an entry that is on disk or decided, 0 of any other."""
    if isinstance(entry.content, Disk):
        return entry.content.size
    return len(entry.content.data) if isinstance(entry.content, Inline) else 0


def below(root: str, folder: str) -> str:
    """Return the path of a folder of the archive below a directory."""
    return f"{root}/{folder}" if folder else root


def prefix_of(folder: str) -> str:
    """Return what comes before the base names in a folder, "" for the root's."""
    return f"{folder}/" if folder else ""


def disk_at(path: str) -> tuple[Disk, bool]:
    """Return the file at `path` as content, and whether its owner may execute it."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise SourceFault(f"cannot read `{path}`: {error.strerror}") from error
    identity = (status.st_dev, status.st_ino, status.st_ctime_ns)
    content = Disk(path, status.st_size, status.st_mtime_ns, identity)
    return content, bool(status.st_mode & 0o100)


class Piece(NamedTuple):
    """Regular files of one folder of the archive, which lie in one folder of this machine.

    That is `folder` below `root`, or else `other`. `files` is how many, `size` sums their bytes.
    `rows` has for each, packed: its base name, whether it is executable, size, mtime, its path if
    that has another base name, its identity.
    """

    folder: str
    root: str
    other: str | None
    files: int
    size: int
    rows: bytes

    @property
    def source(self) -> str:
        """The folder of this machine."""
        return below(self.root, self.folder) if self.other is None else self.other

    def names(self) -> Iterator[str]:
        """Yield the names."""
        prefix = prefix_of(self.folder)
        return (prefix + row[0] for row in unpacked(self.rows))

    def heads(self) -> Iterator[Head]:
        """Yield the heads of the entries."""
        prefix = prefix_of(self.folder)
        return (Head(prefix + row[0], row[1], alias=False) for row in unpacked(self.rows))

    def natives(self) -> Iterator[tuple[str, str]]:
        """Yield the name and path of each that may be native code: executables, and `.so` files."""
        prefix = prefix_of(self.folder)
        source = f"{self.source}/"
        for row in unpacked(self.rows):
            if row[1] or SHARED in row[0]:
                yield prefix + row[0], row[4] or source + row[0]

    def places(self) -> Iterator[tuple[str, str]]:
        """Yield the name and path of each."""
        prefix, source = prefix_of(self.folder), f"{self.source}/"
        return ((prefix + row[0], row[4] or source + row[0]) for row in unpacked(self.rows))

    def told(self) -> str:
        """Return the sha256 of all that is known of the files."""
        text = json.dumps([self.folder, self.source, unpacked(self.rows)])
        return hashlib.sha256(text.encode()).hexdigest()

    def entries(self, run: str = "") -> Iterator[Entry]:
        """Make the entries, in the order of their rows."""
        prefix = prefix_of(self.folder)
        source = f"{self.source}/"
        for base, executable, size, mtime_ns, path, *identity in unpacked(self.rows):
            disk = Disk(path or source + base, size, mtime_ns, tuple(identity))
            yield Entry(prefix + base, disk, executable, True, run)


class Batch(NamedTuple):
    """A run as a draft leaves it: pieces, single entries among them by name, and what is last."""

    name: str
    pieces: tuple[Piece, ...]
    singles: tuple[Entry, ...]
    last: tuple[Entry, ...]

    def entries(self) -> Iterator[Entry]:
        """Make the entries, folder by folder."""
        return self._ordered(lambda piece: piece.entries(self.name), lambda entry: entry)

    def heads(self) -> Iterator[Head]:
        """Make the heads alone, in the same order."""
        return self._ordered(Piece.heads, Head.of)

    def _ordered(
        self, packed: Callable[[Piece], Iterator[_Named]], single: Callable[[Entry], _Named]
    ) -> Iterator[_Named]:
        folders: dict[str, tuple[list[Piece], list[Entry]]] = {}
        for piece in self.pieces:
            folders.setdefault(piece.folder, ([], []))[0].append(piece)
        for entry in self.singles:
            folders.setdefault(entry.name.rpartition("/")[0], ([], []))[1].append(entry)
        for folder in sorted(folders, key=lambda folder: folder.split("/")):
            pieces, singles = folders[folder]
            if len(pieces) == 1 and not singles:
                yield from packed(pieces[0])
                continue
            found = chain(map(single, singles), *map(packed, pieces))
            yield from sorted(found, key=lambda each: each.name)
        yield from map(single, self.last)

    def run(self) -> Run:
        """Return it as a run."""
        count = sum(piece.files for piece in self.pieces) + len(self.singles) + len(self.last)
        others = (*self.singles, *self.last)
        return Run(self.name, count, self.entries, self.heads, self._told, others)

    def _told(self) -> Iterator[tuple[str, str]]:
        return ((piece.folder, piece.told()) for piece in self.pieces)


class Batches:
    """Entries as a draft leaves them, and a summary behind them."""

    def __init__(self, batches: Iterable[Batch], summary: Entry) -> None:
        self._batches = tuple(batches)
        self._summary = summary
        assert isinstance(summary.content, Summary)
        pieces = chain.from_iterable(batch.pieces for batch in self._batches)
        singles = [entry for batch in self._batches for entry in (*batch.singles, *batch.last)]
        self.size = sum(piece.size for piece in pieces) + sum(map(size_of, singles))
        runs = list(self.runs())
        self._count = sum(map(len, runs))
        self.beyond = _asked(singles)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(self.runs())

    def runs(self) -> Iterator[Run]:
        """Yield them run by run."""
        for batch in self._batches:
            yield batch.run()
        yield _run(self._summary.run, (self._summary,))
