"""A plan in the making: entries by name, who owns a file, and the order of it all.

An environment may have hundreds of thousands of files. What a walk found is kept packed, folder by
folder, and so is who owns it; only the few entries that are more than a file of the disk are
objects.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from envpack.distributions import Distribution
from envpack.entries import SHARED, Batch, Piece, below, prefix_of, size_of
from envpack.errors import SourceFault
from envpack.links import is_library, is_near, stands_for
from envpack.model import Alias, Clash, Content, Disk, Entry, LeftOut, Move, Reason
from envpack.rows import LeftOuts, Row, packed, unpacked
from envpack.walk import Found, FoundFolder


class Place(NamedTuple):
    """Where an entry stands: group, then distribution, then rank, then name."""

    group: int
    name: str = ""
    info: str = ""


INTERPRETER = Place(0)
REST = Place(2)
FILE, ALIAS, RECORD = range(3)
_AT_HAND = 32
_METADATA = ("METADATA", "PKG-INFO", "RECORD")


def place_of(dist: Distribution) -> Place:
    """Return the place of a distribution's files."""
    return Place(1, dist.name, dist.info)


class _Slot(NamedTuple):
    """An entry that is more than a regular file, or that did not come from a walk."""

    place: Place
    rank: int
    origin: str
    entry: Entry
    target: str | None


class _Key(NamedTuple):
    """What the files of a piece have in common, besides their folders; one for many pieces."""

    place: Place
    origin: str


@dataclass(slots=True)
class Draft:
    """Collects entries and what stays out; `finish` puts them in order.

    `known` are the directories an environment is made of; a link out of them, and out of uv's
    cache, is reported. `cache_dir` is asked for that cache at most once.
    """

    known: tuple[str, ...]
    cache_dir: Callable[[], str | None]
    left_out: LeftOuts = field(default_factory=LeftOuts)
    clashes: list[Clash] = field(default_factory=list)
    outside: list[tuple[str, str]] = field(default_factory=list)
    scrubbed: list[str] = field(default_factory=list)
    doubled: list[tuple[str, str]] = field(default_factory=list)
    _slots: dict[str, _Slot] = field(default_factory=dict)
    _pieces: dict[str, tuple[tuple[_Key, Piece], ...]] = field(default_factory=dict)
    _keys: dict[_Key, _Key] = field(default_factory=dict)
    _at: dict[Place, list[Piece]] = field(default_factory=dict)
    _names: dict[str, dict[str, int]] = field(default_factory=dict)
    _cache: str | None = None

    def __contains__(self, name: str) -> bool:
        return self.place(name) is not None

    def has_below(self, folder: str, info: str) -> bool:
        """Say whether the metadata of a distribution is in: its directory, or its one file."""
        path = f"{folder}/{info}"
        return path in self or any(f"{path}/{name}" in self for name in _METADATA)

    def natives(self) -> Iterator[tuple[str, str]]:
        """Yield name and path of the files that may be native code, further names left out."""
        for slot in self._slots.values():
            if isinstance(slot.entry.content, Disk) and not is_near(slot.entry.name, slot.target):
                base = slot.entry.name.rpartition("/")[2]
                if slot.entry.executable or SHARED in base:
                    yield slot.entry.name, slot.entry.content.path
        for pieces in self._pieces.values():
            for _, piece in pieces:
                yield from piece.natives()

    def groups(self) -> Iterator[tuple[Place, str, Iterator[tuple[str, str]]]]:
        """Yield place and origin of files that lie on the disk, with their names and paths."""
        for slot in tuple(self._slots.values()):
            if isinstance(slot.entry.content, Disk):
                one = (slot.entry.name, slot.entry.content.path)
                yield slot.place, slot.origin, iter([one])
        for pieces in self._pieces.values():
            yield from ((key.place, key.origin, piece.places()) for key, piece in pieces)

    def has_any_below(self, folder: str) -> bool:
        """Say whether anything is in a folder, or below it."""
        start = folder + "/"
        filled = (name for name, pieces in self._pieces.items() if any(p.files for _, p in pieces))
        below = any(f"{name}/".startswith(start) for name in filled)
        return below or any(name.startswith(start) for name in self._slots)

    def origin(self, name: str) -> str | None:
        """Return where the entry `name` came from, None if there is no such entry."""
        slot = self._slots.get(name)
        key = self._key_of(name) if slot is None else None
        return slot.origin if slot else key.origin if key else None

    def place(self, name: str) -> Place | None:
        """Return where the entry `name` stands, None if there is no such entry."""
        slot = self._slots.get(name)
        if slot is not None:
            return slot.place
        key = self._key_of(name)
        return key.place if key else None

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

        With a `target` the entry becomes an alias of that name, if that comes earlier. What is
        relative to a file's own place is different in another directory: `links` tells what a
        link from there becomes.
        """
        self._drop(entry.name, origin)
        self._slots[entry.name] = _Slot(place, rank, origin, entry, target)

    def add_files(
        self, folder: str, place: Place, origin: str, *, root: str, source: str, files: list[Row]
    ) -> None:
        """Enter regular files of one folder, `source`, given as rows of a `Piece`.

        It is a folder that a walk of `root` found, or what links in such a folder lead to.
        """
        if not files:
            return
        prefix = prefix_of(folder)
        if prefix.startswith("bin/"):
            files = [(row[0], True, *row[2:]) for row in files]
        key = _Key(place, origin)
        key = self._keys.setdefault(key, key)
        taken = self._names_in(folder) if folder in self._pieces else {}
        for row in files:
            if row[0] in taken or prefix + row[0] in self._slots:
                self._drop(prefix + row[0], origin)
        other = None if source == below(root, folder) else source
        piece = _piece(Piece(folder, root, other, 0, 0, b""), files)
        self._put(folder, len(self._pieces.get(folder, ())), key, piece)
        self._names.pop(folder, None)

    def add_found(
        self, folder: str, found: Iterable[tuple[Found, Place]], origin: str, *, root: str
    ) -> None:
        """Enter files that a walk of `root` found in one folder, each at its place.

        A link to another file below `root` may become an alias of that.
        """
        prefix = prefix_of(folder)
        files: dict[tuple[Place, str], list[Row]] = {}
        for item, place in found:
            base = item.name.rpartition("/")[2]
            if item.link is not None:
                target = name_below(item.real, root)
                if target is not None:
                    executable = item.executable or prefix.startswith("bin/")
                    entry = Entry(prefix + base, disk(item), executable)
                    self.add(entry, place, origin, target=target)
                    continue
                self.note_outside(prefix + base, item.real)
            source, _, own = item.path.rpartition("/")
            path = None if own == base else item.path
            row = (base, item.executable, item.size, item.mtime_ns, path, *item.identity)
            files.setdefault((place, source), []).append(row)
        for (place, source), rows in files.items():
            self.add_files(folder, place, origin, root=root, source=source, files=rows)

    def replace_content(self, name: str, content: Content) -> None:
        """Give the entry `name` other bytes, which relocators need not look at."""
        slot = self._slots.get(name) or self._take(name)
        assert slot is not None
        entry = slot.entry._replace(content=content, relocate=False)
        self._slots[name] = slot._replace(entry=entry, target=None)

    def remove(self, name: str, reason: Reason) -> None:
        """Take the entry `name` out again."""
        slot = self._slots.pop(name, None) or self._take(name)
        assert slot is not None
        self.left_out.append(LeftOut(name, reason, size_of(slot.entry)))

    def remove_all(self, why_out: Callable[[str, str], Reason | None]) -> None:
        """Take out every entry for which there is a reason, by name and distribution."""
        self._names.clear()
        for name, slot in tuple(self._slots.items()):
            if (reason := why_out(name, slot.place.name)) is not None:
                self.remove(name, reason)
        for folder, pieces in self._pieces.items():
            prefix = prefix_of(folder)
            for index, (key, piece) in enumerate(pieces):
                left = []
                for row in unpacked(piece.rows):
                    if (reason := why_out(prefix + row[0], key.place.name)) is not None:
                        self.left_out.append(LeftOut(prefix + row[0], reason, row[2]))
                    else:
                        left.append(row)
                if len(left) < piece.files:
                    self._put(folder, index, key, _piece(piece, left))

    def elsewhere(
        self, place: Place | None, names: Iterable[str]
    ) -> Iterator[tuple[str, Place | None]]:
        """Yield those of `names` that do not stand at `place`, each with where it does, if it does.

        Cheap where nearly all do.
        """
        own: set[str] = set()
        for piece in self._by_place().get(place, ()) if place else ():
            own.update(piece.names())
        for name in names:
            if name not in own and ((other := self.place(name)) is None or other != place):
                yield name, other

    def leave(self, found: Found, reason: Reason) -> None:
        """Note a found file as left out."""
        self.left_out.append(LeftOut(found.name, reason, found.size))

    def leave_files(self, found: FoundFolder, reason: Reason) -> None:
        """Note the regular files of a folder as left out."""
        self.left_out.extend(prefix_of(found.name), found.files, reason)

    def note_outside(self, name: str, real: str) -> None:
        """Report a link whose target `real` is in none of the known places."""
        if any(name_below(real, root) is not None for root in self.known):
            return
        if self._cache is None:
            self._cache = os.path.realpath(self.cache_dir() or os.devnull)
        if name_below(real, self._cache) is None:
            self.outside.append((name, real))

    # ---- what is packed ----------------------------------------------------------------------

    def _put(self, folder: str, index: int, key: _Key, piece: Piece) -> None:
        """Set a folder's piece at `index`, or add one behind the others."""
        pieces = self._pieces.get(folder, ())
        self._pieces[folder] = (*pieces[:index], (key, piece), *pieces[index + 1 :])
        self._at.clear()

    def _by_place(self) -> dict[Place, list[Piece]]:
        """Return what is packed, by place and folder."""
        if not self._at:
            for folder in sorted(self._pieces):
                for key, piece in self._pieces[folder]:
                    if piece.files:
                        self._at.setdefault(key.place, []).append(piece)
        return self._at

    def _names_in(self, folder: str) -> dict[str, int]:
        """Return in which piece of a folder its packed files are; the last few are at hand."""
        names = self._names.get(folder)
        if names is None:
            names = {
                row[0]: index
                for index, (_, piece) in enumerate(self._pieces.get(folder, ()))
                for row in unpacked(piece.rows)
            }
            if len(self._names) == _AT_HAND:
                del self._names[next(iter(self._names))]
            self._names[folder] = names
        return names

    def _key_of(self, name: str) -> _Key | None:
        """Return what is known of a packed file, None if there is none of that name."""
        folder, _, base = name.rpartition("/")
        pieces = self._pieces.get(folder)
        if pieces is None or name in self._slots:
            return None
        index = self._names_in(folder).get(base)
        return None if index is None else pieces[index][0]

    def _take(self, name: str) -> _Slot | None:
        """Take a packed file out, and return it as a slot."""
        key = self._key_of(name)
        if key is None:
            return None
        folder, _, base = name.rpartition("/")
        index = self._names_in(folder).pop(base)
        piece = self._pieces[folder][index][1]
        rows = unpacked(piece.rows)
        (own,) = (row for row in rows if row[0] == base)
        rows.remove(own)
        self._put(folder, index, key, _piece(piece, rows))
        (entry,) = _piece(piece, [own]).entries()
        return _Slot(key.place, FILE, key.origin, entry, None)

    def _drop(self, name: str, origin: str) -> None:
        """Make room for what `origin` brings under a name, and note the clash."""
        slot = self._slots.pop(name, None) or self._take(name)
        if slot is not None:
            self.clashes.append(Clash(name, kept=origin, dropped=slot.origin))

    # ---- order -------------------------------------------------------------------------------

    def finish(self, moves: tuple[Move, ...] = ()) -> tuple[Batch, ...]:
        """Return the entries in order, aliases settled; `moves` are those of the plan.

        Raises SourceFault if one name would have to be a file and a directory.
        """
        self._settle_conflicts()
        slots: dict[Place, list[_Slot]] = {}
        for slot in self._slots.values():
            slots.setdefault(slot.place, []).append(slot)
        batches, pieces = [], self._by_place()
        for place in sorted({*pieces, *slots}):
            run = "/".join((str(place.group), place.name, place.info))
            singles: list[Entry] = []
            last: list[tuple[int, Entry]] = []
            for slot in slots.get(place, ()):
                entry = self._settled(slot, run, moves)
                rank = ALIAS if isinstance(entry.content, Alias) else slot.rank
                singles += [entry] if rank == FILE else []
                last += [(rank, entry)] if rank != FILE else []
            singles.sort(key=lambda entry: entry.name)
            last.sort(key=lambda item: (item[0], item[1].name))
            behind = tuple(entry for _, entry in last)
            batches.append(Batch(run, tuple(pieces.get(place, ())), tuple(singles), behind))
        return tuple(batches)

    def _settled(self, slot: _Slot, run: str, moves: tuple[Move, ...]) -> Entry:
        """Return the entry of a slot as it will be: an alias or a launcher, if it can be one."""
        entry, target = slot.entry._replace(run=run), slot.target
        if target is None or (place := self.place(target)) is None:
            return entry
        other = self._slots.get(target)
        first = place <= slot.place and (other is None or other.target is None)
        linked = stands_for(entry, target, moves, self._mode_of(target) if first else None)
        if linked is entry and is_library(entry.name):
            self.doubled.append((entry.name, target))
        return linked

    def _mode_of(self, name: str) -> bool:
        """Say whether an entry is executable."""
        folder, _, base = name.rpartition("/")
        if name in self._slots:
            return self._slots[name].entry.executable
        rows = unpacked(self._pieces[folder][self._names_in(folder)[base]][1].rows)
        return any(row[1] for row in rows if row[0] == base)

    def _settle_conflicts(self) -> None:
        """Let the environment's directory win over the interpreter's file of the same name."""
        nearest = {name.rpartition("/")[0] for name in self._slots}
        nearest.update(f for f, pieces in self._pieces.items() if any(p.files for _, p in pieces))
        folders: set[str] = set()
        for name in nearest:
            while name and name not in folders:
                folders.add(name)
                name = name.rpartition("/")[0]  # noqa: PLW2901 - upwards
        for name in sorted(folders):
            place = self.place(name)
            if place is None:
                continue
            if place != INTERPRETER:
                raise SourceFault(f"`{name}` is a file in one place and a directory in another")
            self._slots.pop(name, None) or self._take(name)
            self.clashes.append(Clash(name, kept="environment", dropped="interpreter"))


def _piece(like: Piece, rows: list[Row]) -> Piece:
    """Return a piece of the same folders with other rows."""
    return like._replace(files=len(rows), size=sum(row[2] for row in rows), rows=packed(rows))


def disk(found: Found) -> Disk:
    """Return a found file as content."""
    return Disk(found.path, found.size, found.mtime_ns, found.identity)


def name_below(path: str, root: str) -> str | None:
    """Return `path` relative to `root`, None if it is not below it; both absolute and clean."""
    return path[len(root) + 1 :] if path.startswith(root + "/") else None
