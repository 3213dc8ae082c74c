"""Runs of a plan that need not be packed again: which they are, and what is known of them.

A run's key is the sha256 of everything that reaches its bytes. To know the contents without reading
them, what was found out of the files is remembered with their device, inode, size, mtime and ctime,
and believed while these are the same. A file that changed so late that its times might not show
another change is not remembered, as in git ("racy").
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple

from envpack.cache import UNUSABLE, Cache
from envpack.kept import Packed
from envpack.model import (
    Alias,
    Derived,
    Digest,
    Disk,
    Entry,
    Inline,
    Leak,
    LinkKind,
    Plan,
    Run,
    Summary,
)
from envpack.rows import DigestList
from envpack.version import VERSION

_RACY = 2_000_000_000
"""Nanoseconds within which two changes of a file may bear the same time."""

_LINES = 1000
_LARGE = 1 << 62
"""Bytes; more than any file has."""

_NEVER = 1 << 62
"""Nanoseconds; the time of a file of which nobody asked, too late to be believed."""


@dataclass(slots=True)
class Outcome:
    """What streaming found out; complete when the last member was taken.

    `digests` are a run's, in the order of its entries. `edits` counts files by `why`, `edited`
    those with any edit, `size` sums the bytes of all members with content. `digest` identifies the
    content of the whole archive.
    """

    digests: DigestList = field(default_factory=DigestList)
    edits: Counter[str] = field(default_factory=Counter)
    edited: int = 0
    leaks: list[Leak] = field(default_factory=list)
    size: int = 0
    digest: str = ""

    def add(self, other: Outcome) -> None:
        """Add what was found out of the members of this run that come next."""
        self.digests.extend(other.digests)
        self.count(other)

    def count(self, other: Outcome) -> None:
        """Add what the report says of other members, without their digests."""
        self.edits.update(other.edits)
        self.edited += other.edited
        self.leaks += other.leaks
        self.size += other.size

    def to_json(self) -> dict[str, Any]:
        """Return it for the cache."""
        leaks = [[leak.name, leak.needle, leak.count, leak.harmless] for leak in self.leaks]
        return {
            "digests": self.digests.data.hex(),
            "edits": dict(self.edits),
            "edited": self.edited,
            "leaks": leaks,
            "size": self.size,
        }


class Hit(NamedTuple):
    """A run that was packed before, and what the report says of it."""

    packed: Packed
    outcome: Outcome


class _Known(NamedTuple):
    """What a run's key is made of, but for how it is packed, and what the report says of it."""

    names: str
    contents: str
    outcome: Outcome


class _Sought(NamedTuple):
    """The keys of a run that was sought: of its files as they are, and of all but contents."""

    state: str
    names: str


@dataclass(frozen=True, slots=True)
class Keeper:
    """Finds and keeps the runs of one plan in a cache.

    `engine` is what makes the bytes of a run, besides its members. `link` decides how an alias is
    stored. `begun` is when reading began, in nanoseconds since the epoch. `kept` are the keys of
    runs that were not there.
    """

    cache: Cache
    plan: Plan
    engine: str
    arcroot: str
    link: Callable[[Entry, int], LinkKind | None]
    begun: int
    kept: list[str] = field(default_factory=list)
    _sought: dict[str, _Sought] = field(default_factory=dict)
    _rpaths: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in sorted(self.plan.libraries.rpaths):
            told = f"{name}\0{self._search_path(name)}"
            self._rpaths.setdefault(name.rpartition("/")[0], []).append(told)

    def find(self, run: Run, measure: Callable[[Run], Outcome]) -> Hit | None:
        """Return a run if it is there; `measure` reads it to find out."""
        if not _alone(run):
            return None
        state = self._state(run)
        known = self._recalled(state, run)
        names = known.names if known is not None else self._names(run)
        sought = self._sought[run.name] = _Sought(state, names)
        if known is None:
            if not self.cache.has_like(names):
                return None
            known = self._found_out(run, measure(run), sought)
        packed = self.cache.run(known.names, self._key(known))
        return Hit(packed, known.outcome) if packed is not None else None

    def keep(self, run: Run, outcome: Outcome, packed: Packed) -> None:
        """Keep a run that was packed just now, and what is known of its files."""
        sought = self._sought.pop(run.name, None)
        if sought is None:
            return
        known = self._found_out(run, outcome, sought)
        key = self._key(known)
        self.cache.keep(known.names, key, packed)
        self.kept.append(key)

    def _found_out(self, run: Run, outcome: Outcome, sought: _Sought) -> _Known:
        """Return what is known now, and remember it if the files' times would show a change."""
        latest = 0

        def contents() -> Iterator[str]:
            nonlocal latest
            for entry, digest in zip(run, outcome.digests, strict=True):
                if isinstance(entry.content, Disk):
                    identity = entry.content.identity
                    latest = max(
                        latest, entry.content.mtime_ns, identity[2] if identity else _NEVER
                    )
                yield self._content_of(entry, digest)

        known = _Known(sought.names, _hashed(contents()), outcome)
        if latest <= self.begun - _RACY:
            keys = {"names": known.names, "contents": known.contents}
            self.cache.remember(sought.state, {**keys, **outcome.to_json()})
        return known

    def _recalled(self, state: str, run: Run) -> _Known | None:
        """Return what is known of files that have not changed."""
        value = self.cache.recall(state)
        if value is None:
            return None
        try:
            outcome = Outcome(
                digests=DigestList(bytes.fromhex(value["digests"])),
                edits=Counter(value["edits"]),
                edited=value["edited"],
                leaks=[Leak(*row) for row in value["leaks"]],
                size=value["size"],
            )
            known = _Known(value["names"], value["contents"], outcome)
        except UNUSABLE:
            return None
        told = {type(known.names), type(known.contents)}, {type(outcome.edited), type(outcome.size)}
        fits = told == ({str}, {int}) and len(outcome.digests) == len(run)
        return known if fits else None

    # ---- keys --------------------------------------------------------------------------------

    def _state(self, run: Run) -> str:
        """Return the key of what is known: the files as they are, and all that edits depend on."""
        about = [VERSION, self.plan.moves, self.plan.needles, sorted(self.plan.libraries.bare)]
        return _hashed(
            chain((json.dumps(about),), self._told(run), map(self._state_of, run.others))
        )

    def _told(self, run: Run) -> Iterator[str]:
        """Yield what is known of files by folder, and what edits them besides."""
        for folder, told in run.told():
            yield told
            yield from self._rpaths.get(folder, ())

    def _state_of(self, entry: Entry) -> str:
        content = entry.content
        rpaths = self._search_path(entry.name)
        if isinstance(content, Disk):
            what = f"{content.path}\0{content.size}\0{content.mtime_ns}\0{content.identity}"
        elif isinstance(content, Inline):
            what = hashlib.sha256(content.data).hexdigest()
        elif isinstance(content, Alias):
            policy = (self.link(entry, 0), self.link(entry, _LARGE))
            what = f"{content.target}\0{content.symlink}\0{policy}"
        else:
            assert isinstance(content, Derived)
            what = content.seed
        return f"{entry.name}\0{entry.executable}\0{entry.relocate}\0{rpaths}\0{what}"

    def _search_path(self, name: str) -> str:
        """Return what the plan does to the search path of a file, "" for nothing."""
        libraries = self.plan.libraries
        added = libraries.rpaths.get(name)
        return "" if added is None else f"{added} {libraries.dropped.get(name, ())}"

    def _names(self, run: Run) -> str:
        """Return a key of all but the contents."""
        return _hashed(f"{name}\0{executable}" for name, executable, _ in run.heads())

    def _content_of(self, entry: Entry, digest: Digest) -> str:
        """Return what a key is made of for the content, and for a link because of its size."""
        link = ""
        if isinstance(entry.content, Alias):
            kind = self.link(entry, digest.size)
            link = f"{kind}\0{entry.content.target}\0{entry.content.symlink}" if kind else ""
        return f"{link}\0{digest.sha256}\0{digest.size}"

    def _key(self, known: _Known) -> str:
        about = (self.engine, self.arcroot, str(self.plan.mtime))
        return _hashed((*about, known.names, known.contents))


def _alone(run: Run) -> bool:
    """Say whether every alias and all that is derived follow from members of this run."""
    targets: set[str] = set()
    for entry in run.others:
        if isinstance(entry.content, Summary):
            return False
        if isinstance(entry.content, Derived) and entry.content.beyond:
            return False
        if isinstance(entry.content, Alias):
            targets.add(entry.content.target)
    return targets <= {entry.name for entry in run} if targets else True


def _hashed(rows: Iterable[str]) -> str:
    total = hashlib.sha256()
    lines = iter(rows)
    while batch := list(islice(lines, _LINES)):
        total.update("\n".join([*batch, ""]).encode("utf-8", "surrogateescape"))
    return total.hexdigest()
