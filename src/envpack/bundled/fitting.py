"""Whether a machine is one that a bundle can be installed on, asked before anything is.

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from typing import Dict, Iterable, List, Optional, Tuple

if not __package__:  # on the far side
    from placing import Failed  # type: ignore[import-not-found]
else:
    from envpack.bundled.placing import Failed

_MIB = 1 << 20


def check_glibc(needed: str) -> None:
    """Raise Failed if this machine's glibc is older than "2.28", or is none."""
    if not needed or not sys.platform.startswith("linux"):
        return
    name, version = platform.libc_ver()
    found = _numbers(version) if name == "glibc" else None
    if found is not None and found < (_numbers(needed) or ()):
        raise Failed(f"this bundle needs glibc {needed} or newer, and this machine has {version}")


def _numbers(version: str) -> Optional[Tuple[int, ...]]:
    parts = version.split(".")[:2]
    if not all(part.isdigit() for part in parts):
        return None
    return tuple(int(part) for part in parts)


def check_runs(folders: Iterable[str]) -> None:
    """Raise Failed if nothing can be run in one of these folders, or where they will be."""
    for folder in folders:
        place = existing(folder)
        flags = os.statvfs(place).f_flag if hasattr(os, "statvfs") else 0
        if flags & getattr(os, "ST_NOEXEC", 0):
            raise Failed(
                f"nothing can be run in `{place}`: it is mounted noexec", "choose another folder"
            )


def check_space(needs: Iterable[Tuple[str, int]]) -> None:
    """Raise Failed if disks have not the room for (folder, bytes), added up for each disk."""
    disks: Dict[int, List[Tuple[str, int]]] = {}
    for folder, size in needs:
        place = existing(folder)
        disks.setdefault(os.stat(place).st_dev, []).append((place, size))
    for found in disks.values():
        place, total = found[0][0], sum(size for _, size in found)
        disk = shutil.disk_usage(place)
        if disk.total and disk.free < total:
            raise Failed(
                f"the disk of `{place}` has {disk.free // _MIB} MiB free, and the project takes"
                f" {total // _MIB + 1}"
            )


def existing(folder: str) -> str:
    """Return the nearest folder from here upwards that is there."""
    while not os.path.isdir(folder):
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    return folder
