"""Which libraries of this machine a pack must carry, and which files must be told where they are.

Nothing is executed: DT_NEEDED is followed as ld.so(8) does it, through DT_RPATH, DT_RUNPATH,
`ld.so.cache` and the usual folders, but for the archive as it will be. What is not in it is left to
the host, or carried in `lib`, by the table in `native_host`.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from envpack.floor import PRIVATE, Floor, Wanted, collect, exceeds
from envpack.ld_so import Loader
from envpack.libraries import Need
from envpack.model import Move
from envpack.native_host import (
    UNNAMED_NEEDS,
    BundleLibs,
    Licence,
    companions,
    group_of,
    licences,
    stays,
)
from envpack.relocate.paths import place_of
from envpack.search_path import Node, Search, is_foreign, step

LIB = "lib"
"""The directory of carried libraries, beside libpython."""

_PYTHON = "bin/python"
# The loader looks on their DT_RPATH for whatever they load, however indirectly.
_HANDS_DOWN = re.compile(r"bin/python|lib/libpython3\.\d+[^/]*\.so\.[\d.]+")


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

    `carried` and `companions` pair names in the archive with paths on this machine; `wanters` has
    the file that each of the carried is for. `missing` was found nowhere; `host` is what every
    machine of the kind has, by the table, each with the first file that wants it; `lacking` is what
    a machine must have though not every one does. `rpaths` says which directories must be on the
    DT_RPATH of which files, `dropped` which they need no longer, and `bare` which absolute library
    names must lose their directories. `foreign` pairs files with folders of this machine where they
    will look for libraries, `loaders` with programs of this machine that are to start them.
    `own_floor` is the floor without the carried libraries, `raised` the one that makes its glibc
    higher; `elves` counts ELF files.
    """

    carried: tuple[tuple[str, str], ...] = ()
    companions: tuple[tuple[str, str], ...] = ()
    wanters: Mapping[str, str] = MappingProxyType({})
    licences: tuple[Licence, ...] = ()
    missing: tuple[Want, ...] = ()
    host: tuple[Want, ...] = ()
    lacking: tuple[Want, ...] = ()
    rivals: tuple[Rival, ...] = ()
    rpaths: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    dropped: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    bare: frozenset[str] = frozenset()
    foreign: tuple[tuple[str, str], ...] = ()
    loaders: tuple[tuple[str, str], ...] = ()
    floor: Floor = Floor()
    own_floor: Floor = Floor()
    raised: Need | None = None
    elves: int = 0


def resolve(
    files: Iterable[tuple[str, str]],
    moves: Sequence[Move],
    mode: BundleLibs,
    *,
    loader: Loader | None = None,
    spares: Callable[[str], bool] = lambda _: False,
) -> Native:
    """Decide over the libraries that `files`, pairs of name in the archive and path, want.

    What is no ELF file is passed over; the first of several that want the same is named, so give
    the interpreter first. `moves` are those of the plan, longest first. `loader` is this machine's
    unless given. A library that nobody wants but files which `spares` names stays on the host if
    it would raise the floor.
    """
    search = Search(tuple(moves), loader or Loader.here())
    for name, path in files:
        search.enter(name, path)
    work = _Work(search, mode)
    work.follow()
    if left := work.raising(spares):
        work = _Work(search, mode, left)
        work.follow()
    return work.done()


class _Work:
    """The state of one resolution; what is in `left` is carried for nobody."""

    def __init__(
        self, search: Search, mode: BundleLibs, left: frozenset[str] = frozenset()
    ) -> None:
        self.search = search
        self.mode = mode
        self.left = left
        self.queue: list[Node] = []
        self.carried: dict[str, str] = {}
        self.brought: dict[str, set[str]] = {}
        self.missing: dict[Want, None] = {}
        self.host: dict[str, str] = {}
        self.lacking: dict[str, str] = {}
        self.rivals: dict[Rival, None] = {}
        self.rpaths: dict[str, dict[str, None]] = {}
        self.dropped: dict[str, dict[str, None]] = {}
        self.bare: set[str] = set()
        self.inside: dict[str, set[str]] = {}
        self.handed = False

    def follow(self) -> None:
        """Settle what all files need, and what the libraries do that come in for them."""
        own = self._own()
        self.handed = bool(own)
        below = (self.search.places(node) for node in own if not node.wants.runpath)
        chain = tuple(dict.fromkeys(place for places in below for place in places))
        self.queue = [node._replace(chain=chain) for node in self.search.nodes.values()]
        for node in self.queue:  # carried libraries join it
            for needed in (*node.wants.needed, *self._unnamed(node)):
                self.queue += self._follow(node, needed)
        for node in own if self.carried else ():
            if node.name == _PYTHON or node.wants.runpath or _PYTHON not in self.search.nodes:
                self.rpaths.setdefault(node.name, {})[step(node.name, LIB)] = None

    def raising(self, spares: Callable[[str], bool]) -> frozenset[str]:
        """Return the carried libraries that only spared files want, and that raise the floor."""
        shared: set[str] = set()
        ways = [n.name for n in self.queue if not n.folder and not spares(n.name)]
        for name in ways:  # grows by what they bring in
            more = self.brought.get(name, set()) - shared
            shared |= more
            ways += [f"{LIB}/{soname}" for soname in sorted(more)]
        spared = {f"{LIB}/{soname}": soname for soname in self.carried if soname not in shared}
        if not spared:
            return frozenset()
        rest = collect((n.name, self._of_the_host(n)) for n in self.queue if n.name not in spared)
        least = rest.glibc.version if rest.glibc else "0"
        left: set[str] = set()
        for node in self.queue:
            own = collect([(node.name, self._of_the_host(node))]).glibc
            if node.name in spared and own is not None and exceeds(own, least):
                left.add(spared[node.name])
        while more := {
            soname
            for name, soname in spared.items()
            if soname not in left and self.brought.get(name, set()) & left
        }:
            left |= more
        return frozenset(left)

    def done(self) -> Native:
        """Return what was settled."""
        data = companions(self.carried)
        wanters: dict[str, str] = {}
        for node in sorted(self.queue, key=lambda node: "/site-packages/" not in node.name):
            for soname in sorted(self.brought.get(node.name, ())):
                wanters.setdefault(f"{LIB}/{soname}", node.name)
        floor = own_floor = collect((node.name, self._of_the_host(node)) for node in self.queue)
        raised = None
        if self.carried:
            own_floor = collect((n.name, self._of_the_host(n)) for n in self.queue if not n.folder)
            raised = self._raised(own_floor, list(wanters))
        return Native(
            carried=tuple(sorted((f"{LIB}/{name}", path) for name, path in self.carried.items())),
            companions=tuple(pair for pair in data if pair[0] not in self.search.names),
            wanters=MappingProxyType(wanters),
            licences=licences(self.carried) if self.carried else (),
            missing=tuple(self.missing),
            host=tuple(Want(*item) for item in sorted(self.host.items())),
            lacking=tuple(Want(*item) for item in sorted(self.lacking.items())),
            rivals=tuple(self.rivals),
            rpaths=MappingProxyType({name: tuple(dirs) for name, dirs in self.rpaths.items()}),
            dropped=MappingProxyType({name: tuple(dirs) for name, dirs in self.dropped.items()}),
            bare=frozenset(self.bare),
            foreign=tuple(self._foreign()),
            loaders=tuple((n.name, n.wants.loader) for n in self.queue if n.wants.loader),
            floor=floor,
            own_floor=own_floor,
            raised=raised,
            elves=len(self.queue),
        )

    def _raised(self, own: Floor, carried: Sequence[str]) -> Need | None:
        """Return what the newest of the carried libraries wants of glibc, if files want less."""
        nodes = {node.name: node for node in self.queue if node.folder}
        need = collect((name, self._of_the_host(nodes[name])) for name in carried).glibc
        return need if need and exceeds(need, own.glibc.version if own.glibc else "0") else None

    def _own(self) -> list[Node]:
        return [node for name, node in self.search.nodes.items() if _HANDS_DOWN.fullmatch(name)]

    def _foreign(self) -> Iterator[tuple[str, str]]:
        """Yield each file with the folders of this machine that stay on its search path."""
        for node in self.queue:
            gone = self.dropped.get(node.name, ())
            for part in dict.fromkeys(node.wants.search):
                if (
                    part not in gone
                    and is_foreign(part)
                    and place_of(part, self.search.moves) is None
                ):
                    yield node.name, part

    def _unnamed(self, node: Node) -> tuple[str, ...]:
        """Return what the C library will open for python, which names it nowhere."""
        own = node.name == _PYTHON and "libc.so.6" in node.wants.needed
        return UNNAMED_NEEDS if own and self.mode is BundleLibs.ALL else ()

    def _of_the_host(self, node: Node) -> Wanted:
        """Return what a file wants without the versions of libraries that the pack has."""
        inside = self.inside.get(node.name, set())
        versions = {k: v for k, v in node.wants.versions.items() if k not in inside}
        return node.wants._replace(versions=versions)

    # ---- one need ----------------------------------------------------------------------------

    def _follow(self, node: Node, needed: str) -> list[Node]:
        """Settle one need; return the library that comes into the pack for it, if one does."""
        soname = posixpath.basename(needed)
        within, outside = self.search.on_the_path(node, needed)
        if within is None and (outside is None or group_of(soname) is not None):
            within = self.search.loaded_already(node, soname)
        told = None
        if within is None and (outside is None or node.wants.runpath):
            told, other = self.search.told(node, needed)
            outside = other or outside
        if within is not None or told is not None:
            self.inside.setdefault(node.name, set()).add(soname)
            if node.folder or told is not None:
                self._point(node, posixpath.dirname(within or told or ""))
            return []
        if soname.startswith("libpython"):
            self._python(node, soname)
            return []
        if stays(soname, self.mode) and "/" not in needed:
            self._leave(node, soname, outside)
            return []
        path = outside or self.search.elsewhere(node, needed)
        if path is None:
            self._not_found(node, soname)
            return []
        if any(PRIVATE in names for names in self.search.wanted_at(path).versions.values()):
            self._leave(node, soname, outside, part_of_libc=True)
            return []
        if self.mode is BundleLibs.NONE or soname in self.left:
            self.lacking.setdefault(soname, node.name)
            return []
        return self._carry(node, needed, soname, path)

    def _python(self, node: Node, soname: str) -> None:
        """Settle a libpython that is not in the archive: it is left out with all of Python."""
        if _PYTHON in self.search.nodes:
            self.missing[Want(soname, node.name)] = None
        else:
            self.host.setdefault(soname, node.name)

    def _leave(
        self, node: Node, soname: str, outside: str | None, *, part_of_libc: bool = False
    ) -> None:
        """Leave a library to the host, which surely has it if it belongs to the C library."""
        group = group_of(soname)
        if part_of_libc or (group is not None and group.everywhere):
            self.host.setdefault(soname, node.name)
            self._drop(node, outside)
        else:
            self.lacking.setdefault(soname, node.name)

    def _drop(self, node: Node, path: str | None) -> bool:
        """Note that a file needs a folder of this machine no longer for the library at `path`."""
        folder = posixpath.dirname(path or "")
        parts = [
            part
            for part in node.wants.search
            if is_foreign(part) and folder in self.search.expanded(node, part)
        ]
        for part in parts:
            self.dropped.setdefault(node.name, {})[part] = None
            self.rpaths.setdefault(node.name, {})
        return bool(parts)

    def _not_found(self, node: Node, soname: str) -> None:
        """Note a library that nothing found, unless a package of the archive brings it along."""
        if self.search.has(node, soname):
            self.inside.setdefault(node.name, set()).add(soname)
        else:
            self.missing[Want(soname, node.name)] = None

    def _carry(self, node: Node, needed: str, soname: str, path: str) -> list[Node]:
        real = os.path.realpath(path)
        name = f"{LIB}/{soname}"
        self.inside.setdefault(node.name, set()).add(soname)
        self.brought.setdefault(node.name, set()).add(soname)
        dropped = self._drop(node, path)
        self._point(node, LIB, always=dropped or "/" in needed)
        if "/" in needed:
            self.bare.add(soname)
        kept = self.carried.get(soname) or (
            self.search.nodes[name].path if name in self.search.nodes else None
        )
        if kept is not None:
            if os.path.realpath(kept) != real:
                self.rivals[Rival(soname, kept, real, node.name)] = None
            return []
        self.carried[soname] = real
        handed = () if node.wants.runpath else tuple(self.search.places(node))
        folder = posixpath.dirname(posixpath.normpath(path))
        wants = self.search.wanted_at(path)
        return [Node(name, real, wants, folder, (*handed, *node.chain))]

    def _point(self, node: Node, place: str, *, always: bool = False) -> None:
        """Note that a file must look in a directory of the archive, if nothing makes it do so.

        DT_RUNPATH does not count, as LD_LIBRARY_PATH comes before it, and it shuts out what
        python and libpython hand down by their DT_RPATH.
        """
        if not (always or node.folder or node.wants.runpath):
            extension = ".so" in posixpath.basename(node.name) and self.handed
            if place in self.search.places(node) or (place == LIB and extension):
                return
        self.rpaths.setdefault(node.name, {})[step(node.name, place)] = None
