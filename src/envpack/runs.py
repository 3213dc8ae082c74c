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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
        """Return it for the cache."""
        rows = [[*self.digests[entry.name]] for entry in entries]
        leaks = [[leak.name, leak.needle, leak.count, leak.harmless] for leak in self.leaks]
        return {
            "digests": rows,
            "edits": dict(self.edits),
            "edited": self.edited,
            "leaks": leaks,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """A run that was packed before, and what the report says of it."""

    packed: Packed
    outcome: Outcome


class _Known(NamedTuple):
    """What a run's key is made of, but for how it is packed, and what the report says of it."""

    names: str
    contents: str
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
    _states: dict[str, str] = field(default_factory=dict)

    def find(
        self, entries: Sequence[Entry], measure: Callable[[Sequence[Entry]], Outcome]
    ) -> Hit | None:
        """Return the run of `entries` if it is there; `measure` reads them to find out."""
        if not self._alone(entries):
            return None
        state = self._states[entries[0].run] = self._state(entries)
        known = self._recalled(state, entries)
        if known is None:
            names = self._names(entries)
            if not self.cache.has_like(names):
                return None
            outcome = measure(entries)
            _derive(entries, outcome)
            known = _Known(names, self._contents(entries, outcome), outcome)
            self._remember(state, entries, known)
        packed = self.cache.run(known.names, self._key(known))
        return Hit(packed, known.outcome) if packed is not None else None

    def keep(self, entries: Sequence[Entry], outcome: Outcome, packed: Packed) -> None:
        """Keep a run that was packed just now, and what is known of its files."""
        state = self._states.pop(entries[0].run, None)
        if state is None:
            return
        known = _Known(self._names(entries), self._contents(entries, outcome), outcome)
        key = self._key(known)
        self.cache.keep(known.names, key, packed)
        self.kept.append(key)
        self._remember(state, entries, known)

    def _remember(self, state: str, entries: Sequence[Entry], known: _Known) -> None:
        """Remember what was found out of files, if their times would show a change."""
        for entry in entries:
            if isinstance(entry.content, Disk):
                latest = max(entry.content.mtime_ns, *entry.content.identity[2:], 0)
                if not entry.content.identity or latest > self.begun - _RACY:
                    return
        keys = {"names": known.names, "contents": known.contents}
        self.cache.remember(state, {**keys, **known.outcome.to_json(entries)})

    def _recalled(self, state: str, entries: Sequence[Entry]) -> _Known | None:
        """Return what is known of files that have not changed."""
        value = self.cache.recall(state)
        if value is None:
            return None
        rows = zip(entries, value["digests"], strict=True)
        outcome = Outcome(
            digests={entry.name: Digest(*row) for entry, row in rows},
            edits=Counter(value["edits"]),
            edited=value["edited"],
            leaks=[Leak(*row) for row in value["leaks"]],
            size=value["size"],
        )
        return _Known(value["names"], value["contents"], outcome)

    def _alone(self, entries: Sequence[Entry]) -> bool:
        """Say whether every alias and all that is derived follow from members of this run."""
        own = {entry.name for entry in entries}
        for entry in entries:
            content = entry.content
            if isinstance(content, Alias) and content.target not in own:
                return False
            if isinstance(content, Derived) and (
                content.inputs is None or (set(content.inputs) - own) & self.planned
            ):
                return False
        return True

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
            what = f"{content.seed}\0{content.inputs}"
        return f"{entry.name}\0{entry.executable}\0{entry.relocate}\0{what}"

    def _names(self, entries: Sequence[Entry]) -> str:
        """Return a key of all but the contents."""
        return _hashed([f"{entry.name}\0{entry.executable}" for entry in entries])

    def _contents(self, entries: Sequence[Entry], outcome: Outcome) -> str:
        """Return a key of the contents, and of what is a link because of its size."""
        rows = []
        for entry in entries:
            digest, link = outcome.digests[entry.name], ""
            if isinstance(entry.content, Alias):
                kind = self.link(entry, digest.size)
                link = f"{kind}\0{entry.content.target}\0{entry.content.symlink}" if kind else ""
            rows.append(f"{link}\0{digest.sha256}\0{digest.size}")
        return _hashed(rows)

    def _key(self, known: _Known) -> str:
        about = (self.engine, self.arcroot, str(self.plan.mtime))
        return _hashed((*about, known.names, known.contents))


def _hashed(rows: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def _derive(entries: Sequence[Entry], outcome: Outcome) -> None:
    """Make what is derived from the others."""
    for entry in entries:
        if isinstance(entry.content, Derived):
            data = entry.content.make(outcome.digests)
            outcome.digests[entry.name] = Digest(hashlib.sha256(data).hexdigest(), len(data))
            outcome.size += len(data)
