"""ELF: a directory more on the search path, together with what relocation does to the file.

The libraries a pack carries lie in one directory, and a file that needs one of them must say so by
DT_RPATH. It may have no entry for that: the linkers leave some DT_NULL at the end of the dynamic
section, and where they did not, a hint that the loader does without gives way.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection

from envpack.model import Edit, Move, View
from envpack.relocate._elf_read import (
    DT_NEEDED,
    DT_RPATH,
    DT_RUNPATH,
    EM_MIPS,
    Damaged,
    Elf,
    read,
)
from envpack.relocate.elf import (
    _ORIGIN,
    RPATH,
    ElfRelocator,
    Goal,
    _bytes,
    _checked,
    _effective,
    _goal,
    _Names,
    _parts,
    _text,
    _texts,
)
from envpack.relocate.elf_loader import loader_edits

# For debuggers, and how many relocations stand first; without them the loader looks at each.
_DT_DEBUG, _DT_RELACOUNT, _DT_RELCOUNT = 21, 0x6FFFFFF9, 0x6FFFFFFA
_GIVES_WAY = (_DT_RELACOUNT, _DT_RELCOUNT, _DT_DEBUG)


class NoRoom(Exception):
    """No byte of the file can be had for what it shall say.

    `alone` says that nothing else leads to its libraries: an extension module without DT_RUNPATH
    has python's path.
    """

    def __init__(self, name: str, elf: Elf) -> None:
        super().__init__(name)
        runpath = any(tag == DT_RUNPATH for tag, _ in elf.dynamic)
        self.alone = runpath or ".so" not in posixpath.basename(name)


def edits_with(
    name: str,
    view: View,
    moves: tuple[Move, ...],
    dirs: tuple[str, ...],
    bare: Collection[str] = (),
    dropped: Collection[str] = (),
) -> tuple[Edit, ...]:
    """Return ElfRelocator's edits for the file at `name`, with `dirs` on its DT_RPATH too.

    They stand behind what is in the archive and before what is not; what is in `dropped` leaves
    the path. An absolute DT_NEEDED whose last part is in `bare` becomes that part. Raises NoRoom
    where the file cannot say it.
    """
    try:
        done = _edits_with(name, view, moves, dirs, bare, dropped)
    except Damaged:
        return ()
    return tuple(ElfRelocator().edits(name, view, moves)) if done is None else done


def with_rpath(view: View, dirs: tuple[str, ...]) -> tuple[Edit, ...]:
    """Return the edits that put `dirs` on the DT_RPATH of a file that stays where it is."""
    return edits_with("", view, (), dirs)


def _edits_with(
    name: str,
    view: View,
    moves: tuple[Move, ...],
    dirs: tuple[str, ...],
    bare: Collection[str],
    dropped: Collection[str],
) -> tuple[Edit, ...] | None:
    elf = read(view)
    if elf is None:
        return ()
    texts = _texts(elf)
    goal = _wider(elf, texts, _goal(name, elf, texts, moves), dirs, bare, dropped)
    if goal is None:
        return None
    table = _Names.of(elf)
    extra: list[Edit] = []
    if _effective(elf) is None and not elf.spare:
        index = _giving_way(elf)
        if index is None:
            raise NoRoom(name, elf)
        elf, extra = _pretended(elf, index)
        texts[index] = b""
    done = table.edits(elf, texts, goal) or table.edits(elf, texts, goal, grow=True)
    if done is None:
        raise NoRoom(name, elf)
    return _checked(view, [*done, *extra, *loader_edits(elf)])


def _wider(
    elf: Elf,
    texts: dict[int, bytes],
    goal: Goal,
    dirs: tuple[str, ...],
    bare: Collection[str],
    dropped: Collection[str],
) -> Goal | None:
    """Return the goal with `dirs` on the path for `dropped`, None if it says that already."""
    effective = _effective(elf)
    now = texts[effective] if effective is not None else b""
    said = _parts(now if goal.search is None else goal.search)
    parts = [part for part in said if part not in dropped]
    new = [folder for folder in dirs if folder not in parts]
    outside = (n for n, part in enumerate(parts) if part.split("/")[0] not in _ORIGIN)
    at = next(outside, len(parts))
    search = _bytes(":".join([*parts[:at], *new, *parts[at:]]))
    runpath = effective is not None and elf.dynamic[effective][0] == DT_RUNPATH
    shorter = {
        index: text.rindex(b"/") + 1
        for index, text in texts.items()
        if elf.dynamic[index][0] == DT_NEEDED
        and text.startswith(b"/")
        and posixpath.basename(_text(text)) in bare
    }
    if not new and not shorter and not runpath and parts == said:
        return None
    return Goal(goal.search if search == now else search, runpath, {**shorter, **goal.bare})


def _giving_way(elf: Elf) -> int | None:
    """Return the index of an entry that the loader can do without."""
    if elf.machine == EM_MIPS:
        return None
    tags = [tag for tag, _ in elf.dynamic]
    return next((tags.index(tag) for tag in _GIVES_WAY if tag in tags), None)


def _pretended(elf: Elf, index: int) -> tuple[Elf, list[Edit]]:
    """Return the file as if that entry were an empty DT_RPATH, and the edit that makes it one."""
    dynamic = list(elf.dynamic)
    dynamic[index] = (DT_RPATH, 0)
    layout = elf.shape.dynamic
    half = layout.size // 2
    at = elf.dynamic_at + index * layout.size
    edit = Edit(at, at + half, layout.pack(DT_RPATH, 0)[:half], RPATH)
    return elf._replace(dynamic=tuple(dynamic)), [edit]
