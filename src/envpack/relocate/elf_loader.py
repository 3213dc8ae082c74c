"""ELF: the program interpreter, which is the loader that the kernel starts a program by.

Format: PT_INTERP of System V gABI chapter 5, an absolute path that ends with a NUL. Nix, Guix and
whoever builds a C library of his own write a folder of the build machine there. Each platform has
one place for its loader, which every machine of the kind has: for glibc the table of its wiki
(ABIList), for musl `/lib/ld-musl-ARCH.so.1`. It is written over the old path, as it is shorter.
"""

from __future__ import annotations

import posixpath

from envpack.model import Edit
from envpack.relocate._elf_read import Elf

LOADER = "ELF interpreter"

_MUSL = b"ld-musl-"
_WIDE = 16
"""Bytes of an entry of the dynamic section where addresses have 64 bits."""

# By e_machine, whether addresses have 64 bits, and byte order. 32-bit ARM has two, told by name.
_LOADERS = {
    (62, True, "<"): b"/lib64/ld-linux-x86-64.so.2",
    (62, False, "<"): b"/libx32/ld-linux-x32.so.2",
    (3, False, "<"): b"/lib/ld-linux.so.2",
    (183, True, "<"): b"/lib/ld-linux-aarch64.so.1",
    (21, True, "<"): b"/lib64/ld64.so.2",
    (21, True, ">"): b"/lib64/ld64.so.1",
    (22, True, ">"): b"/lib/ld64.so.1",
    (243, True, "<"): b"/lib/ld-linux-riscv64-lp64d.so.1",
    (258, True, "<"): b"/lib64/ld-linux-loongarch-lp64d.so.1",
}
_ARM, _ARM_LOADERS = 40, (b"ld-linux-armhf.so.3", b"ld-linux.so.3")


def loader_edits(elf: Elf) -> tuple[Edit, ...]:
    """Return the edit that names the platform's own loader, none if it is named or cannot be."""
    old, path = elf.loader_path(), _standard(elf)
    if elf.loader is None or not old or path is None or path == old:
        return ()
    start, size = elf.loader
    if len(path) >= size:
        return ()
    return (Edit(start, start + size, path.ljust(size, b"\0"), LOADER),)


def foreign_loader(elf: Elf) -> bytes:
    """Return the loader that a program will still name though it is not the platform's, or b""."""
    path = elf.loader_path()
    return b"" if path == _standard(elf) or loader_edits(elf) else path


def _standard(elf: Elf) -> bytes | None:
    """Return where the platform's loader is, None for a platform that is not known."""
    name = posixpath.basename(elf.loader_path())
    if name.startswith(_MUSL):
        return b"/lib/" + name
    if elf.machine == _ARM and name in _ARM_LOADERS:
        return b"/lib/" + name
    wide = elf.shape.dynamic.size == _WIDE
    return _LOADERS.get((elf.machine, wide, elf.shape.order))
