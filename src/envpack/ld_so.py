"""This machine's dynamic loader, as ld.so(8) has it: its cache, and where it looks besides."""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from envpack.errors import SourceFault

LD_SO_CACHE = "/etc/ld.so.cache"
_OLD_MAGIC, _MAGIC = b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"
_OLD_ENTRY, _HEADER, _ENTRY = 12, 48, 24
_BIG_ENDIAN = 3  # cache_file_new_flags_endian_big

_TRIPLETS = ("x86_64", "aarch64", "i386", "powerpc64le", "s390x", "riscv64", "loongarch64")
MULTIARCH = (*(f"{cpu}-linux-gnu" for cpu in _TRIPLETS), "arm-linux-gnueabihf")
# The loader's last resort; which of them a machine has shows when a library is looked for.
FOLDERS = (
    *(f"{top}/{triplet}" for triplet in MULTIARCH for top in ("/lib", "/usr/lib")),
    *("/lib64", "/usr/lib64", "/lib", "/usr/lib"),
)
LIB_NAMES = (*(f"lib/{triplet}" for triplet in MULTIARCH), "lib64", "lib")  # what $LIB can be


class DamagedCache(Exception):
    """The bytes are no `ld.so.cache` that a loader would take."""


def read_cache(data: bytes) -> dict[str, tuple[str, ...]]:
    """Return the paths of `/etc/ld.so.cache` by soname, in the loader's order.

    Format: `sysdeps/generic/dl-cache.h` of glibc, alone or behind the format of glibc before 2.2.
    Variants for some processors (glibc-hwcaps) are left out: a pack must run on others too. Raises
    DamagedCache.
    """
    base = 0
    if data.startswith(_OLD_MAGIC[:11]) and len(data) >= 16:
        (count,) = struct.unpack_from("<I", data, 12)
        base = 16 + _OLD_ENTRY * count
        base += -base % 8
    if data[base : base + len(_MAGIC)] != _MAGIC or len(data) < base + _HEADER:
        raise DamagedCache
    order = ">" if data[base + 28] & 3 == _BIG_ENDIAN else "<"
    (count,) = struct.unpack_from(order + "I", data, base + 20)
    if base + _HEADER + count * _ENTRY > len(data):
        raise DamagedCache
    found: dict[str, list[str]] = {}
    for number in range(count):
        at = base + _HEADER + number * _ENTRY
        # flags, key, value, osversion, hwcap
        _, key, value, _, needs = struct.unpack_from(order + "iIIIQ", data, at)
        if not needs:
            found.setdefault(_string(data, base + key), []).append(_string(data, base + value))
    return {soname: tuple(paths) for soname, paths in found.items()}


def _string(data: bytes, at: int) -> str:
    end = data.find(0, at)
    if end < 0:
        raise DamagedCache
    return os.fsdecode(data[at:end])


class Loader(NamedTuple):
    """Where this machine's dynamic loader looks besides the paths that a file itself names.

    `told` are the folders of LD_LIBRARY_PATH, which come before DT_RUNPATH.
    """

    cache: Mapping[str, tuple[str, ...]]
    folders: tuple[str, ...] = FOLDERS
    told: tuple[str, ...] = ()

    @classmethod
    def here(cls, cache: str = LD_SO_CACHE) -> Loader:
        """Return this machine's; without a sound cache, as on musl, the usual folders remain.

        What LD_LIBRARY_PATH says of the current folder is passed over: the folder is not the
        environment's.
        """
        parts = re.split("[:;]", os.environ.get("LD_LIBRARY_PATH", ""))
        told = tuple(part for part in parts if part.startswith("/"))
        try:
            with open(cache, "rb") as file:
                return cls(read_cache(file.read()), told=told)
        except OSError as error:
            check_absent(error, cache)
        except DamagedCache:
            pass
        return cls({}, told=told)

    def paths(self, soname: str) -> Iterator[str]:
        """Yield where a library may be, best first."""
        yield from self.cache.get(soname, ())
        for folder in self.folders:
            yield f"{folder}/{soname}"


_ABSENT = frozenset(
    {
        errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES,
        errno.EPERM, errno.ENXIO, errno.ENODEV, errno.ESPIPE, errno.EINVAL,
    }
)  # fmt: skip
"""Errors of what is not there, is no file, or is not for this user: ld.so passes it over too."""


def check_absent(error: OSError, path: str) -> None:
    """Raise SourceFault unless a file that cannot be read is as good as none.

    A disk that fails, or too many open files, says nothing of what is in the file.
    """
    if error.errno not in _ABSENT:
        raise SourceFault(f"cannot read `{path}`: {error.strerror or error}") from error
