"""Small text files of packages that may name the environment: .pth and kernel.json.

Sources: the `site` module's documentation (.pth), Jupyter's kernel specs.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator

from envpack.model import Edit, Move, View
from envpack.relocate.paths import ByName, finder, olds, place_of


class PthRelocator(ByName):
    """Makes absolute lines of a .pth relative, and drops those that lead out of the archive.

    Import lines and relative paths mean the same at any place and stay as they are.
    """

    why = (".pth path", ".pth path that left the environment")
    NAME = re.compile(r"lib/python3\.\d+/site-packages/[^/]+\.pth")

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterator[Edit]:
        """Rewrite line by line."""
        start = 0
        for line in view[0 : len(view)].splitlines(keepends=True):
            stop = start + len(line)
            path = os.fsdecode(line.strip())
            if path.startswith("/"):
                place = place_of(path, moves)
                if place is None:
                    yield Edit(start, stop, b"", self.why[1])
                else:
                    relative = posixpath.relpath(place, posixpath.dirname(name))
                    end = start + len(line.rstrip(b"\r\n"))
                    yield Edit(start, end, os.fsencode(relative), self.why[0])
            start = stop


class KernelSpecRelocator(ByName):
    """Turns the interpreter's path in kernel.json into `python`.

    jupyter_client replaces `python` by its own `sys.executable`, which is the one beside it.
    """

    why = ("kernel.json",)
    NAME = re.compile(r"share/jupyter/kernels/[^/]+/kernel\.json")

    def edits(self, name: str, view: View, moves: tuple[Move, ...]) -> Iterator[Edit]:
        """Replace whole JSON strings that are a Python of the environment."""
        del name
        data = view[0 : len(view)]
        for match in finder(olds(moves)).finditer(data):
            tail = re.compile(rb"/bin/python[\d.]*(?=\")").match(data, match.end())
            if tail is not None and data[match.start() - 1 : match.start()] == b'"':
                yield Edit(match.start(), tail.end(), b"python", self.why[0])
