"""ELF: the directories and names a library or program leaves to the dynamic loader.

Format: System V gABI chapter 5 (`DT_NEEDED`, `DT_SONAME`, `DT_RPATH`, `DT_RUNPATH`), ld.so(8) for
`$ORIGIN` and the order of the search. What is done:

- A component of the search path inside a moved directory becomes relative to `$ORIGIN`.
- Then, and in the interpreter's own files, DT_RUNPATH becomes DT_RPATH: LD_LIBRARY_PATH, which
  YARN, CUDA and HPC set, comes before the one and after the other, and would bring in a foreign
  libpython.
- An absolute DT_NEEDED or DT_SONAME inside a moved directory becomes its last part, which is the
  tail of the same string; the name in DT_VERNEED or DT_VERDEF follows, or ld.so asserts. The
  directory of the needed library joins the search path.

All of it in place, with no offset changed, in bytes that no other name uses. If there are too few,
an extension module of the standard library that needs nothing from there loses the path, and any
other file gets its string table again at the end. If that does not do either, an absolute
DT_NEEDED stays, so that the search for leaks shows it. PT_INTERP is `elf_loader`'s.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from envpack.model import Edit, Move, View
from envpack.relocate._elf_grow import GROWN, grown
from envpack.relocate._elf_read import (
    DT_NEEDED,
    DT_NULL,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    EM_MIPS,
    MAGIC,
    Damaged,
    Elf,
    VersionName,
    cut,
    gaps,
    read,
)
from envpack.relocate.elf_loader import LOADER, loader_edits
from envpack.relocate.paths import ByHead, place_of

RPATH = "RPATH"
FLIPPED = "RUNPATH made RPATH"
DROPPED = "RPATH dropped"
BARE = "absolute library name made bare"

_PATHS = (DT_RPATH, DT_RUNPATH)
_ORIGIN = ("$ORIGIN", "${ORIGIN}")
_INTERPRETER = re.compile(r"bin/python|lib/libpython|lib/python3\.[^/]*/lib-dynload/")
_EXTENSION = re.compile(r"lib/python3\.[^/]*/lib-dynload/[^/]+\.so$")
# What every host brings along, and libpython, which has loaded the extension module.
_AT_HAND = re.compile(
    r"(lib(c|m|dl|pthread|rt|util|resolv)|libc\.musl-\w+|libpython3[\w.]*)\.so(\.|$)|ld(64|-)"
)


class ElfRelocator(ByHead):
    """Makes the loader's search path of one ELF file relative to the file."""

    why: tuple[str, ...] = (RPATH, FLIPPED, DROPPED, BARE, GROWN, LOADER)
    BEGINS = MAGIC

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> tuple[Edit, ...]:
        """Return the edits for the file at `name`; none if it is right, or damaged."""
        try:
            elf = read(view)
            return () if elf is None else _edits(name, elf, moves)
        except Damaged:
            return ()


def loader_strings(view: View) -> tuple[bytes, ...]:
    """Return what the loader reads as paths or names of libraries; empty for other files."""
    try:
        elf = read(view)
        return tuple(_texts(elf).values()) if elf is not None else ()
    except Damaged:
        return ()


class Goal(NamedTuple):
    """What the dynamic section shall say.

    `search` is the new search path: None leaves the text alone, empty drops the entry. `flip`
    makes it DT_RPATH. `bare` is how many bytes to skip at the front of a name, by its index in
    the dynamic section.
    """

    search: bytes | None
    flip: bool
    bare: dict[int, int]


def _edits(name: str, elf: Elf, moves: tuple[Move, ...]) -> tuple[Edit, ...]:
    texts = _texts(elf)
    loader = loader_edits(elf)
    if _effective(elf) is None and not any(text.startswith(b"/") for text in texts.values()):
        return loader
    goal = _goal(name, elf, texts, moves)
    if goal.search is None and not goal.bare:
        flips = _dynamic_edits(elf, goal, None) if goal.flip else ()
        return _checked(elf.view, (*flips, *loader))
    table = _Names.of(elf)
    done = table.edits(elf, texts, goal)
    if done is None and _serves_nothing(name, elf, texts):
        done = table.edits(elf, texts, _goal(name, elf, texts, moves, drop=True))
    if done is None:
        done = table.edits(elf, texts, goal, grow=True)
    if done is None and goal.bare:
        rest = {n: t for n, t in texts.items() if elf.dynamic[n][0] != DT_NEEDED}
        done = table.edits(elf, texts, _goal(name, elf, rest, moves))
    return _checked(elf.view, (*(done or ()), *loader))


def _texts(elf: Elf) -> dict[int, bytes]:
    """Return the strings that an edit may concern, by index in the dynamic section."""
    wanted = (DT_NEEDED, DT_SONAME, *_PATHS)
    found = {n: value for n, (tag, value) in enumerate(elf.dynamic) if tag in wanted}
    return dict(zip(found, elf.texts(found.values()), strict=True))


def _effective(elf: Elf) -> int | None:
    """Return the index of the search path the loader follows: the last DT_RUNPATH, else DT_RPATH.

    glibc ignores DT_RPATH in a file that has DT_RUNPATH.
    """
    for tag in (DT_RUNPATH, DT_RPATH):
        for index in range(len(elf.dynamic) - 1, -1, -1):
            if elf.dynamic[index][0] == tag:
                return index
    return None


def _goal(
    name: str, elf: Elf, texts: dict[int, bytes], moves: tuple[Move, ...], *, drop: bool = False
) -> Goal:
    """Decide what the dynamic section shall say; `drop` forgets moved directories altogether."""
    folder = posixpath.dirname(name)
    effective = _effective(elf)
    parts = _parts(texts[effective]) if effective is not None else []
    final = [_relative(part, folder, moves) or part for part in parts]
    if drop:
        final = [part for part, moved in zip(parts, final, strict=True) if part == moved]
    stale = any(  # also in a path that the loader ignores
        _relative(part, folder, moves)
        for index, text in texts.items()
        if elf.dynamic[index][0] in _PATHS
        for part in _parts(text)
    )
    bare: dict[int, int] = {}
    for index, text in texts.items():
        tag = elf.dynamic[index][0]
        if tag in _PATHS or text.endswith(b"/"):
            continue
        place = _relative(posixpath.dirname(_text(text)), folder, moves)
        if place is not None:
            bare[index] = text.rindex(b"/") + 1
            final += [place] if tag == DT_NEEDED else []
    final = list(dict.fromkeys(part for part in final if part))
    grown = not set(final) <= set(parts)
    own = _INTERPRETER.match(name) is not None and bool(final)
    own = own and all(part.split("/")[0] in _ORIGIN for part in final)
    runpath = effective is not None and elf.dynamic[effective][0] == DT_RUNPATH
    search = _bytes(":".join(final)) if stale or grown else None
    return Goal(search, runpath and (grown or own), bare)


def _relative(part: str, folder: str, moves: tuple[Move, ...]) -> str | None:
    """Return the place of a directory of the build machine as seen from `folder`, or None."""
    if not part.startswith("/"):
        return None
    place = place_of("/" + part.lstrip("/"), moves)  # normpath would keep two leading slashes
    if place is None or ":" in place:
        return None
    step = posixpath.relpath(f"/{place}", f"/{folder}")
    return "$ORIGIN" if step == "." else f"$ORIGIN/{step}"


def _serves_nothing(name: str, elf: Elf, texts: dict[int, bytes]) -> bool:
    return _EXTENSION.match(name) is not None and all(
        _AT_HAND.match(_text(text))
        for index, text in texts.items()
        if elf.dynamic[index][0] == DT_NEEDED
    )


class _Names(NamedTuple):
    """Every use of the dynamic string table, which must be known before a byte of it changes."""

    strings: bytes
    fixed: frozenset[int]
    versions: tuple[VersionName, ...]

    @classmethod
    def of(cls, elf: Elf) -> _Names:
        fixed = frozenset((*elf.symbol_names(), *elf.other_names()))
        return cls(elf.strings(), fixed, elf.version_names())

    def edits(
        self, elf: Elf, texts: dict[int, bytes], goal: Goal, *, grow: bool = False
    ) -> list[Edit] | None:
        """Return the edits that reach the goal, None if there is no room.

        In place, or with `grow` by a longer string table at the end of the file.
        """
        skips = {texts[index]: skip for index, skip in goal.bare.items()}
        versions = {n: n.value for n in self.versions}
        if skips:
            names = elf.texts(versions.values())
            versions = {
                n: n.value + skips.get(text, 0) for n, text in zip(versions, names, strict=True)
            }
        effective = _effective(elf)
        place = elf.dynamic[effective][1] if effective is not None else None
        keep = effective is not None and goal.search in {None, texts[effective]}
        used = set(self.fixed)
        used.update(versions.values())
        freed: list[tuple[int, int, str]] = []
        for index, text in texts.items():
            tag, value = elf.dynamic[index]
            if tag not in _PATHS:
                skip = goal.bare.get(index, 0)
                used.add(value + skip)
                freed.append((value, value + skip, BARE))
            elif keep and (goal.search is None or value == place):
                used.add(value)
            else:
                freed.append((value, value + len(text) + 1, RPATH))
        freed += [(n.value, moved, BARE) for n, moved in versions.items()]
        room = gaps(self.strings, used)
        text = b"" if keep or not goal.search else goal.search + b"\0"
        spans = _clipped(freed, room)
        moved: list[Edit] | None = []
        if text and grow:
            place = len(self.strings)
            moved = grown(elf, self._with(spans) + text)
        elif text:
            homes = [start for start, _, _ in freed]
            place = _fit(len(text), homes if place is None else [place, *homes], room)
            spans += [] if place is None else [(place, place + len(text), RPATH)]
        if moved is None or (text and (place is None or (effective is None and not elf.spare))):
            return None
        strings = self._with(spans, b"" if grow else text, place or 0)
        at = elf.strings_at
        return [
            *_dynamic_edits(elf, goal, place),
            *self._version_edits(elf, versions),
            *(Edit(at + a, at + b, strings[a:b], why) for a, b, why in _merged(spans)),
            *moved,
        ]

    def _with(self, zero: list[tuple[int, int, str]], text: bytes = b"", place: int = 0) -> bytes:
        """Return the table with zeros for what came free, then `text` at `place`.

        The old names must go, or the build path stays in the file.
        """
        strings = bytearray(self.strings)
        for start, stop, _ in zero:
            strings[start:stop] = bytes(stop - start)
        strings[place : place + len(text)] = text
        return bytes(strings)

    def _string(self, offset: int) -> bytes:
        end = self.strings.find(0, offset)
        return self.strings[offset:end] if end >= 0 else b""

    def _version_edits(self, elf: Elf, versions: dict[VersionName, int]) -> Iterator[Edit]:
        word = struct.Struct(elf.shape.order + "I")
        for name, moved in versions.items():
            if moved != name.value:
                yield Edit(name.at, name.at + 4, word.pack(moved), BARE)
                if name.hash_at:
                    digest = word.pack(sysv_hash(self._string(moved)))
                    yield Edit(name.hash_at, name.hash_at + 4, digest, BARE)


def _clipped(
    spans: Iterable[tuple[int, int, str]], room: list[tuple[int, int]]
) -> list[tuple[int, int, str]]:
    """Return the parts of `spans` that lie in `room`."""
    return [
        (max(start, low), min(stop, high), why)
        for start, stop, why in spans
        for low, high in room
        if start < high and low < stop and start < stop
    ]


def _fit(size: int, homes: list[int], room: list[tuple[int, int]]) -> int | None:
    """Return an offset with `size` unused bytes after it: at one of `homes`, else anywhere."""
    for home in homes:
        if any(low <= home and home + size <= high for low, high in room):
            return home
    return next((low for low, high in room if low + size <= high), None)


def _merged(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Join spans that overlap; a new path wins over the name it is written into."""
    merged: list[tuple[int, int, str]] = []
    for start, stop, why in sorted(spans):
        if merged and start < merged[-1][1]:
            first, end, reason = merged[-1]
            merged[-1] = (first, max(end, stop), RPATH if RPATH in {why, reason} else reason)
        else:
            merged.append((start, stop, why))
    return merged


def _dynamic_edits(elf: Elf, goal: Goal, place: int | None) -> Iterator[Edit]:
    """Yield the changed words of the dynamic section; `place` is the offset of the search path.

    All search paths of a file come to say the same, which is how linkers of old wrote both tags;
    so none is left that could win.
    """
    if goal.search == b"":
        yield from _dropped(elf, goal)
        return
    effective = _effective(elf)
    if place is None and effective is not None:
        place = elf.dynamic[effective][1]
    layout = elf.shape.dynamic
    half = layout.size // 2
    for index, (tag, value) in enumerate(elf.dynamic):
        at = elf.dynamic_at + index * layout.size
        moved = value + goal.bare.get(index, 0)
        if tag in _PATHS and place is not None:
            moved = place
        if tag == DT_RUNPATH and goal.flip:
            yield Edit(at, at + half, layout.pack(DT_RPATH, 0)[:half], FLIPPED)
        if moved != value:
            why = RPATH if tag in _PATHS else BARE
            yield Edit(at + half, at + layout.size, layout.pack(0, moved)[half:], why)
    if effective is None and place is not None:
        at = elf.dynamic_at + len(elf.dynamic) * layout.size
        yield Edit(at, at + layout.size, layout.pack(DT_RPATH, place), RPATH)


def _dropped(elf: Elf, goal: Goal) -> Iterator[Edit]:
    """Yield the dynamic section with its search paths taken out and the rest moved up."""
    if elf.machine == EM_MIPS:  # DT_MIPS_RLD_MAP_REL counts from its own place
        raise Damaged
    layout = elf.shape.dynamic
    table = [
        (tag, value + goal.bare.get(index, 0))
        for index, (tag, value) in enumerate(elf.dynamic)
        if tag not in _PATHS
    ]
    table += [(DT_NULL, 0)] * (len(elf.dynamic) - len(table))
    first = min(n for n, new in enumerate(table) if new != elf.dynamic[n])
    data = b"".join(layout.pack(*entry) for entry in table[first:])
    start = elf.dynamic_at + first * layout.size
    yield Edit(start, start + len(data), data, DROPPED)


def _checked(view: View, edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Return the edits that change something, in order.

    Raises Damaged where tables overlap or leave the file, as in no sound file.
    """
    found = []
    end = 0
    for edit in sorted(edits):
        size = edit.stop - edit.start
        at_end = edit.start == len(view)
        if edit.start < end or (size != len(edit.data) and not at_end):
            raise Damaged
        end = edit.stop
        if cut(view, edit.start, size) != edit.data:
            found.append(edit)
    return tuple(found)


def sysv_hash(name: bytes) -> int:
    """Return the hash of a name that DT_HASH and the version tables use."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high
    return value


def _parts(text: bytes) -> list[str]:
    return _text(text).split(":") if text else []


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
