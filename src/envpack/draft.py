"""A plan in the making: entries by name, who owns a file, and the order of it all."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

from envpack.distributions import Distribution
from envpack.errors import SourceFault
from envpack.model import Alias, Clash, Content, Disk, Entry, LeftOut, Reason
from envpack.walk import Found


class Place(NamedTuple):
    """Where an entry stands: group, then distribution, then rank, then name."""

    group: int
    name: str = ""
    info: str = ""


INTERPRETER = Place(0)
REST = Place(2)
FILE, ALIAS, RECORD = range(3)
_METADATA = ("METADATA", "PKG-INFO", "RECORD")


def place_of(dist: Distribution) -> Place:
    """Return the place of a distribution's files."""
    return Place(1, dist.name, dist.info)


class Owners:
    """Which distribution a file belongs to: by RECORD, else by its metadata directory.

    Of two distributions that record the same file, the first by name owns it.
    """

    def __init__(self, folder: str, dists: Iterable[Distribution]) -> None:
        self._start = folder + "/"
        self._by_info: dict[str, Distribution] = {}
        self._by_name: dict[str, Distribution] = {}
        for dist in dists:
            self._by_info[dist.info] = dist
            for row in dist.rows:
                if row.name is not None:
                    self._by_name.setdefault(row.name, dist)

    def of(self, name: str) -> Distribution | None:
        """Return the owner of the file `name`, None if nobody recorded it."""
        owner = self._by_name.get(name)
        if owner is None and name.startswith(self._start):
            owner = self._by_info.get(name[len(self._start) :].split("/", 1)[0])
        return owner


class _Slot(NamedTuple):
    place: Place
    rank: int
    origin: str
    entry: Entry
    target: str | None


@dataclass(slots=True)
class Draft:
    """Collects entries and what stays out; `finish` puts them in order.

    `known` are the directories an environment is made of; a link out of them, and out of uv's
    cache, is reported. `cache_dir` is asked for that cache at most once.
    """

    known: tuple[str, ...]
    cache_dir: Callable[[], str | None]
    left_out: list[LeftOut] = field(default_factory=list)
    clashes: list[Clash] = field(default_factory=list)
    outside: list[tuple[str, str]] = field(default_factory=list)
    scrubbed: list[str] = field(default_factory=list)
    _slots: dict[str, _Slot] = field(default_factory=dict)
    _cache: str | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    def has_below(self, folder: str, info: str) -> bool:
        """Say whether the metadata of a distribution is in: its directory, or its one file."""
        path = f"{folder}/{info}"
        return path in self._slots or any(f"{path}/{name}" in self._slots for name in _METADATA)

    def files(self) -> list[tuple[str, str, bool]]:
        """Return name, path and executability of what is on disk, links left out."""
        return [
            (name, slot.entry.content.path, slot.entry.executable)
            for name, slot in self._slots.items()
            if isinstance(slot.entry.content, Disk) and slot.target is None
        ]

    def origin(self, name: str) -> str | None:
        """Return where the entry `name` came from, None if there is no such entry."""
        slot = self._slots.get(name)
        return slot.origin if slot else None

    def add(
        self,
        entry: Entry,
        place: Place,
        origin: str,
        *,
        rank: int = FILE,
        target: str | None = None,
    ) -> None:
        """Enter `entry`; where its name is taken the later origin wins, and the clash is noted.

        With a `target` the entry becomes an alias of that name, if that comes earlier and stands in
        the same directory: what is relative to a file's own place is different elsewhere.
        """
        if (taken := self._slots.get(entry.name)) is not None:
            self.clashes.append(Clash(entry.name, kept=origin, dropped=taken.origin))
        self._slots[entry.name] = _Slot(place, rank, origin, entry, target)

    def add_found(
        self, found: Found, place: Place, origin: str, *, root: str, name: str | None = None
    ) -> None:
        """Enter a file that a walk of `root` found, as `name` if its own will not do."""
        name = name or found.name
        target = None
        if found.link is not None:
            target = name_below(found.real, root)
            if target is None:
                self.note_outside(name, found.real)
        executable = found.executable or name.startswith("bin/")
        self.add(Entry(name, disk(found), executable), place, origin, target=target)

    def replace_content(self, name: str, content: Content) -> None:
        """Give the entry `name` other bytes, which relocators need not look at."""
        slot = self._slots[name]
        entry = replace(slot.entry, content=content, relocate=False)
        self._slots[name] = slot._replace(entry=entry, target=None)

    def remove(self, name: str, reason: Reason) -> None:
        """Take the entry `name` out again."""
        content = self._slots.pop(name).entry.content
        size = content.size if isinstance(content, Disk) else 0
        self.left_out.append(LeftOut(name, reason, size))

    def remove_all(self, why_out: Callable[[str, str], Reason | None]) -> None:
        """Take out every entry for which there is a reason, by name and distribution."""
        for name, slot in tuple(self._slots.items()):
            if (reason := why_out(name, slot.place.name)) is not None:
                self.remove(name, reason)

    def leave(self, found: Found, reason: Reason) -> None:
        """Note a found file as left out."""
        self.left_out.append(LeftOut(found.name, reason, found.size))

    def note_outside(self, name: str, real: str) -> None:
        """Report a link whose target `real` is in none of the known places."""
        if any(name_below(real, root) is not None for root in self.known):
            return
        if self._cache is None:
            self._cache = os.path.realpath(self.cache_dir() or os.devnull)
        if name_below(real, self._cache) is None:
            self.outside.append((name, real))

    def finish(self) -> tuple[Entry, ...]:
        """Return the entries in order, aliases settled.

        Raises SourceFault if one name would have to be a file and a directory.
        """
        self._settle_conflicts()
        keys = {name: self._key(slot) for name, slot in self._slots.items()}
        entries = []
        for name in sorted(keys, key=keys.__getitem__):
            slot = self._slots[name]
            target = self._slots.get(slot.target) if slot.target else None
            entry, run = slot.entry, _run_of(slot.place)
            if target is None or target.target is not None or keys[target.entry.name] > keys[name]:
                entries.append(_in_run(entry, run))
                continue
            folder, text = posixpath.split(target.entry.name)
            if folder != posixpath.dirname(name):
                entries.append(_in_run(entry, run))
                continue
            alias = Alias(target.entry.name, text)
            executable = target.entry.executable
            entries.append(replace(entry, content=alias, executable=executable, run=run))
        return tuple(entries)

    def _key(self, slot: _Slot) -> tuple[Place, int, str]:
        rank = ALIAS if slot.target is not None and slot.rank == FILE else slot.rank
        return (slot.place, rank, slot.entry.name)

    def _settle_conflicts(self) -> None:
        """Let the environment's directory win over the interpreter's file of the same name."""
        nearest = {name.rpartition("/")[0] for name in self._slots}
        folders = {folder for name in nearest for folder in (name, *_parents(name))}
        for name in sorted(folders & self._slots.keys()):
            if self._slots[name].place != INTERPRETER:
                raise SourceFault(f"`{name}` is a file in one place and a directory in another")
            del self._slots[name]
            self.clashes.append(Clash(name, kept="environment", dropped="interpreter"))


def _in_run(entry: Entry, run: str) -> Entry:
    """Return the entry in its run; `replace` would take five times as long, for every file."""
    return Entry(entry.name, entry.content, entry.executable, entry.relocate, run)


@cache
def _run_of(place: Place) -> str:
    """Name the run that a place belongs to: one for each distribution, and one for the rest."""
    return "/".join((str(place.group), place.name, place.info))


def disk(found: Found) -> Disk:
    """Return a found file as content."""
    return Disk(found.path, found.size, found.mtime_ns, found.identity)


def disk_at(path: str) -> tuple[Disk, bool]:
    """Return the file at `path` as content, and whether its owner may execute it."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise SourceFault(f"cannot read `{path}`: {error.strerror}") from error
    identity = (status.st_dev, status.st_ino, status.st_ctime_ns)
    content = Disk(path, status.st_size, status.st_mtime_ns, identity)
    return content, bool(status.st_mode & 0o100)


def name_below(path: str, root: str) -> str | None:
    """Return `path` relative to `root`, None if it is not below it; both absolute and clean."""
    return path[len(root) + 1 :] if path.startswith(root + "/") else None


def _parents(name: str) -> Sequence[str]:
    return [name[:index] for index, char in enumerate(name) if char == "/"]
