"""Plan to members: each file read once, in the order of the plan, ahead of the writer.

What is read ahead is bounded by a budget of bytes. Runs that a cache has are not read at all.
"""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from tempfile import SpooledTemporaryFile

from envpack.kept import Seam
from envpack.leaks import LeakSearch
from envpack.manifest import ContentDigest
from envpack.model import (
    Alias,
    Content,
    Derived,
    Digest,
    Digests,
    Disk,
    Entry,
    Inline,
    Item,
    Link,
    LinkKind,
    Member,
    Plan,
    Run,
    Summary,
)
from envpack.parallel import Pool
from envpack.reading import BLOCK, WHOLE, Prepared, measure_all, prepare_all, written
from envpack.runs import Hit, Keeper, Outcome

_BATCH = 256 * 1024
_BUDGET = 12 * 1024 * 1024
_PER_FILE = 4096
_IN_MEMORY = 4 * 1024 * 1024


def stream(
    plan: Plan,
    outcome: Outcome,
    *,
    pool: Pool,
    link: Callable[[Entry, int], LinkKind | None],
    arcroot: str = "",
    keeper: Keeper | None = None,
    tick: Callable[[int, int], None] = lambda _files, _bytes: None,
) -> Iterator[Item]:
    """Yield the plan's members, run by run, and fill `outcome` on the way.

    `link(entry, size)` decides how an alias to `size` bytes is stored, None for a copy. `arcroot`
    is put before every name. A `keeper` gives runs that were packed before, and keeps the others.
    `tick(files, bytes)` is called after each member and may raise to stop. Raises SourceFault for
    files that cannot be read or are not what was planned.
    """
    reader = _Reader(plan, LeakSearch(plan.needles), link)
    runs = tuple(plan.entries.runs())

    @cache
    def hit(index: int) -> Hit | None:
        if keeper is None:
            return None
        return keeper.find(runs[index], partial(reader.measured, pool=pool))

    def to_read() -> Iterator[Entry]:
        for index, run in enumerate(runs):
            if hit(index) is None:
                yield from run

    ready = chain.from_iterable(pool.ordered(reader.tasks(to_read()), budget=_BUDGET))
    root = arcroot + "/" if arcroot else ""
    told = _Told(plan.entries.beyond)
    files = 0
    for index, run in enumerate(runs):
        found = hit(index)
        if found is not None:
            yield found.packed
            for entry, digest in zip(run, found.outcome.digests, strict=True):
                told.note(entry, digest)
            outcome.add(found.outcome)
            files += len(run)
            tick(files, outcome.size)
            continue
        own = Outcome()
        near: dict[str, Digest] = {}
        known = ChainMap(near, told.far)
        for entry, prepared in zip(run, ready, strict=False):
            if isinstance(entry.content, Summary):
                outcome.digest = told.total.hexdigest()
                members = zip(plan.entries, outcome.digests, strict=False)
                yield from _summary(entry, entry.content.make(outcome.digest, members), root, own)
            else:
                yield from _member(entry, prepared, root, own, known, reader)
                told.note(entry, own.digests.last)
                if run.looked_up:
                    near[entry.name] = own.digests.last
            files += 1
            tick(files, outcome.size + own.size)
        outcome.add(own)
        yield Seam(None if keeper is None else partial(keeper.keep, run, own))


class _Told:
    """What later members ask of earlier ones: the digest of all, and of those in `wanted`."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self.total = ContentDigest()
        self.far: dict[str, Digest] = {}
        self._wanted = wanted

    def note(self, entry: Entry, digest: Digest) -> None:
        """Take the next member in."""
        self.total.add(entry, digest)
        if entry.name in self._wanted:
            self.far[entry.name] = digest


def _member(
    entry: Entry,
    prepared: Prepared | None,
    root: str,
    own: Outcome,
    known: Digests,
    reader: _Reader,
) -> Iterator[Member]:
    """Yield one entry as a member, and note in `own` what it was."""
    name = root + entry.name
    if prepared is not None:
        yield from written(prepared, name, own, reader.search)
    elif isinstance(entry.content, Derived):
        data = entry.content.make(known)
        own.digests.append(Digest(hashlib.sha256(data).hexdigest(), len(data)))
        own.size += len(data)
        yield Member(name, len(data), entry.executable, (data,))
    else:
        assert isinstance(entry.content, Alias)
        target = known[entry.content.target]
        own.digests.append(target)
        kind = reader.link(entry, target.size)
        text = root + entry.content.target if kind is LinkKind.HARD else entry.content.symlink
        yield Member(name, 0, entry.executable, link=Link(kind or LinkKind.HARD, text))


def _summary(entry: Entry, pieces: Iterable[bytes], root: str, own: Outcome) -> Iterator[Member]:
    """Yield what tells of all members; its size must be known before its first byte is written."""
    total = hashlib.sha256()
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        for piece in pieces:
            total.update(piece)
            file.write(piece)
        size = file.tell()
        file.seek(0)
        own.digests.append(Digest(total.hexdigest(), size))
        own.size += size
        blocks = iter(partial(file.read, BLOCK), b"")
        yield Member(root + entry.name, size, entry.executable, blocks)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads entries on workers, many small ones in one task."""

    plan: Plan
    search: LeakSearch
    link: Callable[[Entry, int], LinkKind | None]

    def tasks(
        self, entries: Iterable[Entry]
    ) -> Iterator[tuple[Callable[[], list[Prepared | None]], int]]:
        """Yield the work of reading entries in their order, with its cost in bytes."""
        for batch, cost in self._batches(entries):
            yield partial(prepare_all, batch, self.plan, self.search), cost

    def measured(self, run: Run, *, pool: Pool) -> Outcome:
        """Read a run that asks for no digest beyond it, and return what it is."""
        outcome = Outcome()
        known: dict[str, Digest] = {}
        work = (
            (partial(measure_all, batch, self.plan, self.search), cost)
            for batch, cost in self._batches(run)
        )
        ready = chain.from_iterable(pool.ordered(work, budget=_BUDGET))
        for entry, found in zip(run, ready, strict=True):
            if found is not None:
                outcome.add(found)
            elif isinstance(entry.content, Alias):
                outcome.digests.append(known[entry.content.target])
            elif isinstance(entry.content, Derived):
                data = entry.content.make(known)
                outcome.digests.append(Digest(hashlib.sha256(data).hexdigest(), len(data)))
                outcome.size += len(data)
            if run.looked_up:
                known[entry.name] = outcome.digests.last
        return outcome

    def _batches(self, entries: Iterable[Entry]) -> Iterator[tuple[list[Entry | None], int]]:
        batch: list[Entry | None] = []
        total = 0
        for entry in entries:
            content = _content_of(entry, self.link)
            source, size = None, 0
            if isinstance(content, Disk | Inline):
                source = entry
                if content is not entry.content:
                    source = Entry(entry.name, content, entry.executable, entry.relocate)
                size = content.size if isinstance(content, Disk) else len(content.data)
            cost = min(size, WHOLE) + _PER_FILE
            if total + cost > _BATCH and batch:
                yield batch, total
                batch, total = [], 0
            batch.append(source)
            total += cost
        if batch:
            yield batch, total


def _content_of(entry: Entry, link: Callable[[Entry, int], LinkKind | None]) -> Content:
    """Return the entry's content; that of its target, if it is an alias to be stored as a copy."""
    if isinstance(entry.content, Alias):
        content = entry.content.content
        if link(entry, content.size if isinstance(content, Disk) else 0) is None:
            return content
    return entry.content
