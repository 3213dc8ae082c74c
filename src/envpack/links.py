"""What a link of the environment becomes where it leads to another folder.

A link says two things: that two names are one file, and where the file really is. The loader goes
by the first, so that a library is in a process once; programs go by the second, and look beside
their real place. An archive has no symbolic links, so a program gets a launcher, which starts the
file at its own place, and a library a hard link, where its bytes fit both places.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence

from envpack.entries import SHARED
from envpack.errors import SourceFault
from envpack.floor import FileView
from envpack.model import Alias, Disk, Edit, Entry, Inline, Move
from envpack.relocate._elf_read import MAGIC
from envpack.relocate.elf import ElfRelocator
from envpack.relocate.script import FIND_SELF

_PROGRAMS = frozenset({"bin", "sbin"})
_IMPORTED = (".py", ".pyc", ".pyw")


def is_library(name: str) -> bool:
    """Say whether a file is one that the loader knows by its name."""
    return SHARED in posixpath.basename(name)


def twice(name: str, target: str) -> str:
    """Say what is lost where two names of one library are files of their own."""
    return (
        f"`{name}` and `{target}` are one library here, and two there: what loads both has it twice"
    )


def is_near(name: str, target: str | None) -> bool:
    """Say whether a link leads to a file of its own folder: the same bytes, wherever they are."""
    return target is not None and posixpath.dirname(name) == posixpath.dirname(target)


def stands_for(
    entry: Entry, target: str, moves: tuple[Move, ...], executable: bool | None
) -> Entry:
    """Return what stands for a link to the file `target` of the archive, whose copy `entry` is.

    A launcher, an alias, or `entry` itself. `executable` is the target's, None if that comes later
    in the archive. `moves` are those of the plan. Raises SourceFault.
    """
    content = entry.content
    near = is_near(entry.name, target)
    try:
        if not near and isinstance(content, Disk):
            code = _launcher(entry.name, target, content.path)
            if code is not None:
                return Entry(entry.name, Inline(code), True, False, entry.run)
            near = _edited_alike(entry.name, target, content.path, moves)
    except OSError as error:
        assert isinstance(content, Disk)
        raise SourceFault(f"cannot read `{content.path}`: {error.strerror or error}") from error
    if not near or executable is None or not isinstance(content, Disk | Inline):
        return entry
    text = posixpath.relpath(f"/{target}", f"/{posixpath.dirname(entry.name)}")
    return entry._replace(content=Alias(target, text, content), executable=executable)


def _launcher(name: str, target: str, path: str) -> bytes | None:
    """Return the program that stands for a link from `name` to the file `target`, None for none.

    `path` is the file on this machine. Only what is called in a folder of programs has one, and no
    module of Python, which may be imported too. The target sees its own name, not the link's.
    Raises OSError.
    """
    folder, base = posixpath.split(name)
    if posixpath.basename(folder) not in _PROGRAMS or is_library(base) or base.endswith(_IMPORTED):
        return None
    with open(path, "rb") as file:
        head = file.read(len(MAGIC))
    if head != MAGIC and not head.startswith(b"#!"):
        return None
    step = shlex.quote("/" + posixpath.relpath(f"/{target}", f"/{folder}"))
    return f'#!/bin/sh\n{FIND_SELF}exec "${{s%/*}}"{step} "$@"\n'.encode("utf-8", "surrogateescape")


def _edited_alike(name: str, target: str, path: str, moves: tuple[Move, ...]) -> bool:
    """Say whether this is a library that gets the same bytes at both places. Raises OSError."""
    if not is_library(name):
        return False

    def edits(name: str) -> Sequence[Edit]:
        return ElfRelocator().edits(name, view, moves)

    with FileView.of(path) as view:
        return edits(name) == edits(target)
