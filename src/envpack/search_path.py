"""Where the dynamic loader would find the libraries that files of an archive need.

As ld.so(8) has it: absolute names, DT_RPATH with what is handed down, LD_LIBRARY_PATH, DT_RUNPATH,
`ld.so.cache`, the usual folders. What is in the archive comes first, as it will be there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from envpack.floor import Wanted, wanted_by
from envpack.ld_so import LIB_NAMES, Loader, check_absent
from envpack.model import Move
from envpack.relocate.paths import place_of

_PLATFORMS = {
    62: "x86_64",
    183: "aarch64",
    22: "s390x",
    243: "riscv64",
    3: "i686",
    21: "powerpc64le",
}
_EVERYWHERE = re.compile(r"/(usr/)?(lib[^/]*|\$LIB)(/|$)")
"""Folders that are the host's own, whatever is in them: `/lib`, `/usr/lib64/…`."""


def is_foreign(part: str) -> bool:
    """Say whether a component of a search path is a folder that only this machine may have."""
    folder = posixpath.normpath("/" + part.lstrip("/"))
    return part.startswith("/") and _EVERYWHERE.match(folder) is None


def step(name: str, place: str) -> str:
    """Return a directory of the archive as seen from a file."""
    way = posixpath.relpath(f"/{place}", f"/{posixpath.dirname(name)}")
    return "$ORIGIN" if way == "." else f"$ORIGIN/{way}"


def _without_tokens(part: str, kind: bytes) -> Iterator[str]:
    """Yield a component with $LIB and $PLATFORM filled in, in each way a machine may do it."""
    machine = kind[2:4] if kind[1:2] == b"\2" else kind[3:1:-1]
    platform = _PLATFORMS.get(int.from_bytes(machine, "big"), "")
    part = part.replace("${PLATFORM}", platform).replace("$PLATFORM", platform)
    part = part.replace("${LIB}", "$LIB")
    for lib in LIB_NAMES if "$LIB" in part else ("",):
        yield part.replace("$LIB", lib)


def _family(name: str) -> str:
    """Return the package a file of site-packages belongs to, "" for others."""
    _, inside, rest = name.partition("/site-packages/")
    top, below, _ = rest.partition("/")
    return top.removesuffix(".libs").lower().replace("-", "_") if inside and below else ""


class Node(NamedTuple):
    """A file of the archive; `folder` is where it was on this machine, for carried ones.

    `chain` is where the files that load it look for what it needs itself, DT_RPATH being handed
    down; `wants` is what it says to the loader.
    """

    name: str
    path: str
    wants: Wanted
    folder: str = ""
    chain: tuple[str, ...] = ()


class Search:
    """What the files of an archive say to the loader, and where it finds what they need.

    A place is a directory: absolute on this machine, relative in the archive. `moves` are those of
    the plan, longest first.
    """

    def __init__(self, moves: tuple[Move, ...], loader: Loader) -> None:
        self.moves = moves
        self.loader = loader
        self.names: set[str] = set()
        self.nodes: dict[str, Node] = {}
        self._sonames: dict[str, list[str]] = {}
        self._places: dict[str, tuple[str, ...]] = {}
        self._read: dict[str, Wanted] = {}

    def enter(self, name: str, path: str) -> None:
        """Take in a file of the archive; what is no ELF file has but a name. Raises SourceFault."""
        self.names.add(name)
        wants = self.wanted_at(path)
        if not wants.kind:
            return
        self.nodes[name] = Node(name, path, wants)
        for soname in {posixpath.basename(name), wants.soname} - {""}:
            self._sonames.setdefault(soname, []).append(name)

    def has(self, node: Node, soname: str) -> bool:
        """Say whether the archive has a library that would do, wherever it is."""
        return any(self.fits(node, self.nodes[n].wants) for n in self._sonames.get(soname, ()))

    def wanted_at(self, path: str) -> Wanted:
        """Read a file once; one that is not there wants nothing. Raises SourceFault."""
        if path not in self._read:
            try:
                self._read[path] = wanted_by(path)
            except OSError as error:
                check_absent(error, path)
                self._read[path] = Wanted()
        return self._read[path]

    # ---- where it is -------------------------------------------------------------------------

    def on_the_path(self, node: Node, needed: str) -> tuple[str | None, str | None]:
        """Look where the file itself says: return its name in the archive, or its path here."""
        if "/" in needed:
            folder, soname = posixpath.split(needed)
            places: Iterable[str] = self.expanded(node, folder)
        else:
            soname = needed
            places = self.places(node)
            if not node.wants.runpath:
                places = (*places, *node.chain)
        return self._first(node, soname, places)

    def told(self, node: Node, needed: str) -> tuple[str | None, str | None]:
        """Look where LD_LIBRARY_PATH of this process says, as `on_the_path` does."""
        if "/" in needed or not self.loader.told:
            return None, None
        places = [place for part in self.loader.told for place in self.expanded(node, part)]
        return self._first(node, needed, places)

    def _first(
        self, node: Node, soname: str, places: Iterable[str]
    ) -> tuple[str | None, str | None]:
        """Return the first library that fits: its name in the archive, or its path here."""
        for place in places:
            path = posixpath.normpath(posixpath.join(place, soname))
            if path.startswith("/"):
                if self.fits(node, self.wanted_at(path)):
                    return None, path
            elif path in self.nodes and self.fits(node, self.nodes[path].wants):
                return path, None
        return None, None

    def loaded_already(self, node: Node, soname: str) -> str | None:
        """Return a library of the archive that the loader has, or that its package must bring.

        libpython is in the process before any extension. A package may open its libraries itself,
        in its `__init__.py`; they lie in its own folder or in `<package>.libs` beside it.
        """
        own = _family(node.name)
        for name in self._sonames.get(soname, ()):
            if not self.fits(node, self.nodes[name].wants):
                continue
            if soname.startswith("libpython") or (own and _family(name) == own):
                return name
        return None

    def elsewhere(self, node: Node, needed: str) -> str | None:
        """Look where every program of this machine looks."""
        if "/" in needed:
            return None
        for path in self.loader.paths(needed):
            if self.fits(node, self.wanted_at(path)):
                return path
        return None

    def fits(self, node: Node, wants: Wanted) -> bool:
        """Say whether a file can load another: of one class, byte order and machine."""
        return wants.kind == node.wants.kind

    def places(self, node: Node) -> tuple[str, ...]:
        """Return the directories of a file's own search path."""
        if node.name not in self._places:
            parts = node.wants.search
            self._places[node.name] = tuple(p for part in parts for p in self.expanded(node, part))
        return self._places[node.name]

    def expanded(self, node: Node, part: str) -> Iterator[str]:
        """Yield the directories that a component of a search path can mean."""
        for text in _without_tokens(part, node.wants.kind):
            head, _, rest = text.partition("/")
            origin = head in {"$ORIGIN", "${ORIGIN}"}
            if origin and not node.folder:
                place = posixpath.join(posixpath.dirname(node.name), rest)
                place = posixpath.normpath(place)
                if place.split("/")[0] != "..":
                    yield place
            elif origin or text.startswith("/"):
                full = f"{node.folder}/{rest}" if origin else text
                full = posixpath.normpath("/" + full.lstrip("/"))
                yield place_of(full, self.moves) or full
