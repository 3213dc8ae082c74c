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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from envpack.cache import Cache
from envpack.kept import Packed
from envpack.model import Alias, Derived, Digest, Disk, Entry, Inline, Leak, LinkKind, Plan
from envpack.version import VERSION

_RACY = 2_000_000_000
"""Nanoseconds within which two changes of a file may bear the same time."""

_LARGE = 1 << 62
"""Bytes; more than any file has."""


@dataclass(slots=True)
class Outcome:
    """What streaming found out; complete when the last member was taken.

    `edits` counts files by `why`, `edited` those with any edit, `size` sums the bytes of all
    members with content.
    """

    digests: dict[str, Digest] = field(default_factory=dict)
    edits: Counter[str] = field(default_factory=Counter)
    edited: int = 0
    leaks: list[Leak] = field(default_factory=list)
    size: int = 0

    def add(self, other: Outcome) -> None:
        """Add what was found out of other members."""
        self.digests.update(other.digests)
        self.edits.update(other.edits)
        self.edited += other.edited
        self.leaks += other.leaks
        self.size += other.size

    def to_json(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """Return it for the cache; what is derived is left out, as it is made again."""
        rows = [
            None if isinstance(entry.content, Derived) else [*self.digests[entry.name]]
            for entry in entries
        ]
        leaks = [[leak.name, leak.needle, leak.count, leak.harmless] for leak in self.leaks]
        return {
            "digests": rows,
            "edits": dict(self.edits),
            "edited": self.edited,
            "leaks": leaks,
            "size": self.size,
        }


class Known(Mapping[str, Digest]):
    """Digests as makers of derived members see them; tells whether one looked beyond its run."""

    def __init__(
        self, own: Mapping[str, Digest], before: Mapping[str, Digest], planned: Collection[str]
    ) -> None:
        self._own = own
        self._before = before
        self._planned = planned
        self.beyond = False

    def __getitem__(self, name: str) -> Digest:
        found = self._own.get(name)
        if found is None:
            self.beyond = self.beyond or name in self._planned
            found = self._before[name]
        return found

    def __contains__(self, name: object) -> bool:
        if name in self._own:
            return True
        self.beyond = self.beyond or name in self._planned
        return name in self._before

    def __iter__(self) -> Iterator[str]:
        self.beyond = True
        return iter({**self._before, **self._own})

    def __len__(self) -> int:
        self.beyond = True
        return len({**self._before, **self._own})


@dataclass(frozen=True, slots=True)
class Hit:
    """A run that was packed before, and what the report says of it."""

    packed: Packed
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Keeper:
    """Finds and keeps the runs of one plan in a cache.

    `engine` is what makes the bytes of a run, besides its members. `link` decides how an alias is
    stored. `planned` are the names of all entries, `begun` is when reading began, in nanoseconds
    since the epoch. `kept` are the keys of runs that were not there.
    """

    cache: Cache
    plan: Plan
    engine: str
    arcroot: str
    link: Callable[[Entry, int], LinkKind | None]
    planned: frozenset[str]
    begun: int
    kept: list[str] = field(default_factory=list)

    def find(
        self, entries: Sequence[Entry], measure: Callable[[Sequence[Entry]], Outcome]
    ) -> Hit | None:
        """Return the run of `entries` if it is there; `measure` reads them to find out."""
        if not _alone(entries):
            return None
        known = self._recalled(entries)
        names = self._names(entries)
        if known is None and self.cache.has_like(names):
            known = measure(entries)
            if self._derive(entries, known):
                self.remember(entries, known)
            else:
                known = None
        if known is None:
            return None
        packed = self.cache.run(names, self._key(entries, known))
        return Hit(packed, known) if packed is not None else None

    def keep(self, entries: Sequence[Entry], outcome: Outcome, packed: Packed) -> None:
        """Keep a run that was packed just now, and what is known of its files.

        The caller has seen that what is derived in it depends on nothing else.
        """
        if not _alone(entries):
            return
        key = self._key(entries, outcome)
        self.cache.keep(self._names(entries), key, packed)
        self.kept.append(key)
        self.remember(entries, outcome)

    def remember(self, entries: Sequence[Entry], outcome: Outcome) -> None:
        """Remember what was found out of files, if their times would show a change."""
        for entry in entries:
            if isinstance(entry.content, Disk):
                latest = max(entry.content.mtime_ns, *entry.content.identity[2:], 0)
                if not entry.content.identity or latest > self.begun - _RACY:
                    return
        self.cache.remember(self._state(entries), outcome.to_json(entries))

    def _recalled(self, entries: Sequence[Entry]) -> Outcome | None:
        """Return what is known of files that have not changed, derived members included."""
        value = self.cache.recall(self._state(entries))
        if value is None:
            return None
        rows = zip(entries, value["digests"], strict=True)
        outcome = Outcome(
            digests={entry.name: Digest(*row) for entry, row in rows if row is not None},
            edits=Counter(value["edits"]),
            edited=value["edited"],
            leaks=[Leak(*row) for row in value["leaks"]],
            size=value["size"],
        )
        # The size counts what was derived then, which is what will be derived now or no hit.
        size = outcome.size
        if not self._derive(entries, outcome):
            return None
        outcome.size = size
        return outcome

    def _derive(self, entries: Sequence[Entry], outcome: Outcome) -> bool:
        """Make what is derived; say whether the run alone was enough for it."""
        known = Known(outcome.digests, {}, self.planned)
        for entry in entries:
            if isinstance(entry.content, Derived):
                try:
                    data = entry.content.make(known)
                except KeyError:
                    return False
                outcome.digests[entry.name] = Digest(hashlib.sha256(data).hexdigest(), len(data))
                outcome.size += len(data)
        return not known.beyond

    # ---- keys --------------------------------------------------------------------------------

    def _state(self, entries: Sequence[Entry]) -> str:
        """Return the key of what is known: the files as they are, and all that edits depend on."""
        libraries = self.plan.libraries
        rpaths = {e.name: libraries.rpaths[e.name] for e in entries if e.name in libraries.rpaths}
        about = [VERSION, self.plan.moves, self.plan.needles, rpaths, sorted(libraries.bare)]
        total = hashlib.sha256(json.dumps(about).encode())
        total.update("\n".join(map(self._state_of, entries)).encode("utf-8", "surrogateescape"))
        return total.hexdigest()

    def _state_of(self, entry: Entry) -> str:
        content = entry.content
        if isinstance(content, Disk):
            what = f"{content.path}\0{content.size}\0{content.mtime_ns}\0{content.identity}"
        elif isinstance(content, Inline):
            what = hashlib.sha256(content.data).hexdigest()
        elif isinstance(content, Alias):
            policy = (self.link(entry, 0), self.link(entry, _LARGE))
            what = f"{content.target}\0{content.symlink}\0{policy}"
        else:
            what = "derived"
        return f"{entry.name}\0{entry.executable}\0{entry.relocate}\0{what}"

    def _names(self, entries: Sequence[Entry]) -> str:
        """Return a key of all but the contents."""
        rows = [f"{entry.name}\0{entry.executable}" for entry in entries]
        return self._hashed(rows)

    def _key(self, entries: Sequence[Entry], outcome: Outcome) -> str:
        rows = []
        for entry in entries:
            digest, link = outcome.digests[entry.name], ""
            if isinstance(entry.content, Alias):
                kind = self.link(entry, digest.size)
                link = f"{kind}\0{entry.content.target}\0{entry.content.symlink}" if kind else ""
            row = f"{entry.name}\0{entry.executable}\0{link}\0{digest.sha256}\0{digest.size}"
            rows.append(row)
        return self._hashed(rows)

    def _hashed(self, rows: Sequence[str]) -> str:
        head = f"{self.engine}\0{self.arcroot}\0{self.plan.mtime}"
        return hashlib.sha256(
            "\n".join((head, *rows)).encode("utf-8", "surrogateescape")
        ).hexdigest()


def _alone(entries: Sequence[Entry]) -> bool:
    """Say whether every alias is of a file in the same run."""
    names = {entry.name for entry in entries}
    aliases = (entry.content for entry in entries if isinstance(entry.content, Alias))
    return all(alias.target in names for alias in aliases)
