"""What comes along from this machine: shared libraries, their data and licences, certificates."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from envpack.draft import INTERPRETER, REST, Draft
from envpack.entries import disk_at
from envpack.environment import Environment
from envpack.errors import SourceFault
from envpack.floor import in_words
from envpack.host_data import (
    Store,
    Zones,
    certificates,
    compiled_places,
    start_entries,
    time_zones,
)
from envpack.host_start import BUNDLE, TERMINFO, ZONEINFO
from envpack.libraries import HostData, Libraries, Licensed, Wish
from envpack.model import Entry, Inline, Move
from envpack.native import Native, resolve
from envpack.native_host import BundleLibs, Licence, common_licences

LICENCES = "share/licenses"

_PYTHON = "bin/python"
_HERE = "this machine's libraries"


def add_libraries(
    draft: Draft,
    environment: Environment,
    moves: tuple[Move, ...],
    needles: Iterable[str],
    bundle: BundleLibs,
) -> tuple[Libraries, tuple[str, ...]]:
    """Enter what of this machine the archive must bring; return what it is, and warnings.

    A Python that uv manages was built to run on old machines. What `auto` would carry for it alone
    is left to the host if it was built for newer ones: it would keep the archive off the others.
    What a package wants comes along whatever it asks for: the package is of no use without it.
    Raises SourceFault if python itself cannot start anywhere else.
    """
    files = sorted(draft.natives(), key=lambda pair: (pair[0] != _PYTHON, pair[0]))
    if bundle is BundleLibs.AUTO and environment.interpreter.managed:
        native = resolve(files, moves, bundle, spares=lambda name: draft.place(name) == INTERPRETER)
    else:
        native = resolve(files, moves, bundle)
    _check_starts(native)
    for name, path in (*native.carried, *native.companions):
        content, executable = disk_at(path)
        draft.add(Entry(name, content, executable), INTERPRETER, _HERE)
    carried = _Carried()
    if bundle is not BundleLibs.NONE:
        here = (*files, *native.carried)
        carried = _add_host_data(draft, environment, here, needles, bundle)
    store, zones = carried.store, carried.zones
    libraries = Libraries(
        carried=tuple(name for name, _ in native.carried),
        missing=tuple(Wish(*want) for want in native.missing),
        host=tuple(Wish(*want) for want in native.host),
        lacking=tuple(Wish(*want) for want in native.lacking),
        rpaths=native.rpaths,
        dropped=native.dropped,
        bare=native.bare,
        foreign=(*native.foreign, *native.loaders),
        floor=in_words(native.floor),
        raised=_raised(native),
        glibc=native.floor.glibc,
        glibcxx=native.floor.glibcxx,
        licences=tuple(_add_licences(draft, _licences(native, carried))),
        certificates=HostData(BUNDLE, store.source, store.count) if store else None,
        time_zones=HostData(ZONEINFO, zones.source, zones.count) if zones else None,
    )
    return libraries, carried.warnings


def _check_starts(native: Native) -> None:
    """Raise SourceFault if python names a loader of this machine, or has no libpython.

    The kernel says of the one that there is no file of its name, the loader of the other that it
    cannot open it.
    """
    for want in native.missing:
        if want.file == _PYTHON and want.soname.startswith("libpython"):
            raise SourceFault(
                f"the archive could not start: `{_PYTHON}` needs `{want.soname}`, which is out",
                hint="see what --exclude leaves out; to pack without a Python, give --no-python",
            )
    loader = next((text for file, text in native.loaders if file == _PYTHON), None)
    if loader is not None:
        raise SourceFault(
            f"`{_PYTHON}` is started by `{loader}`, which no other machine has",
            hint="give a Python that is started by the system's own loader with --python",
        )


def _raised(native: Native) -> str:
    """Say which carried library made the floor what it is, "" if none did."""
    need, own = native.raised, native.own_floor.glibc
    if need is None:
        return ""
    least = f"{own.version} would do without it" if own else "nothing else asks for any"
    return f"to glibc {need.version} by {need.file}, for {native.wanters[need.file]}: {least}"


class _Carried(NamedTuple):
    """Data of this machine that comes along, and warnings of what it has not."""

    store: Store | None = None
    zones: Zones | None = None
    warnings: tuple[str, ...] = ()


def _add_host_data(
    draft: Draft,
    environment: Environment,
    files: tuple[tuple[str, str], ...],
    needles: Iterable[str],
    bundle: BundleLibs,
) -> _Carried:
    """Enter what finds data of the other machine, and with ALL the same of this one.

    A Python that is not in the archive has its own.
    """
    if _PYTHON not in dict(files):
        return _Carried()
    places = compiled_places(files, needles)
    zones = time_zones() if bundle is BundleLibs.ALL else None
    if places.openssl is None and not draft.has_any_below(TERMINFO) and zones is None:
        return _Carried()
    for entry in start_entries(environment.site_packages, places):
        draft.add(entry, REST, "envpack")
    if bundle is not BundleLibs.ALL:
        return _Carried()
    warnings = []
    for name, path in zones.files if zones else ():
        if name not in draft:
            _add(draft, name, path)
    if zones is None:
        warnings.append(
            "this machine has no time zones to carry: where the other has none either, zoneinfo"
            " needs PyPI's tzdata in the environment"
        )
    store = certificates() if places.openssl is not None else None
    if store is not None:
        draft.add(Entry(BUNDLE, Inline(store.data), relocate=False), INTERPRETER, _HERE)
    elif places.openssl is not None:
        warnings.append(
            "this machine has no store of certificates to carry: where the other has none either,"
            " TLS needs SSL_CERT_FILE"
        )
    return _Carried(store, zones, tuple(warnings))


def _licences(native: Native, carried: _Carried) -> Iterator[tuple[str, Licence]]:
    """Yield each carried file with its licence."""
    by_soname = {licence.soname: licence for licence in native.licences}
    for name, _ in native.carried:
        yield name, by_soname[posixpath.basename(name)]
    if carried.store is not None:
        yield BUNDLE, carried.store.licence
    if carried.zones is not None:
        yield ZONEINFO, carried.zones.licence


def _add_licences(draft: Draft, licences: Iterable[tuple[str, Licence]]) -> Iterator[Licensed]:
    """Enter each licence once, with the common ones it refers to."""
    for file, licence in licences:
        name = f"{LICENCES}/{licence.package}/copyright" if licence.path else ""
        if name and name not in draft:
            _add(draft, name, licence.path)
            for text, path in common_licences(licence.path):
                if f"{LICENCES}/{text}" not in draft:
                    _add(draft, f"{LICENCES}/{text}", path)
        yield Licensed(file, licence.package, name)


def _add(draft: Draft, name: str, path: str) -> None:
    content, _ = disk_at(path)
    draft.add(Entry(name, content, relocate=False), INTERPRETER, _HERE)
