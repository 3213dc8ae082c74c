"""What machines have of themselves: the table of libraries that stay there.

The table is the policy of `--bundle-libs`. Below it stand the data that goes with some libraries,
and the licences of Debian's packages.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from envpack.ld_so import check_absent
from envpack.walk import Found, walk


class BundleLibs(enum.Enum):
    """What `--bundle-libs` can be."""

    AUTO = "auto"
    ALL = "all"
    NONE = "none"


class Group(NamedTuple):
    """Libraries that are left to the host: their sonames up to `.so`, `*` ends a beginning.

    `all_carries` says that `--bundle-libs all` carries them nevertheless, `everywhere` that a host
    without them is none.
    """

    name: str
    reason: str
    stems: str
    all_carries: bool = False
    everywhere: bool = False


# What no group names is carried: libssl, libffi, libsqlite3, libcrypt, libnsl, libgfortran …
# But a library that wants GLIBC_PRIVATE is a part of glibc, whatever its name, and stays.
GROUPS: tuple[Group, ...] = (
    Group(
        "libc",
        "one process has one C library, and it fits the machine's kernel and name services",
        "ld-linux* ld64 ld libc libm libmvec libdl libpthread librt libutil libresolv libanl"
        " libthread_db libBrokenLocale libnss_* libc.musl-* ld-musl-* linux-vdso linux-gate",
        everywhere=True,
    ),
    Group(
        "compiler",
        "nearly every machine has them, newer ones serve all, and one process has each once",
        "libgcc_s libstdc++ libz",
        all_carries=True,
    ),
    Group(
        "graphics",
        "they belong to the driver of the machine's graphics card",
        "libGL libGLX* libEGL* libOpenGL libGLdispatch libGLESv1_CM libGLESv2 libglapi libgbm"
        " libdrm* libvulkan libOpenCL libva libva-* libvdpau libcuda libnvidia-* libnvcuvid"
        " libnvoptix",
    ),
    Group(
        "desktop",
        "they talk to the machine's screen and read its fonts and themes",
        "libX11* libXext libXrender libXrandr libXi libXcursor libXfixes libXinerama libXdamage"
        " libXcomposite libXtst libXss libXt libXmu libXft libXau libXdmcp libXxf86vm libXpm"
        " libXaw* libXv libXm libxcb libxcb-* libxkbcommon* libxshmfence libSM libICE libwayland-*"
        " libfontconfig libfreetype libglib-2.0 libgobject-2.0 libgthread-2.0 libgmodule-2.0"
        " libgio-2.0 libgtk-* libgdk-* libgdk_pixbuf-* libpango-* libpangocairo-* libpangoft2-*"
        " libcairo libcairo-gobject libatk-* libatspi",
    ),
    Group(
        "sound",
        "they talk to the machine's sound server and load its plugins",
        "libasound libjack libpulse* libpipewire-*",
    ),
    Group(
        "cluster",
        "they fit the network cards and the job launcher of the cluster",
        "libmpi libmpi_* libmpicxx libmpifort libopen-rte libopen-pal libpmi* libibverbs librdmacm"
        " libucp libucs libuct",
    ),
    Group(
        "services",
        "they load what the machine's administrator chose",
        "libpam libpam_misc libjvm",
    ),
    Group(
        "python",
        "a process has one Python, and the pack's own is loaded already",
        "libpython*",
    ),
)

# What the C library opens by itself when a thread ends, though no file names it.
UNNAMED_NEEDS = ("libgcc_s.so.1",)


def stem_of(soname: str) -> str:
    """Return a library's name without version: `libssl` for `libssl.so.3`."""
    return soname.partition(".so")[0]


def _index() -> tuple[dict[str, Group], tuple[tuple[str, Group], ...]]:
    exact = {}
    starts = []
    for group in GROUPS:
        for stem in group.stems.split():
            if stem.endswith("*"):
                starts.append((stem[:-1], group))
            else:
                exact[stem] = group
    return exact, tuple(starts)


_EXACT, _STARTS = _index()


def group_of(soname: str) -> Group | None:
    """Return the group a library belongs to, None for one that a pack carries."""
    stem = stem_of(soname)
    if stem in _EXACT:
        return _EXACT[stem]
    return next((group for start, group in _STARTS if stem.startswith(start)), None)


def stays(soname: str, mode: BundleLibs) -> bool:
    """Say whether a library is left to the host; under NONE, whether every host has it."""
    group = group_of(soname)
    return group is not None and not (mode is BundleLibs.ALL and group.all_carries)


# ---- what goes with a library ----------------------------------------------------------------


class Companion(NamedTuple):
    """Data that a library is no good without: from the first of `sources` that exists, to `place`.

    `stem` is a pattern of library names; its groups fill `{0}` and so on, the folder of the library
    fills `{folder}`. `names`, if there are any, are what is taken, each from the first source that
    has it; else a source is taken whole if it has `marker`.
    """

    stem: re.Pattern[str]
    sources: tuple[str, ...]
    place: str
    names: tuple[str, ...] = ()
    marker: str = ""


_TERMINALS = (
    *("ansi", "dumb", "linux", "rxvt", "rxvt-unicode-256color", "screen", "screen-256color"),
    *("tmux", "tmux-256color", "vt100", "vt220", "xterm", "xterm-256color", "xterm-color"),
)
_SCRIPTS = (
    *("{folder}/{0}", "/usr/share/tcltk/{0}", "/usr/share/{0}", "/usr/lib64/{0}", "/usr/lib/{0}"),
    *("/usr/lib64/tcl/{0}", "/usr/lib/tcl/{0}"),
)
_MODULES = tuple(source.replace("{0}", "{1}") for source in _SCRIPTS)
# Tcl looks for lib/tcl8.6 in the parent of the program's folder, and for tk8.6 and tcl8 beside it.
# The modules (msgcat, http) are in tcl8/8.5 and so on; Debian has them all inside the scripts,
# where only its own build, at its own place, looks.
COMPANIONS = (
    Companion(re.compile(r"lib(tcl\d\.\d)"), _SCRIPTS, "lib/{0}", marker="init.tcl"),
    Companion(re.compile(r"lib((tcl\d)\.\d)"), _MODULES, "lib/{1}"),
    Companion(
        re.compile(r"lib(tcl(\d)\.(\d))"), ("/usr/share/tcltk/{0}/tcl{1}",), "lib/tcl{1}/{1}.{2}"
    ),
    Companion(re.compile(r"lib(?:tcl9)?(tk\d\.\d)"), _SCRIPTS, "lib/{0}", marker="tk.tcl"),
    Companion(
        re.compile(r"lib(?:ncursesw?|tinfow?)"),
        ("/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo"),
        "share/terminfo",
        tuple(f"{name[0]}/{name}" for name in _TERMINALS),
    ),
)


def companions(
    libraries: Mapping[str, str], table: Iterable[Companion] = COMPANIONS
) -> tuple[tuple[str, str], ...]:
    """Return (name in the archive, path) of the data for carried libraries, soname to path."""
    found: dict[str, str] = {}
    for soname, path in sorted(libraries.items()):
        for companion in table:
            match = companion.stem.fullmatch(stem_of(soname))
            if match is None:
                continue
            folder = os.path.dirname(path)
            place = companion.place.format(*match.groups())
            sources = [
                source.format(*match.groups(), folder=folder) for source in companion.sources
            ]
            if companion.names:
                pairs = _entries(sources, companion.names)
            else:
                pairs = _tree(sources, companion.marker)
            for name, file in pairs:
                found.setdefault(f"{place}/{name}", file)
    return tuple(sorted(found.items()))


def _entries(folders: Iterable[str], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        for folder in folders:
            path = f"{folder}/{name}"
            if os.path.isfile(path):
                yield name, os.path.realpath(path)
                break


def _tree(folders: Iterable[str], marker: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        if os.path.isdir(folder) and os.path.exists(f"{folder}/{marker}"):
            for found in walk(os.path.realpath(folder)):
                for item in found.found():
                    if isinstance(item, Found) and item.kind == "file":
                        yield item.name, item.path
            return


# ---- licences --------------------------------------------------------------------------------


class Licence(NamedTuple):
    """The package a carried library came in, and its copyright file, both "" if not known."""

    soname: str
    package: str
    path: str


def licences(
    libraries: Mapping[str, str],
    info: str = "/var/lib/dpkg/info",
    doc: str = "/usr/share/doc",
) -> tuple[Licence, ...]:
    """Say where carried libraries (soname to path) came from, as Debian's dpkg keeps it."""
    wanted: dict[str, list[str]] = {}
    for soname, path in libraries.items():
        wanted.setdefault(os.path.basename(path), []).append(soname)
    ends = tuple(b"/" + os.fsencode(name) for name in wanted)
    packages: dict[str, str] = {}
    for package, listed in _lists(info):
        if len(packages) == len(libraries):
            break
        for line in (os.fsdecode(line) for line in listed.splitlines() if line.endswith(ends)):
            for soname in wanted[os.path.basename(line)]:
                if os.path.realpath(line) == os.path.realpath(libraries[soname]):
                    packages[soname] = package
    found = []
    for soname in sorted(libraries):
        package = packages.get(soname, "")
        path = f"{doc}/{package}/copyright"
        known = package and os.path.isfile(path)
        found.append(Licence(soname, package, os.path.realpath(path) if known else ""))
    return tuple(found)


# Debian's copyright files name the longer licences instead of repeating them: its policy, 12.5.
_COMMON = re.compile(rb"/usr/share/(common-licenses)/([A-Z][\w+-]*(?:\.\d+)*)")


def common_licences(
    path: str, folder: str = "/usr/share/common-licenses"
) -> tuple[tuple[str, str], ...]:
    """Return (name below the licences, path) of the texts that the copyright file `path` names."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        check_absent(error, path)
        return ()
    found = sorted({os.fsdecode(b"/".join(match.groups())) for match in _COMMON.finditer(data)})
    pairs = ((name, os.path.realpath(f"{folder}/{os.path.basename(name)}")) for name in found)
    return tuple((name, text) for name, text in pairs if os.path.isfile(text))


def _lists(info: str) -> Iterator[tuple[str, bytes]]:
    """Yield each package that has shared libraries, with the paths of its files, one a line.

    Those that are called after a library come first, as is Debian's policy (8.1): a tenth of all
    lists.
    """
    try:
        names = [name for name in os.listdir(info) if name.endswith(".list")]
    except OSError as error:
        check_absent(error, info)
        return
    for name in sorted(names, key=lambda name: (not name.startswith("lib"), name)):
        try:
            with open(f"{info}/{name}", "rb") as file:
                data = file.read()
        except OSError as error:
            check_absent(error, f"{info}/{name}")
            continue
        if b".so" in data:
            yield name.removesuffix(".list").partition(":")[0], data
