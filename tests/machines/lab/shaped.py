"""A tree shaped like python-build-standalone's, made of an own build of CPython.

The shape: it runs in any place, records `/install` as its prefix, carries every library that
is not glibc's beside libpython, has relative scripts, tcl and tk, a terminfo database, and no
tests. RPATH, not RUNPATH, finds what it carries.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from .tools import call, clean_environment, tool

GLIBC = frozenset(
    {
        "ld-linux-x86-64.so.2",
        "libanl.so.1",
        "libc.so.6",
        "libdl.so.2",
        "libm.so.6",
        "libmvec.so.1",
        "libnsl.so.1",
        "libpthread.so.0",
        "libresolv.so.2",
        "librt.so.1",
        "libutil.so.1",
    }
)
LEFT_OUT = ("__pycache__", "*.pyc", "test", "idle_test", "*.a", "*-gdb.py")
TERMINFO = ("/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo")


def shape(prefix: Path, minor: str, to: Path) -> None:
    """Make the tree of the build at `prefix` in the folder `to`, which does not exist yet."""
    shutil.copytree(prefix, to, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    _only_pip(to / f"lib/python{minor}/site-packages")
    _neutral_texts(prefix, minor, to)
    _relative_scripts(prefix, minor, to / "bin")
    _libraries(prefix, minor, to)
    _neutral_programs(prefix, to)
    _data(prefix, minor, to)


def relative_header(minor: str) -> bytes:
    """Return the two lines that python-build-standalone puts in front of its scripts."""
    return f'#!/bin/sh\n"exec" "$(dirname $0)/python{minor}" "$0" "$@"\n'.encode()


def _only_pip(site: Path) -> None:
    """Drop everything from site-packages but pip: the machine may keep strays there."""
    for entry in os.scandir(site):
        if entry.name == "pip" or entry.name.startswith("pip-") or entry.name == "README.txt":
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def _neutral_texts(prefix: Path, minor: str, to: Path) -> None:
    """Record `/install` as prefix and `/build` as build folder, and drop the own flags."""
    stdlib = to / f"lib/python{minor}"
    data = next(stdlib.glob("_sysconfigdata*.py"))
    built = re.search(r"'abs_builddir': '([^']+)'", data.read_text(encoding="utf-8"))
    old = re.escape(str(prefix))
    own_flags = re.compile(rf"\s?(-L{old}/lib|-Wl,-rpath,{old}/lib|-I{old}/include)(?=[\s'\"]|$)")
    config = next(stdlib.glob("config-*"))
    texts = [data, config / "Makefile", config / "python-config.py"]
    texts += [to / f"bin/python{minor}-config", *sorted((to / "lib/pkgconfig").glob("*.pc"))]
    for path in texts:
        if path.is_symlink():
            continue
        text = own_flags.sub("", path.read_text(encoding="utf-8"))
        text = text.replace(str(prefix), "/install")
        if built is not None:
            text = text.replace(str(Path(built[1]).parent), "/build")
        path.write_text(text, encoding="utf-8")


def _relative_scripts(prefix: Path, minor: str, folder: Path) -> None:
    """Start the Python scripts of bin/ with the interpreter beside them."""
    old = f"#!{prefix}/bin/python{minor}\n".encode()
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if content.startswith(old):
            path.write_bytes(relative_header(minor) + content.removeprefix(old))


def _linked(files: Iterable[Path]) -> dict[Path, dict[str, Path]]:
    """Return what ldd finds for each file: SONAME to path, glibc and libpython left out."""
    found: dict[Path, dict[str, Path]] = {}
    current: dict[str, Path] = {}
    answer = call([tool("ldd"), *files], env=clean_environment({"LC_ALL": "C"}))
    for line in answer.splitlines():
        if not line.startswith("\t"):
            current = found.setdefault(Path(line.removesuffix(":")), {})
            continue
        soname, arrow, rest = line.strip().partition(" => ")
        if arrow and soname not in GLIBC and not soname.startswith("libpython"):
            current[soname] = Path(rest.rpartition(" (")[0])
    return found


def _libraries(prefix: Path, minor: str, to: Path) -> None:
    """Carry the libraries in lib/ and set the rpaths of all that was built."""
    dynload = Path(f"lib/python{minor}/lib-dynload")
    linked = _linked(sorted((prefix / dynload).glob("*.so")))
    carried: dict[str, Path] = {}
    for libraries in linked.values():
        carried.update(libraries)
    for soname, path in sorted(carried.items()):
        shutil.copyfile(path, to / "lib" / soname)
        (to / "lib" / soname).chmod(0o755)
    built = [to / dynload / path.name for path in linked]
    own = [path for path in sorted((to / "lib").glob("libpython*.so*")) if not path.is_symlink()]
    call([tool("strip"), "--strip-debug", to / f"bin/python{minor}", *own, *built])
    call([tool("patchelf"), "--force-rpath", "--set-rpath", "$ORIGIN/../..", *built])
    rpaths: Mapping[str, list[Path]] = {
        "$ORIGIN/../lib": [to / f"bin/python{minor}"],
        "$ORIGIN": [to / "lib" / soname for soname in sorted(carried)] + own,
        "": [to / dynload / path.name for path, needs in linked.items() if not needs],
    }
    for rpath, files in rpaths.items():
        change = ["--force-rpath", "--set-rpath", rpath] if rpath else ["--remove-rpath"]
        call([tool("patchelf"), *change, *files])


def _neutral_programs(prefix: Path, to: Path) -> None:
    """Write `/install///…` over the parent of the prefix that was compiled into libpython.

    The length and the last component stay: the linker lets strings share their tails, and the
    version that Python tells may be the tail of its prefix.
    """
    old = os.fsencode(prefix.parent) + b"/"
    new = b"/install".ljust(len(old), b"/")
    if len(new) > len(old):
        return
    for path in sorted((to / "lib").glob("libpython*.so*")):
        if not path.is_symlink():
            path.write_bytes(path.read_bytes().replace(old, new))


def _data(prefix: Path, minor: str, to: Path) -> None:
    """Add the scripts of tcl and tk as this machine's build finds them, and terminfo."""
    ask = "import tkinter; print(tkinter.Tcl().eval('info library'))"
    tcl = Path(call([prefix / f"bin/python{minor}", "-I", "-B", "-c", ask]).strip())
    for name in (tcl.name, tcl.name.replace("tcl", "tk")):
        shutil.copytree(tcl.with_name(name), to / "lib" / name)
    for folder in TERMINFO:
        if os.path.isdir(folder):
            shutil.copytree(folder, to / "share/terminfo", symlinks=True)
            return
