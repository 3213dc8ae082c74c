"""Paths of the build machine inside text: where one begins and where it ends."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from functools import lru_cache

from envpack.model import Move

# `-I/prefix/include` starts a path although a letter stands before it; `/usr/bin/install` does not
# contain the path `/install`, nor does `${x}/install`. What follows must not make the last
# component longer.
_BEFORE = rb"(?:(?<![\w.~/}])|(?<=[\s\"'=,:]-[ILRF])|(?<=^-[ILRF])|(?<=file://)|(?<=[\s\"'=,:]\.)|(?<=^\.))"
_AFTER = rb"(?![\w+~-]|\.\w)"


class ByHead:
    """Claims files by the bytes they begin with alone."""

    BEGINS: bytes

    def claims(self, name: str, head: bytes) -> bool:
        """Claim the files that begin so."""
        del name
        return head.startswith(self.BEGINS)


class ByName:
    """Claims files by their names in the archive; a subclass may also look at the head."""

    NAME: re.Pattern[str]

    def claims(self, name: str, head: bytes) -> bool:
        """Claim the files whose whole name fits."""
        del head
        return self.NAME.fullmatch(name) is not None


@lru_cache(maxsize=64)
def finder(paths: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return a pattern that matches any of the absolute `paths` as a whole path or its start.

    The longest of several that fit is matched.
    """
    ordered = sorted(paths, key=len, reverse=True)
    choice = b"|".join(re.escape(os.fsencode(path)) for path in ordered) or b"(?!)"
    return re.compile(_BEFORE + b"(?:" + choice + b")" + _AFTER)


def olds(moves: Iterable[Move]) -> tuple[str, ...]:
    """Return the build machine's directories of `moves`."""
    return tuple(move.old for move in moves)


def place_of(path: str, moves: tuple[Move, ...]) -> str | None:
    """Return where the absolute `path` is in the archive, None if it is in none of the moves.

    `moves` are sorted longest first. The result is a clean POSIX path, "." for the root.
    """
    clean = posixpath.normpath(path)
    for move in moves:
        if clean == move.old:
            return move.new or "."
        if clean.startswith(move.old + "/"):
            return posixpath.normpath(posixpath.join(move.new, clean[len(move.old) + 1 :]))
    return None
