"""Plan to members: each file read once, in the order of the plan, ahead of the writer.

What is read ahead is bounded by a budget of bytes. Runs that a cache has are not read at all.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO

from envpack.kept import Seam
from envpack.leaks import LeakSearch
from envpack.manifest import Told, tell
from envpack.model import (
    Alias,
    Content,
    Derived,
    Digest,
    Digests,
    Disk,
    Entry,
    Head,
    Inline,
    Item,
    Link,
    LinkKind,
    Member,
    Plan,
    Renderer,
    Run,
    Summary,
)
from envpack.parallel import Pool
from envpack.reading import BLOCK, WHOLE, Chunk, read_all, rendered, written
from envpack.runs import Hit, Keeper, Outcome

_BATCH = 256 * 1024
_BUDGET = 12 * 1024 * 1024
_PER_FILE = 4096
_IN_MEMORY = 4 * 1024 * 1024
_TOGETHER = 1000


def stream(
    plan: Plan,
    outcome: Outcome,
    *,
    pool: Pool,
    link: Callable[[Entry, int], LinkKind | None],
    arcroot: str = "",
    keeper: Keeper | None = None,
    renderer: Renderer | None = None,
    tick: Callable[[int, int], None] = lambda _files, _bytes: None,
) -> Iterator[Item]:
    """Yield the plan's members, run by run, and fill `outcome` on the way.

    `link(entry, size)` decides how an alias to `size` bytes is stored, None for a copy. `arcroot`
    is put before every name. A `keeper` gives runs that were packed before, and keeps the others.
    `renderer` makes small members ready. `tick(files, bytes)` is called now and then, and may raise
    to stop. Raises SourceFault for files that cannot be read or are not what was planned.
    """
    root = arcroot + "/" if arcroot else ""
    reader = _Reader(plan, LeakSearch(plan.needles), link, root, renderer)
    runs = tuple(plan.entries.runs())

    @cache
    def hit(index: int) -> Hit | None:
        if keeper is None:
            return None
        return keeper.find(runs[index], partial(reader.measured, pool=pool))

    def to_read() -> Iterator[Run]:
        for index, run in enumerate(runs):
            if hit(index) is None:
                yield run

    chunks = reader.chunks(to_read(), pool)
    files = 0
    with SpooledTemporaryFile(_IN_MEMORY) as rows:
        so_far = _SoFar(plan.entries.beyond, rows)
        for index, run in enumerate(runs):
            found = hit(index)
            if found is not None:
                yield found.packed
                so_far.note_all(run.heads(), found.outcome.digests)
                outcome.count(found.outcome)
                files += len(run)
                tick(files, outcome.size)
                continue
            own = Outcome()
            near: dict[str, Digest] = {}
            looked_up = run.looked_up
            left = len(run)
            while left:
                chunk = next(chunks)
                left -= len(chunk.entries)
                if chunk.outcome is not None:
                    yield from chunk.items
                    own.add(chunk.outcome)
                    so_far.note(chunk.entries, chunk.digests, chunk.told)
                    digests = chunk.digests
                else:
                    (entry,) = chunk.entries
                    if isinstance(entry.content, Summary):
                        outcome.digest = so_far.total.hexdigest()
                        yield from so_far.summary(entry, entry.content, root, own)
                    else:
                        yield from reader.alone(chunk, own, so_far.asked(entry.content, near))
                        so_far.note_all(map(Head.of, chunk.entries), (own.digests.last,))
                    digests = (own.digests.last,)
                if looked_up:
                    names = (entry.name for entry in chunk.entries)
                    near.update(zip(names, digests, strict=True))
                files += len(chunk.entries)
                tick(files, outcome.size + own.size)
            outcome.count(own)
            yield Seam(None if keeper is None else partial(keeper.keep, run, own))


class _SoFar:
    """What later members ask of earlier ones.

    The digest of all, what is told of all, in `rows`, and the digests of those in `wanted`.
    """

    def __init__(self, wanted: frozenset[str], rows: IO[bytes]) -> None:
        self.total = hashlib.sha256()
        self.far: dict[str, Digest] = {}
        self._wanted = wanted
        self._rows = rows

    def note(self, entries: Iterable[Entry | Head], digests: Iterable[Digest], told: Told) -> None:
        """Take the next members in."""
        self.total.update(told.lines)
        if self._rows.tell():
            self._rows.write(b",")
        self._rows.write(told.rows)
        for entry, digest in zip(entries, digests, strict=True):
            if entry.name in self._wanted:
                self.far[entry.name] = digest

    def asked(self, content: Content, near: dict[str, Digest]) -> Digests:
        """Return the digests that `content` may ask for; `near` are those of its own run."""
        if isinstance(content, Alias):
            return near if content.target in near else self.far
        beyond = content.beyond if isinstance(content, Derived) else frozenset()
        far = {name: self.far[name] for name in beyond if name in self.far}
        return {**near, **far} if far else near

    def note_all(self, heads: Iterable[Head], digests: Iterable[Digest]) -> None:
        """Take members in that may be many."""
        pairs = zip(heads, digests, strict=True)
        while some := list(islice(pairs, _TOGETHER)):
            these, those = [pair[0] for pair in some], [pair[1] for pair in some]
            self.note(these, those, tell(these, those))

    def summary(self, entry: Entry, content: Summary, root: str, own: Outcome) -> Iterator[Member]:
        """Yield what tells of all members; a header before it says how long it is."""
        before, behind = content.make(self.total.hexdigest())
        size = len(before) + self._rows.tell() + len(behind)
        total = hashlib.sha256()

        def blocks() -> Iterator[bytes]:
            yield before
            self._rows.seek(0)
            yield from iter(partial(self._rows.read, BLOCK), b"")
            yield behind

        for block in blocks():
            total.update(block)
        own.digests.append(Digest(total.hexdigest(), size))
        own.size += size
        yield Member(root + entry.name, size, entry.executable, blocks())


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads entries on another thread, many small ones in one task."""

    plan: Plan
    search: LeakSearch
    link: Callable[[Entry, int], LinkKind | None]
    root: str
    renderer: Renderer | None

    def chunks(self, runs: Iterable[Run], pool: Pool) -> Iterator[Chunk]:
        """Yield what the runs are, read ahead and made ready."""
        read = partial(
            read_all, plan=self.plan, search=self.search, root=self.root, renderer=self.renderer
        )
        work = ((partial(read, batch), cost) for run in runs for batch, cost in self._batches(run))
        renderer = self.renderer
        if renderer is None or not renderer.compresses:
            return pool.ordered(work, budget=_BUDGET, single=True)
        read_ahead = pool.ordered(work, budget=_BUDGET // 6, single=True)
        work = ((partial(rendered, chunk, renderer), _cost(chunk)) for chunk in read_ahead)
        return pool.ordered(work, budget=_BUDGET // 2)

    def alone(self, chunk: Chunk, own: Outcome, known: Digests) -> Iterator[Member]:
        """Yield what no worker could read, and note in `own` what it was."""
        (entry,) = chunk.entries
        name = self.root + entry.name
        if chunk.large is not None:
            yield from written(chunk.large, name, own, self.search, self.plan)
            return
        data, target = _followed(entry, own, known)
        if target is None:
            yield Member(name, len(data), entry.executable, (data,))
            return
        assert isinstance(entry.content, Alias)
        kind = self.link(entry, target.size)
        text = entry.content.symlink
        if kind is LinkKind.HARD:
            text = self.root + entry.content.target
        yield Member(name, 0, entry.executable, link=Link(kind or LinkKind.HARD, text))

    def measured(self, run: Run, *, pool: Pool) -> Outcome:
        """Read a run that asks for no digest beyond it, and return what it is."""
        outcome = Outcome()
        known: dict[str, Digest] = {}
        for chunk in replace(self, renderer=None).chunks((run,), pool):
            digests = chunk.digests
            if chunk.outcome is not None:
                outcome.add(chunk.outcome)
            else:
                for member in self.alone(chunk, outcome, known):
                    deque(member.blocks, maxlen=0)
                digests = (outcome.digests.last,)
            if run.looked_up:
                names = (entry.name for entry in chunk.entries)
                known.update(zip(names, digests, strict=True))
        return outcome

    def _batches(
        self, entries: Iterable[Entry]
    ) -> Iterator[tuple[Sequence[tuple[Entry, Content]], int]]:
        """Yield neighbours that are small, and every other entry by itself, with its cost."""
        batch: list[tuple[Entry, Content]] = []
        total = 0
        for entry in entries:
            content = _content_of(entry, self.link)
            size = None
            if isinstance(content, Disk):
                size = content.size
            elif isinstance(content, Inline):
                size = len(content.data)
            alone = size is None or size > WHOLE
            cost = min(size or 0, WHOLE) + _PER_FILE
            if batch and (alone or total + cost > _BATCH):
                yield batch, total
                batch, total = [], 0
            if alone:
                yield ((entry, content),), cost
                continue
            batch.append((entry, content))
            total += cost
        if batch:
            yield batch, total


def _cost(chunk: Chunk) -> int:
    return sum(item.size for item in chunk.items) + _PER_FILE * len(chunk.entries)


def _followed(entry: Entry, own: Outcome, known: Digests) -> tuple[bytes, Digest | None]:
    """Note in `own` what follows from other members; return its bytes, or an alias' target."""
    if isinstance(entry.content, Derived):
        data = entry.content.make(known)
        own.digests.append(Digest(hashlib.sha256(data).hexdigest(), len(data)))
        own.size += len(data)
        return data, None
    assert isinstance(entry.content, Alias)
    target = known[entry.content.target]
    own.digests.append(target)
    return b"", target


def _content_of(entry: Entry, link: Callable[[Entry, int], LinkKind | None]) -> Content:
    """Return the entry's content; that of its target, if it is an alias to be stored as a copy."""
    if isinstance(entry.content, Alias):
        content = entry.content.content
        if link(entry, content.size if isinstance(content, Disk) else 0) is None:
            return content
    return entry.content
