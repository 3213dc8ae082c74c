"""Every kind of file that holds absolute paths, one relocator each, in plain sight.

The first one that claims a file edits it, so the narrow ones come before the wide ones.
"""

from __future__ import annotations

import re

from envpack.model import Relocator
from envpack.relocate.elf import ElfRelocator
from envpack.relocate.metadata import MetadataRelocator
from envpack.relocate.paths import ByHead, ByName
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
    MetadataRelocator(),
    KernelSpecRelocator(),
    ScriptRelocator(),
)

_BEGINS = tuple(each.BEGINS for each in RELOCATORS if isinstance(each, ByHead))
_NAMES = re.compile("|".join(e.NAME.pattern for e in RELOCATORS if isinstance(e, ByName)))
"""What the claims of all come to; nearly every file has neither such a head nor such a name."""


def relocator_for(name: str, head: bytes) -> Relocator | None:
    """Return the relocator for a file by its name and first bytes, None if it needs none."""
    if not head.startswith(_BEGINS) and _NAMES.fullmatch(name) is None:
        return None
    for relocator in RELOCATORS:
        if relocator.claims(name, head):
            return relocator
    return None
