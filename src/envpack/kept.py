"""Runs of an archive that stand for themselves: their bytes depend on nothing before them.

Between two runs a format begins anew, so what it made of one can be kept, and copied as it is into
the next archive that has the same run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

_CHUNK = 8 * 1024 * 1024


def _nothing() -> None:
    pass


class Packed(NamedTuple):
    """A run as a format wrote it: the bytes `[start, stop)` of an open file.

    `facts` are what the format must know to use them again, in JSON's types. `release` is to be
    called when they were copied.
    """

    descriptor: int
    start: int
    stop: int
    facts: dict[str, Any]
    release: Callable[[], None] = _nothing

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.stop - self.start

    def copy_to(self, descriptor: int) -> None:
        """Append the bytes to another file at its position; raises OSError."""
        position = self.start
        while position < self.stop:
            position += _copied(self.descriptor, descriptor, position, self.stop - position)


class Seam(NamedTuple):
    """The end of a run; `keep`, if given, is called with what became of it."""

    keep: Callable[[Packed], None] | None = None


def _copied(source: int, target: int, position: int, count: int) -> int:
    """Copy some bytes, by the kernel where it can, and return how many."""
    try:
        done = os.sendfile(target, source, position, count)
    except (AttributeError, OSError):  # not between these files, or not on this system
        data = os.pread(source, min(count, _CHUNK), position)
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
        done = len(data)
    if not done:
        raise OSError("the file ends before its end")
    return done
