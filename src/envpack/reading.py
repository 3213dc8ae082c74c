"""Files as they go into an archive: read once, edited, hashed and searched.

Small files are handled whole, on a worker. Large ones are read block by block while a format takes
them, so that memory does not depend on them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from envpack.errors import SourceFault
from envpack.leaks import LeakSearch
from envpack.manifest import Told, tell
from envpack.model import (
    Content,
    Digest,
    Disk,
    Edit,
    Entry,
    Head,
    Inline,
    Leak,
    Member,
    Plan,
    Rendered,
    Renderer,
    View,
)
from envpack.relocate import relocator_for
from envpack.relocate.elf import loader_strings
from envpack.relocate.elf_add import NoRoom, edits_with
from envpack.relocate.script import found_by_path
from envpack.runs import Outcome

BLOCK = 512 * 1024
WHOLE = 1024 * 1024
_HEAD = 4096
_NO_ROOM = "a library of the archive, without a byte of room to say where that is"
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Without waiting: what was a file when it was looked at may be a pipe by now."""


class Prepared(NamedTuple):
    """A file ready to be written: whole, or with the edits that its blocks will get.

    `excuse` says why a path of the build machine would do no harm in it.
    """

    entry: Entry
    size: int
    data: bytes | None
    digest: Digest | None
    edits: tuple[Edit, ...]
    leaks: Mapping[str, int]
    excuse: str
    disk: Disk | None = None


class Chunk(NamedTuple):
    """Neighbouring entries of one run, as far as a worker could take them.

    Small files are read: `items` are their members, perhaps rendered, and `digests`, `told` and
    `outcome` what they are. A `large` file is yet to be read, while a format takes it. Any other
    entry stands alone, and neither has anything of it.
    """

    entries: Sequence[Entry]
    items: Sequence[Member | Rendered] = ()
    digests: Sequence[Digest] = ()
    told: Told = Told()
    outcome: Outcome | None = None
    large: Prepared | None = None


class _Edits(NamedTuple):
    """The edits of one file, and leaks that none of them could end."""

    edits: tuple[Edit, ...] = ()
    leaks: tuple[str, ...] = ()


class FileView:
    """A View of an open file, read where it is looked at.

    Raises SourceFault where the file turns out shorter than it was.
    """

    def __init__(self, descriptor: int, size: int, path: str) -> None:
        self._descriptor = descriptor
        self._size = size
        self._path = path

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice, /) -> bytes:
        start, stop, step = where.indices(self._size)
        if step != 1:
            raise ValueError("a View is read forwards")
        return _read(self._descriptor, start, max(0, stop - start), self._path)


def read_all(
    batch: Sequence[tuple[Entry, Content]],
    plan: Plan,
    search: LeakSearch,
    *,
    root: str = "",
    renderer: Renderer | None = None,
) -> Chunk:
    """Read neighbouring entries in one task: handing over each costs as much as its work.

    Each comes with its content: an alias that is stored as a copy has that of its target. All are
    small, or there is one.
    """
    entries = [entry for entry, _ in batch]
    if not isinstance(batch[0][1], Disk | Inline):
        return Chunk(entries)
    outcome = Outcome()
    digests: list[Digest] = []
    members: list[Member] = []
    for entry, content in batch:
        prepared = prepare(entry, content, plan, search)
        if prepared.digest is None:
            return Chunk(entries, large=prepared)
        members.append(_noted(prepared, prepared.digest, root + entry.name, outcome))
        digests.append(prepared.digest)
    chunk = Chunk(entries, members, digests, tell(map(Head.of, entries), digests), outcome)
    return chunk if renderer is None or renderer.compresses else rendered(chunk, renderer)


def rendered(chunk: Chunk, renderer: Renderer) -> Chunk:
    """Return the chunk with its members made ready."""
    members = [item for item in chunk.items if isinstance(item, Member)]
    return chunk._replace(items=[renderer.render(members)]) if members else chunk


def prepare(entry: Entry, content: Content, plan: Plan, search: LeakSearch) -> Prepared:
    """Read and edit one file, on a worker; a large one is only looked at."""
    if isinstance(content, Inline):
        data = content.data
        return _whole(entry, data, _edits(entry, data[:_HEAD], data, plan), search)
    assert isinstance(content, Disk)
    disk = content
    descriptor = _open(disk)
    try:
        if disk.size <= WHOLE:
            data = _read(descriptor, 0, disk.size, disk.path)
            if _was_touched(descriptor, disk) and data != _again(descriptor, disk):
                raise _changed(disk.path, "changed")
            return _whole(entry, data, _edits(entry, data[:_HEAD], data, plan), search)
        _was_touched(descriptor, disk)
        found = _edits_of_large(entry, descriptor, disk, plan)
        edits = found.edits
        excuse = harmless(entry.name, FileView(descriptor, disk.size, disk.path), edits)
    finally:
        os.close(descriptor)
    size = disk.size + sum(len(edit.data) - (edit.stop - edit.start) for edit in edits)
    return Prepared(entry, size, None, None, edits, dict.fromkeys(found.leaks, 1), excuse, disk)


def _edits_of_large(entry: Entry, descriptor: int, disk: Disk, plan: Plan) -> _Edits:
    view = FileView(descriptor, disk.size, disk.path)
    return _edits(entry, view[0:_HEAD], view, plan)


def _whole(entry: Entry, data: bytes, found: _Edits, search: LeakSearch) -> Prepared:
    edits = found.edits
    excuse = harmless(entry.name, data, edits)
    if edits:
        data = b"".join(spliced([data], edits))
    digest = Digest(hashlib.sha256(data).hexdigest(), len(data))
    leaks = search.in_whole(data) if entry.relocate else {}
    if not edits and data.startswith(b"#!") and (python := found_by_path(entry.name, data[:_HEAD])):
        leaks = {**leaks, f"{python}, found by PATH": 1}
    if found.leaks:
        leaks = {**leaks, **dict.fromkeys(found.leaks, 1)}
    return Prepared(entry, len(data), data, digest, edits, leaks, excuse)


def _noted(prepared: Prepared, digest: Digest, name: str, outcome: Outcome) -> Member:
    """Return the member of a file that is read, and note what it was."""
    _note(outcome, prepared)
    outcome.digests.append(digest)
    if prepared.leaks:
        _note_leaks(outcome, prepared, prepared.leaks)
    data = prepared.data or b""
    return Member(name, prepared.size, prepared.entry.executable, (data,))


def _note(outcome: Outcome, prepared: Prepared) -> None:
    outcome.size += prepared.size
    if prepared.edits:
        outcome.edited += 1
        outcome.edits.update({edit.why for edit in prepared.edits})


def written(
    prepared: Prepared, name: str, outcome: Outcome, search: LeakSearch, plan: Plan
) -> Iterator[Member]:
    """Yield the member of a large prepared file, and note what it was when it is taken."""
    assert prepared.disk is not None
    _note(outcome, prepared)
    total = hashlib.sha256()
    stream = search.stream()

    def blocks(disk: Disk) -> Iterator[bytes]:
        for block in spliced(_disk_blocks(disk), prepared.edits):
            total.update(block)
            stream.feed(block)
            yield block
        _check_taken(prepared, disk, total.hexdigest(), plan)

    yield Member(name, prepared.size, prepared.entry.executable, blocks(prepared.disk))
    stream.feed(b"", last=True)
    outcome.digests.append(Digest(total.hexdigest(), prepared.size))
    _note_leaks(outcome, prepared, {**stream.found, **prepared.leaks})


def _note_leaks(outcome: Outcome, prepared: Prepared, found: Mapping[str, int]) -> None:
    for needle, count in sorted(found.items()):
        outcome.leaks.append(Leak(prepared.entry.name, needle, count, prepared.excuse))


def harmless(name: str, view: View, edits: Sequence[Edit]) -> str:
    """Say why a build-machine path left in the file `name` does no harm, "" if it may.

    CPython compiles its PREFIX in (`Modules/getpath.c`) and uses it only when it finds no standard
    library beside itself. That is no excuse where the loader's own paths could not be edited.
    """
    if not name.startswith(("lib/libpython", "bin/python")):
        return ""
    if not edits and any(text.startswith(b"/") for text in loader_strings(view)):
        return ""
    return "the compiled-in prefix, a last resort of getpath"


def _edits(entry: Entry, head: bytes, view: View, plan: Plan) -> _Edits:
    if not entry.relocate:
        return _Edits()
    libraries = plan.libraries
    unsaid: tuple[str, ...] = ()
    if entry.name in libraries.rpaths:
        dirs, dropped = libraries.rpaths[entry.name], libraries.dropped.get(entry.name, ())
        try:
            edits = edits_with(entry.name, view, plan.moves, dirs, libraries.bare, dropped)
            return _Edits(tuple(sorted(edits)))
        except NoRoom as found:
            unsaid = (*dropped, *((_NO_ROOM,) if dirs and found.alone else ()))
    relocator = relocator_for(entry.name, head)
    if relocator is None:
        return _Edits((), unsaid)
    return _Edits(tuple(sorted(relocator.edits(entry.name, view, plan.moves))), unsaid)


def spliced(blocks: Iterable[bytes], edits: Sequence[Edit]) -> Iterator[bytes]:
    """Apply sorted, disjoint edits to a stream of blocks.

    Raises ValueError for edits that overlap, are out of order or lie past the end.
    """
    position = 0
    pending = iter(edits)
    edit = next(pending, None)
    resume = 0
    for block in blocks:
        end = position + len(block)
        pieces = []
        while edit is not None and edit.start < end:
            if edit.start < resume or edit.stop < edit.start:
                raise ValueError(f"edit at {edit.start} is out of order")
            begin = max(resume, position)
            pieces += [block[begin - position : edit.start - position], edit.data]
            resume = edit.stop
            edit = next(pending, None)
        pieces.append(block[max(resume, position) - position :])
        position = end
        if joined := b"".join(pieces):
            yield joined
    while edit is not None and edit.start == position == edit.stop and resume <= position:
        yield edit.data
        edit = next(pending, None)
    if edit is not None or resume > position:
        raise ValueError("an edit lies past the end")


def _disk_blocks(disk: Disk) -> Iterator[bytes]:
    descriptor = _open(disk)
    try:
        for start in range(0, disk.size, BLOCK):
            yield _read(descriptor, start, min(BLOCK, disk.size - start), disk.path)
        _was_touched(descriptor, disk)
    finally:
        os.close(descriptor)


def _open(disk: Disk) -> int:
    try:
        descriptor = os.open(disk.path, _FLAGS)
    except FileNotFoundError:
        raise _changed(disk.path, "vanished") from None
    except OSError as error:
        raise SourceFault(f"cannot read `{disk.path}`: {error.strerror}") from error
    return descriptor


def _was_touched(descriptor: int, disk: Disk) -> bool:
    """Say whether something was done to a file since it was planned; raises SourceFault if it grew.

    The ctime tells, which nobody can put back as the mtime can be. It also tells of a new hard
    link, such as uv makes of its cache's files for other environments, so the content decides.
    """
    status = os.fstat(descriptor)
    if (status.st_size, status.st_mtime_ns) != (disk.size, disk.mtime_ns):
        raise _changed(disk.path, "changed")
    return bool(disk.identity) and status.st_ctime_ns != disk.identity[2]


def _again(descriptor: int, disk: Disk) -> bytes:
    data = _read(descriptor, 0, disk.size, disk.path)
    _was_touched(descriptor, disk)
    return data


def _check_taken(prepared: Prepared, disk: Disk, sha256: str, plan: Plan) -> None:
    """Raise SourceFault if a large file may be of two kinds, its edits being of a third."""
    descriptor = _open(disk)
    try:
        if not _was_touched(descriptor, disk):
            return
        edits = _edits_of_large(prepared.entry, descriptor, disk, plan).edits
    finally:
        os.close(descriptor)
    total = hashlib.sha256()
    for block in spliced(_disk_blocks(disk), edits):
        total.update(block)
    if (edits, total.hexdigest()) != (prepared.edits, sha256):
        raise _changed(disk.path, "changed")


def _read(descriptor: int, start: int, size: int, path: str) -> bytes:
    try:
        data = os.pread(descriptor, size, start)
        while len(data) < size:
            more = os.pread(descriptor, size - len(data), start + len(data))
            if not more:
                raise _changed(path, "changed")
            data += more
    except OSError as error:
        raise SourceFault(f"cannot read `{path}`: {error.strerror}") from error
    return data


def _changed(path: str, how: str) -> SourceFault:
    return SourceFault(
        f"`{path}` {how} while it was packed", hint="let installs and syncs end, then pack again"
    )
