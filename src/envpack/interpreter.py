"""The base interpreter under an environment: where it is, what it is, whether it can be packed.

Nothing is executed. The version comes from `patchlevel.h`, the target from the executable's
header, the kind from the shape of the prefix.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from envpack import foreign
from envpack.errors import UnsupportedBase
from envpack.target import Target, is_static, target_of

SHARED = frozenset({"/", "/usr", "/usr/local"})
"""Prefixes that hold much else: that a path is below one says nothing of the Python there."""

_ANEW = "make the environment anew on a Python that uv manages: `uv sync --managed-python`"
_WAY_OUT = f"{_ANEW}; or name another with `--python`, or pack none with `--no-python`"
# <implementation>-<version>-<os>-<arch>-<libc>, how uv names the directory of a Python it installed
_MANAGED_NAME = re.compile(r"(cpython|pypy|graalpy)-\d+\.\d+\.\d+[a-z0-9]*(\+[a-z]+)?-\w+-\w+-\w+")
_STDLIB = re.compile(r"python(\d+\.\d+)")
_PATCHLEVEL = re.compile(rb'^#\s*define\s+PY_VERSION\s+"([^"]+)"', re.MULTILINE)


class Interpreter(NamedTuple):
    """A CPython installation: `prefix/bin/python3.N`, `prefix/lib/python3.N`.

    `prefix` is free of links; `spellings` are the other absolute paths by which files of the
    environment may name it (uv's minor-version link, the `home` of pyvenv.cfg). `executable` is
    relative to the prefix. `build` is python-build-standalone's date as uv recorded it.
    `replaces` is the version of the one the environment was made on, if it is not this one.
    """

    prefix: str
    spellings: tuple[str, ...]
    executable: str
    version: str
    minor: str
    target: Target
    managed: bool
    build: str | None
    replaces: str | None = None

    @property
    def stdlib(self) -> str:
        """The standard library's directory, relative to the prefix."""
        return f"lib/python{self.minor}"

    @property
    def site_packages(self) -> str:
        """The site-packages directory, relative to the prefix."""
        return f"{self.stdlib}/site-packages"

    @property
    def places(self) -> tuple[str, ...]:
        """The paths below which all is this Python's; none where it shares its prefix."""
        return () if self.prefix in SHARED else (self.prefix, *self.spellings)


def interpreter_at(
    executable: str, home: str, version_info: str, *, packed: bool = True
) -> Interpreter:
    """Describe the CPython whose real executable is `executable`.

    `home` is pyvenv.cfg's spelling of the executable's directory, `version_info` its idea of the
    version, possibly just "3.12". `packed` says that its files are to go into an archive, which
    more kinds are not fit for. Raises UnsupportedBase for a kind that is not supported, OSError if
    the interpreter cannot be read.
    """
    prefix = os.path.dirname(os.path.dirname(executable))
    name = os.path.basename(executable)
    _refuse_foreign(prefix, name, executable)
    if packed:
        _refuse_shared(prefix)
    target = target_of(executable)
    if target is None or target.os != "linux":
        what = {"macos": "macOS", "windows": "Windows"}.get(target.os if target else "", "unknown")
        raise UnsupportedBase(
            f"`{executable}` is a Python for {what} systems; only Linux is packed"
        )
    if packed and is_static(executable):
        raise UnsupportedBase(
            f"`{executable}` is linked statically, so it cannot load extension modules",
            hint=_WAY_OUT,
        )
    minor = _minor_of(prefix, name, version_info)
    _refuse_shape(prefix, minor, packed=packed)
    spelled = os.path.dirname(home) if os.path.basename(home) == "bin" else home
    spellings = tuple(sorted({spelled, os.path.realpath(spelled)} - {prefix} - SHARED))
    return Interpreter(
        prefix=prefix,
        spellings=spellings,
        executable=f"bin/{name}",
        version=_version_of(prefix, minor, version_info),
        minor=minor,
        target=target,
        managed=_MANAGED_NAME.fullmatch(os.path.basename(prefix)) is not None,
        build=_read_word(os.path.join(prefix, "BUILD")),
    )


def _refuse_foreign(prefix: str, name: str, executable: str) -> None:
    """Refuse what is no CPython, or not one that a POSIX environment is made on."""
    if name.startswith("pypy") or "graalpy" in name:
        raise UnsupportedBase(f"`{executable}` is not CPython; only CPython is packed", hint=_ANEW)
    if ".framework/" in prefix + "/":
        raise UnsupportedBase(
            f"the base interpreter is the macOS framework `{prefix}`; only Linux is packed",
            hint=_WAY_OUT,
        )


def _refuse_shared(prefix: str) -> None:
    """Refuse prefixes that hold much else than a Python."""
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        raise UnsupportedBase(
            f"the base interpreter belongs to the conda environment `{prefix}`",
            hint=f"{_WAY_OUT}; for conda environments there is conda-pack",
        )
    if prefix in SHARED:
        raise UnsupportedBase(
            f"the base interpreter is the system's own, in `{prefix}` with much else",
            hint=_WAY_OUT,
        )


def _minor_of(prefix: str, name: str, version_info: str) -> str:
    """Return "3.N" from the executable's name, or the pyvenv.cfg's word for it."""
    if named := re.fullmatch(r"python(\d+\.\d+)(t?)(d?)", name):
        if named[2]:
            raise UnsupportedBase(
                f"`{prefix}` is a free-threaded Python {named[1]}, which is not packed yet",
                hint=_ANEW,
            )
        if named[3]:
            raise UnsupportedBase(
                f"`{prefix}` is a debug build of Python {named[1]}, which is not packed yet",
                hint=_ANEW,
            )
        return named[1]
    if told := re.match(r"\d+\.\d+", version_info):
        return told[0]
    lib = os.path.join(prefix, "lib")
    names = os.listdir(lib) if os.path.isdir(lib) else []
    minors = [found[1] for found in map(_STDLIB.fullmatch, names) if found]
    if len(minors) == 1:
        return minors[0]
    raise UnsupportedBase(f"cannot tell the Python version of `{prefix}`", hint=_WAY_OUT)


def _refuse_shape(prefix: str, minor: str, *, packed: bool) -> None:
    """Refuse prefixes whose standard library is not in lib/python3.N."""
    stdlib = os.path.join(prefix, "lib", f"python{minor}")
    if os.path.isfile(os.path.join(stdlib, "os.py")):
        return
    if os.path.isdir(os.path.join(prefix, "lib", f"python{minor}t")):
        raise UnsupportedBase(
            f"`{prefix}` is a free-threaded Python {minor}, which is not packed yet",
            hint=_ANEW,
        )
    if not packed:
        return
    if os.path.isfile(os.path.join(prefix, "lib64", f"python{minor}", "os.py")):
        raise UnsupportedBase(
            f"`{prefix}` keeps its standard library in lib64, which is not packed yet",
            hint=_WAY_OUT,
        )
    raise UnsupportedBase(
        f"`{prefix}` is no complete Python: `lib/python{minor}/os.py` is missing", hint=_WAY_OUT
    )


def _version_of(prefix: str, minor: str, version_info: str) -> str:
    header = os.path.join(prefix, "include", f"python{minor}", "patchlevel.h")
    found = _PATCHLEVEL.search(foreign.head_of(header, foreign.MOST))
    return found[1].decode() if found else version_info


def _read_word(path: str) -> str | None:
    return foreign.any_text(path).strip() or None
