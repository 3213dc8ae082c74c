"""Root file systems without Python, made of a few Debian packages and busybox.

Kinds: `std` holds what nearly every Linux has (libc6, libcrypt1, libgcc-s1, libstdc++6,
zlib1g), `min` libc6 alone, `musl` another C library, `pyenv` also the libraries that an own
build of Python links, `x11` those of X clients, `shells` bash, dash, fish, tcsh and zsh, `cc` a C
compiler, `wine` what runs programs of 64-bit Windows. `bare` has dash as `sh`, and no `realpath`
and `readlink`: busybox's own shell finds its applets without links, so taking the links away is
not enough. All have a static busybox. Only `python` has one, Debian's own.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .apt import SUITES, download, unpack
from .cache import build_once
from .missing import MissingMachine
from .tools import call, linux_x86_64

RECIPE = "1"
STD = ("libc6", "libcrypt1", "libgcc-s1", "libstdc++6", "zlib1g", "busybox-static")
MIN = ("libc6", "busybox-static")
MUSL = ("musl", "busybox-static")
PYENV = (
    *STD,
    "libbz2-1.0",
    "libcom-err2",
    "libffi8",
    "libgssapi-krb5-2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "liblzma5",
    "libncursesw6",
    "libnsl2",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "libtinfo6",
    "libtirpc3",
    "libuuid1",
)
PYTHON = (
    *STD,
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libncursesw6",
    "libpython3.13-minimal",
    "libpython3.13-stdlib",
    "libreadline8t64",
    "libsqlite3-0",
    "libssl3t64",
    "libtinfo6",
    "libuuid1",
    "libzstd1",
    "python3.13-minimal",
)
X11 = (
    *STD,
    "libbrotli1",
    "libbsd0",
    "libexpat1",
    "libfontconfig1",
    "libfreetype6",
    "libmd0",
    "libpng16-16",
    "libx11-6",
    "libxau6",
    "libxcb1",
    "libxdmcp6",
    "libxext6",
    "libxft2",
    "libxrender1",
    "libxss1",
)
CC = (*STD, "gcc", "libc6-dev")
BARE = (*STD, "dash")
SHELLS = (
    *BARE,
    "bash",
    "fish",
    "fish-common",
    "libcap2",
    "libpcre2-32-0",
    "libtinfo6",
    "tcsh",
    "zsh",
    "zsh-common",
)
# Without FreeType: with it, and no font, wine's desktop starts again and again.
WINE = (
    "busybox-static",
    "libbz2-1.0",
    "libc-bin",
    "libc6",
    "libgcc-s1",
    "liblzma5",
    "libunwind8",
    "libwine",
    "libz-mingw-w64",
    "wine64",
    "zlib1g",
)
KINDS = {
    "std": STD,
    "min": MIN,
    "bare": BARE,
    "musl": MUSL,
    "pyenv": PYENV,
    "shells": SHELLS,
    "cc": CC,
    "python": PYTHON,
    "x11": X11,
    "wine": WINE,
}
ONLY_IN = {
    **dict.fromkeys(("bare", "musl", "pyenv", "shells", "cc", "x11"), "bookworm"),
    "python": "trixie",
    "wine": "trixie",
}

MERGED = ("bin", "sbin", "lib", "lib64")
EMPTY = ("dev", "etc", "home/user", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var")
UNUSED = ("doc", "doc-base", "gcc", "gdb", "lintian", "locale", "man")
UNUSED_DLLS = ("d3dx*", "x3daudio*", "xactengine*", "xapofx*", "xaudio*")
USERS = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
GROUPS = "root:x:0:\nuser:x:1000:\n"
RESOLVERS = frozenset({"readlink", "realpath"})


@dataclass(frozen=True)
class Root:
    """A root file system in the cache: nothing may write into it."""

    suite: str
    kind: str
    path: Path


def root(suite: str, kind: str = "std") -> Root:
    """Return the root of a suite and kind.

    Raises `MissingMachine` when it cannot be made here.
    """
    linux_x86_64()
    if suite not in SUITES or kind not in KINDS:
        raise ValueError(f"no recipe for `{suite}` `{kind}`")
    if ONLY_IN.get(kind, suite) != suite:
        raise ValueError(f"`{kind}` is made of {ONLY_IN[kind]} only")
    path = build_once(f"root-{suite}-{kind}-{RECIPE}", lambda to: _build(suite, kind, to))
    return Root(suite, kind, path)


def packages(suite: str, kind: str) -> Path:
    """Return the folder of the `.deb` files of a kind, downloaded once."""
    source = "std" if kind == "min" else kind
    return build_once(
        f"debs-{suite}-{source}-{RECIPE}",
        lambda to: download(suite, KINDS[source], to, closure=source == "cc"),
    )


def _build(suite: str, kind: str, to: Path) -> None:
    """Fill a folder with a root: merged-/usr links first, then packages, then busybox."""
    debs = sorted(packages(suite, kind).glob("*.deb"))
    if kind == "min":
        debs = [deb for deb in debs if deb.name.split("_")[0] in MIN]
    lay_out(debs, to)
    if kind == "cc":
        (to / "usr/bin/cc").symlink_to("gcc")
    if kind == "bare":
        (to / "usr/bin/sh").unlink(missing_ok=True)
        (to / "usr/bin/sh").symlink_to("dash")
    if kind == "wine":
        _wine(to)
    applets(to, left_out=RESOLVERS if kind == "bare" else frozenset())


def lay_out(debs: Sequence[Path], to: Path) -> None:
    """Unpack packages into an empty folder, and add what every root has."""
    for name in MERGED:
        (to / "usr" / name).mkdir(parents=True)
        (to / name).symlink_to(f"usr/{name}")
    unpack(debs, to)
    for name in MERGED:
        if not (to / name).is_symlink():
            raise MissingMachine(f"unpacking packages replaced the link `/{name}`")
    for name in EMPTY:
        (to / name).mkdir(parents=True, exist_ok=True)
    for name in UNUSED:
        shutil.rmtree(to / "usr/share" / name, ignore_errors=True)
    (to / "etc/passwd").write_text(USERS, encoding="utf-8")
    (to / "etc/group").write_text(GROUPS, encoding="utf-8")


def _wine(root_path: Path) -> None:
    """Do what the package's script does, and take out what no test needs: 32 bits, and games."""
    dlls = root_path / "usr/lib/x86_64-linux-gnu/wine/x86_64-windows"
    zlib = (root_path / "usr/x86_64-w64-mingw32/lib/zlib1.dll").read_bytes()
    marked = zlib[:64] + b"Wine builtin DLL".ljust(32, b"\0") + zlib[96:]
    (dlls / "zlib1.dll").write_bytes(marked)
    shutil.rmtree(dlls.with_name("i386-windows"))
    for pattern in UNUSED_DLLS:
        for dll in dlls.glob(pattern):
            dll.unlink()


def applets(
    root_path: Path, *, emulator: Sequence[str] = (), left_out: frozenset[str] = frozenset()
) -> None:
    """Link busybox's applets into /usr/bin, except names that a package brought.

    `emulator` is what runs a program of that root on this machine.
    """
    busybox = root_path / "usr/bin/busybox"
    with TemporaryDirectory() as empty:
        listed = call([*emulator, busybox, "--list"], env={"PATH": empty})
    for applet in listed.split():
        link = root_path / "usr/bin" / applet
        if applet in left_out:
            link.unlink(missing_ok=True)
        elif not os.path.lexists(link):
            link.symlink_to("busybox")
