"""Every kind of file that holds absolute paths, one relocator each, in plain sight.

The first one that claims a file edits it, so the narrow ones come before the wide ones.
"""

from __future__ import annotations

from envpack.model import Relocator
from envpack.relocate.elf import ElfRelocator
from envpack.relocate.script import ScriptRelocator
from envpack.relocate.sysconfig import (
    BuildDetailsRelocator,
    BuildFilesRelocator,
    PkgConfigRelocator,
    PythonConfigRelocator,
    SysconfigDataRelocator,
)
from envpack.relocate.text import KernelSpecRelocator, PthRelocator

RELOCATORS: tuple[Relocator, ...] = (
    ElfRelocator(),
    SysconfigDataRelocator(),
    PkgConfigRelocator(),
    PythonConfigRelocator(),
    BuildFilesRelocator(),
    BuildDetailsRelocator(),
    PthRelocator(),
    KernelSpecRelocator(),
    ScriptRelocator(),
)


def relocator_for(name: str, head: bytes) -> Relocator | None:
    """Return the relocator for a file by its name and first bytes, None if it needs none."""
    for relocator in RELOCATORS:
        if relocator.claims(name, head):
            return relocator
    return None
