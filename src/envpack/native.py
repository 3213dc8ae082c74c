"""Which libraries of this machine a pack must carry, and which files must be told where they are.

Nothing is executed: DT_NEEDED is followed as ld.so(8) does it, through DT_RPATH, DT_RUNPATH,
`ld.so.cache` and the usual folders, but for the archive as it will be. What is not in it is left to
the host, or carried in `lib`, by the table in `native_host`.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from envpack.floor import PRIVATE, Floor, Wanted, collect, wanted
from envpack.model import Move
from envpack.native_host import (
    LIB_NAMES,
    UNNAMED_NEEDS,
    BundleLibs,
    Licence,
    Loader,
    check_absent,
    companions,
    group_of,
    licences,
    stays,
)
from envpack.relocate.paths import place_of

LIB = "lib"
"""The directory of carried libraries, beside libpython."""

_PYTHON = "bin/python"
# The loader looks on their DT_RPATH for whatever they load, however indirectly.
_HANDS_DOWN = re.compile(r"bin/python|lib/libpython3\.\d+[^/]*\.so\.[\d.]+")
_BLOCK = 64 * 1024
_PLATFORMS = {
    62: "x86_64",
    183: "aarch64",
    22: "s390x",
    243: "riscv64",
    3: "i686",
    21: "powerpc64le",
}


class Want(NamedTuple):
    """A library by its soname, and the name in the archive of a file that wants it."""

    soname: str
    file: str


class Rival(NamedTuple):
    """Two libraries of one soname, of which only `kept` is in the pack; `file` wanted `other`."""

    soname: str
    kept: str
    other: str
    file: str


class Native(NamedTuple):
    """What becomes of the libraries that the files of an archive want.

    `carried` and `companions` pair names in the archive with paths on this machine. `missing` was
    found nowhere; `host` is what every machine of the kind has, by the table, each with the first
    file that wants it; `lacking` is what a machine must have though not every one does, because
    nothing is carried. `rpaths` says which directories must be on the DT_RPATH of which files, and
    `bare` which absolute library names must lose their directories. `own_floor` is the floor
    without the carried libraries, which may raise it; `elves` counts ELF files.
    """

    carried: tuple[tuple[str, str], ...] = ()
    companions: tuple[tuple[str, str], ...] = ()
    licences: tuple[Licence, ...] = ()
    missing: tuple[Want, ...] = ()
    host: tuple[Want, ...] = ()
    lacking: tuple[Want, ...] = ()
    rivals: tuple[Rival, ...] = ()
    rpaths: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    bare: frozenset[str] = frozenset()
    floor: Floor = Floor()
    own_floor: Floor = Floor()
    elves: int = 0


def resolve(
    files: Iterable[tuple[str, str]],
    moves: Sequence[Move],
    mode: BundleLibs,
    *,
    loader: Loader | None = None,
) -> Native:
    """Decide over the libraries that `files`, pairs of name in the archive and path, want.

    What is no ELF file is passed over; the first of several that want the same is named, so give
    the interpreter first. `moves` are those of the plan, longest first. `loader` is this machine's
    unless given.
    """
    work = _Work(tuple(moves), mode, loader or Loader.here())
    for name, path in files:
        work.names.add(name)
        wants = work.wanted_at(path)
        if wants.kind:
            work.enter(_Node(name, path, wants))
    return work.done()


class _Node(NamedTuple):
    """A file of the archive; `folder` is where it was on this machine, for carried ones.

    `chain` is where the files that load it look for what it needs itself, DT_RPATH being handed
    down; `wants` is what it says to the loader.
    """

    name: str
    path: str
    wants: Wanted
    folder: str = ""
    chain: tuple[str, ...] = ()


class _Work:
    """The state of one resolution.

    A place is a directory: absolute on this machine, relative in the archive.
    """

    def __init__(self, moves: tuple[Move, ...], mode: BundleLibs, loader: Loader) -> None:
        self.moves = moves
        self.mode = mode
        self.loader = loader
        self.names: set[str] = set()
        self.nodes: dict[str, _Node] = {}
        self.sonames: dict[str, list[str]] = {}
        self.carried: dict[str, str] = {}
        self.missing: dict[Want, None] = {}
        self.host: dict[str, str] = {}
        self.lacking: dict[str, str] = {}
        self.rivals: dict[Rival, None] = {}
        self.rpaths: dict[str, dict[str, None]] = {}
        self.bare: set[str] = set()
        self.inside: dict[str, set[str]] = {}
        self.places: dict[str, tuple[str, ...]] = {}
        self.handed = False
        self.read: dict[str, Wanted] = {}

    def enter(self, node: _Node) -> None:
        self.nodes[node.name] = node
        for soname in {posixpath.basename(node.name), node.wants.soname} - {""}:
            self.sonames.setdefault(soname, []).append(node.name)

    def wanted_at(self, path: str) -> Wanted:
        """Read a file once; one that is not there wants nothing. Raises SourceFault."""
        if path not in self.read:
            try:
                self.read[path] = _read(path)
            except OSError as error:
                check_absent(error, path)
                self.read[path] = Wanted()
        return self.read[path]

    def done(self) -> Native:
        own = [node for name, node in self.nodes.items() if _HANDS_DOWN.fullmatch(name)]
        self.handed = bool(own)
        below = (self._places(node) for node in own if not node.wants.runpath)
        chain = tuple(dict.fromkeys(place for places in below for place in places))
        queue = [node._replace(chain=chain) for node in self.nodes.values()]
        for node in queue:  # carried libraries join it
            for needed in (*node.wants.needed, *self._unnamed(node)):
                queue += self._follow(node, needed)
        for node in own if self.carried else ():
            if node.name == _PYTHON or node.wants.runpath or _PYTHON not in self.nodes:
                self.rpaths.setdefault(node.name, {})[_step(node.name, LIB)] = None
        data = companions(self.carried)
        floor = own_floor = collect((node.name, self._of_the_host(node)) for node in queue)
        if self.carried:
            own_floor = collect((n.name, self._of_the_host(n)) for n in queue if not n.folder)
        return Native(
            carried=tuple(sorted((f"{LIB}/{name}", path) for name, path in self.carried.items())),
            companions=tuple(pair for pair in data if pair[0] not in self.names),
            licences=licences(self.carried) if self.carried else (),
            missing=tuple(self.missing),
            host=tuple(Want(*item) for item in sorted(self.host.items())),
            lacking=tuple(Want(*item) for item in sorted(self.lacking.items())),
            rivals=tuple(self.rivals),
            rpaths=MappingProxyType({name: tuple(dirs) for name, dirs in self.rpaths.items()}),
            bare=frozenset(self.bare),
            floor=floor,
            own_floor=own_floor,
            elves=len(queue),
        )

    def _unnamed(self, node: _Node) -> tuple[str, ...]:
        """Return what the C library will open for python, which names it nowhere."""
        own = node.name == _PYTHON and "libc.so.6" in node.wants.needed
        return UNNAMED_NEEDS if own and self.mode is BundleLibs.ALL else ()

    def _of_the_host(self, node: _Node) -> Wanted:
        """Return what a file wants without the versions of libraries that the pack has."""
        inside = self.inside.get(node.name, set())
        versions = {k: v for k, v in node.wants.versions.items() if k not in inside}
        return node.wants._replace(versions=versions)

    # ---- one need ----------------------------------------------------------------------------

    def _follow(self, node: _Node, needed: str) -> list[_Node]:
        """Settle one need; return the library that comes into the pack for it, if one does."""
        soname = posixpath.basename(needed)
        within, outside = self._on_the_path(node, needed)
        if within is None and (outside is None or group_of(soname) is not None):
            within = self._loaded_already(node, soname)
        if within is not None:
            self.inside.setdefault(node.name, set()).add(soname)
            if node.folder:
                self._point(node, posixpath.dirname(within))
            return []
        if soname.startswith("libpython") and _PYTHON not in self.nodes:
            self.host.setdefault(soname, node.name)
            return []
        if soname.startswith("libpython"):
            self.missing[Want(soname, node.name)] = None
            return []
        if stays(soname, self.mode) and "/" not in needed:
            self.host.setdefault(soname, node.name)
            return []
        path = outside or self._elsewhere(node, needed)
        if path is None:
            self._not_found(node, soname)
            return []
        if any(PRIVATE in names for names in self.wanted_at(path).versions.values()):
            self.host.setdefault(soname, node.name)
            return []
        if self.mode is BundleLibs.NONE:
            self.lacking.setdefault(soname, node.name)
            return []
        return self._carry(node, needed, soname, path)

    def _not_found(self, node: _Node, soname: str) -> None:
        """Note a library that nothing found, unless a package of the archive brings it along."""
        if any(self._fits(node, self.nodes[name].wants) for name in self.sonames.get(soname, ())):
            self.inside.setdefault(node.name, set()).add(soname)
        else:
            self.missing[Want(soname, node.name)] = None

    def _carry(self, node: _Node, needed: str, soname: str, path: str) -> list[_Node]:
        real = os.path.realpath(path)
        name = f"{LIB}/{soname}"
        self.inside.setdefault(node.name, set()).add(soname)
        self._point(node, LIB, always="/" in needed)
        if "/" in needed:
            self.bare.add(soname)
        kept = self.carried.get(soname) or (self.nodes[name].path if name in self.nodes else None)
        if kept is not None:
            if os.path.realpath(kept) != real:
                self.rivals[Rival(soname, kept, real, node.name)] = None
            return []
        self.carried[soname] = real
        handed = () if node.wants.runpath else tuple(self._places(node))
        folder = posixpath.dirname(posixpath.normpath(path))
        wants = self.wanted_at(path)
        return [_Node(name, real, wants, folder, (*handed, *node.chain))]

    def _point(self, node: _Node, place: str, *, always: bool = False) -> None:
        """Note that a file must look in a directory of the archive, if nothing makes it do so.

        DT_RUNPATH does not count, as LD_LIBRARY_PATH comes before it, and it shuts out what
        python and libpython hand down by their DT_RPATH.
        """
        if not (always or node.folder or node.wants.runpath):
            extension = ".so" in posixpath.basename(node.name) and self.handed
            if place in self._places(node) or (place == LIB and extension):
                return
        self.rpaths.setdefault(node.name, {})[_step(node.name, place)] = None

    # ---- where it is -------------------------------------------------------------------------

    def _on_the_path(self, node: _Node, needed: str) -> tuple[str | None, str | None]:
        """Look where the file itself says: return its name in the archive, or its path here."""
        if "/" in needed:
            folder, soname = posixpath.split(needed)
            places: Iterable[str] = self._expanded(node, folder)
        else:
            soname = needed
            places = self._places(node)
            if not node.wants.runpath:
                places = (*places, *node.chain)
        for place in places:
            path = posixpath.normpath(posixpath.join(place, soname))
            if path.startswith("/"):
                if self._fits(node, self.wanted_at(path)):
                    return None, path
            elif path in self.nodes and self._fits(node, self.nodes[path].wants):
                return path, None
        return None, None

    def _loaded_already(self, node: _Node, soname: str) -> str | None:
        """Return a library of the archive that the loader has, or that its package must bring.

        libpython is in the process before any extension. A package may open its libraries itself,
        in its `__init__.py`; they lie in its own folder or in `<package>.libs` beside it.
        """
        family = _family(node.name)
        for name in self.sonames.get(soname, ()):
            if not self._fits(node, self.nodes[name].wants):
                continue
            if soname.startswith("libpython") or (family and _family(name) == family):
                return name
        return None

    def _elsewhere(self, node: _Node, needed: str) -> str | None:
        """Look where every program of this machine looks."""
        if "/" in needed:
            return None
        for path in self.loader.paths(needed):
            if self._fits(node, self.wanted_at(path)):
                return path
        return None

    def _fits(self, node: _Node, wants: Wanted) -> bool:
        return wants.kind == node.wants.kind

    def _places(self, node: _Node) -> tuple[str, ...]:
        """Return the directories of a file's own search path."""
        if node.name not in self.places:
            parts = node.wants.search
            self.places[node.name] = tuple(p for part in parts for p in self._expanded(node, part))
        return self.places[node.name]

    def _expanded(self, node: _Node, part: str) -> Iterator[str]:
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


def _step(name: str, place: str) -> str:
    """Return a directory of the archive as seen from a file."""
    step = posixpath.relpath(f"/{place}", f"/{posixpath.dirname(name)}")
    return "$ORIGIN" if step == "." else f"$ORIGIN/{step}"


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


class _File:
    """A View of an open file that keeps its beginning, where most of what is asked for is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = os.pread(descriptor, 64, 0)
        self._size = 0
        if self._head[:4] == b"\x7fELF":
            self._head += os.pread(descriptor, _BLOCK, 64)
            self._size = os.fstat(descriptor).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice, /) -> bytes:
        start, stop, _ = where.indices(self._size)
        if stop <= len(self._head):
            return self._head[start:stop]
        return os.pread(self._descriptor, max(0, stop - start), start)


def _read(path: str) -> Wanted:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return wanted(_File(descriptor))
    finally:
        os.close(descriptor)
