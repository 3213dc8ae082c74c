"""Data that libraries read on the machine they run on, and what a pack brings where it lacks.

OpenSSL and curses have the folders they look in compiled in, as the machine that built them had
them. Nothing is executed to learn them. `host_start` is what the archive gets; this is what is
decided for it.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from envpack.host_start import BUNDLE, STORES, ZONEINFO, ZONES, has_zones
from envpack.model import Entry, Inline
from envpack.native_host import Licence

MODULE = "_envpack_host"
_SOURCE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "host_start.py")
_LINE = "import sys; exec({!a})\n"
_GUARDED = f"try: import {MODULE}\nexcept Exception: pass"

_BEGIN = b"-----BEGIN CERTIFICATE-----"

_ZONE = b"TZif"  # RFC 8536
_ZONE_LICENCE = "usr/share/doc/tzdata/copyright"
# The same again in two other ways of counting seconds, and what this machine is set to.
_NO_ZONES = frozenset({"posix", "right", "localtime"})
_CA_LICENCE = "usr/share/doc/ca-certificates/copyright"  # Debian's; what makes the file is a script

_STATIC = (r"lib/libpython3[^/]*\.so[\d.]*", r"bin/python")
_WITH_OPENSSL = (
    r"lib/libcrypto[^/]*\.so[^/]*",
    r".*/lib-dynload/_(?:hashlib|ssl)\.[^/]*",
    *_STATIC,
)
_WITH_CURSES = (
    r"lib/lib(?:tinfow?|ncursesw?)\.so[^/]*",
    r".*/lib-dynload/(?:_curses|readline)\.[^/]*",
    *_STATIC,
)
# What `openssl version -d` prints, in every OpenSSL since 0.9.6.
_OPENSSLDIR = re.compile(rb'OPENSSLDIR: "(/[^"\0]*)"')
# TERMINFO_DIRS of the build, folders between colons.
_TERMINFO = re.compile(rb"\0((?:/[\w.+-]+)+/terminfo(?::(?:/[\w.+-]+)+/terminfo)*)(?=\0)")


class Places(NamedTuple):
    """Where the libraries of a pack look by themselves.

    `openssl` is OPENSSLDIR, "" where there is OpenSSL that does not tell, None where there is none;
    `terminals` are the folders of curses.
    """

    openssl: str | None = None
    terminals: tuple[str, ...] = ()


def compiled_places(files: Sequence[tuple[str, str]], private: Iterable[str] = ()) -> Places:
    """Return what is compiled into `files`, pairs of name in the archive and path.

    A place in one of the folders `private` of this machine is none of another's.
    """
    foreign = tuple(private)

    def public(place: str) -> bool:
        return not any(place == folder or place.startswith(folder + "/") for folder in foreign)

    found = _first(files, _WITH_OPENSSL, _OPENSSLDIR)
    openssl = None
    if found:
        openssl = os.fsdecode(found[0])
        openssl = openssl.rstrip("/") if public(openssl) else ""
    elif any(re.fullmatch(_WITH_OPENSSL[0], name) for name, _ in files):
        openssl = ""
    texts = _first(files, _WITH_CURSES, _TERMINFO)
    places = dict.fromkeys(place for text in texts for place in os.fsdecode(text).split(":"))
    return Places(openssl, tuple(place for place in places if public(place)))


def _first(
    files: Iterable[tuple[str, str]], names: Iterable[str], pattern: re.Pattern[bytes]
) -> list[bytes]:
    """Return all that matches in the first file that has any, by the order of `names`."""
    pairs = sorted(files)
    for name in names:
        for path in (path for known, path in pairs if re.fullmatch(name, known)):
            if found := _search(path, pattern):
                return found
    return []


def _search(path: str, pattern: re.Pattern[bytes]) -> list[bytes]:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return [match[1] for match in pattern.finditer(data)]
    except (OSError, ValueError):  # ValueError: an empty file
        return []


@dataclass(frozen=True, slots=True)
class Store:
    """A file of certificates: where it is on this machine, how many, its bytes and licence."""

    source: str
    count: int
    data: bytes
    licence: Licence


def certificates(root: str = "/") -> Store | None:
    """Return the first store of this machine with a certificate in it, None if there is none.

    `root` is where the machine's files are.
    """
    for source in STORES:
        try:
            with open(os.path.join(root, source.lstrip("/")), "rb") as file:
                data = file.read()
        except OSError:
            continue
        if count := data.count(_BEGIN):
            path = os.path.join(root, _CA_LICENCE)
            known = os.path.isfile(path)
            licence = Licence(BUNDLE, *(("ca-certificates", path) if known else ("", "")))
            return Store(source, count, data, licence)
    return None


@dataclass(frozen=True, slots=True)
class Zones:
    """The time zones of this machine: where they are, how many, (name, path) of all files."""

    source: str
    count: int
    files: tuple[tuple[str, str], ...]
    licence: Licence


def time_zones(root: str = "/") -> Zones | None:
    """Return the time zones of this machine, None if it has none where Python looks.

    `root` is where the machine's files are. Names are those in the archive.
    """
    for source in ZONES:
        folder = os.path.join(root, source.lstrip("/"))
        if not has_zones(folder):
            continue
        files = dict(_zone_files(folder))
        count = sum(map(_is_zone, files.values()))
        path = os.path.join(root, _ZONE_LICENCE)
        known = ("tzdata", path) if os.path.isfile(path) else ("", "")
        return Zones(source, count, tuple(sorted(files.items())), Licence(ZONEINFO, *known))
    return None


def _zone_files(folder: str) -> Iterator[tuple[str, str]]:
    for above, folders, names in os.walk(folder, followlinks=True):
        if above == folder:
            folders[:] = [name for name in folders if name not in _NO_ZONES]
            names = [name for name in names if name not in _NO_ZONES]  # noqa: PLW2901 - fewer
        for name in names:
            path = os.path.join(above, name)
            if os.path.isfile(path):
                yield f"{ZONEINFO}/{os.path.relpath(path, folder)}", os.path.realpath(path)


def _is_zone(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_ZONE)) == _ZONE
    except OSError:
        return False


def start_entries(site_packages: str, places: Places) -> tuple[Entry, ...]:
    """Return the module and the one line of `.pth` that runs it when Python starts.

    `site_packages` is relative to the archive's root. The line holds even if the module is gone.
    """
    with open(_SOURCE, encoding="utf-8") as file:
        text = file.read()
    text += f"\n\nstart({places.openssl!a}, {places.terminals!a})\n"
    line = _LINE.format(_GUARDED)
    return (
        Entry(f"{site_packages}/{MODULE}.pth", Inline(line.encode()), relocate=False),
        Entry(f"{site_packages}/{MODULE}.py", Inline(text.encode()), relocate=False),
    )
