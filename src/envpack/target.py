"""The kind of machine an interpreter runs on, read from its executable's header.

Formats: System V gABI (`Elf64_Ehdr`, `PT_INTERP`), Mach-O (`mach/loader.h`), PE
(`IMAGE_DOS_HEADER`, `IMAGE_FILE_HEADER`).
"""

from __future__ import annotations

import struct
from typing import IO, NamedTuple

_ELF_MACHINES = {
    3: "x86",
    20: "powerpc",
    21: "powerpc64le",
    22: "s390x",
    40: "armv7",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
_MACHO_MAGICS = {b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"}
_MACHO_CPUS = {0x01000007: "x86_64", 0x0100000C: "aarch64"}
_PE_MACHINES = {0x014C: "x86", 0x8664: "x86_64", 0xAA64: "aarch64"}
_HEAD = 64 * 1024
_PT_LOAD = 1
_PT_DYNAMIC = 2
_PT_INTERP = 3


class Target(NamedTuple):
    """Operating system, architecture and C library, in uv's words; `libc` is "none" off Linux."""

    os: str
    arch: str
    libc: str

    def __str__(self) -> str:
        return (
            f"{self.os}-{self.arch}-{self.libc}"
            if self.libc != "none"
            else f"{self.os}-{self.arch}"
        )


def target_of(path: str) -> Target | None:
    """Return the target of the executable at `path`, None if it is of no known format.

    Raises OSError if the file cannot be read.
    """
    with open(path, "rb") as file:
        return target_in(file)


def target_in(file: IO[bytes]) -> Target | None:
    """Return the target of an executable that begins where `file` stands, as `target_of`."""
    head = file.read(_HEAD)
    if head[:4] == b"\x7fELF" and len(head) >= 64:
        return _elf_target(head)
    if head[:4] in _MACHO_MAGICS and len(head) >= 8:
        (cpu,) = struct.unpack_from("<I", head, 4)
        return Target("macos", _MACHO_CPUS.get(cpu, "universal"), "none")
    if head[:2] == b"MZ" and len(head) >= 64:
        (at,) = struct.unpack_from("<I", head, 60)
        found = struct.unpack_from("<4sH", head, at) if at + 6 <= len(head) else (b"", 0)
        known = found[0] == b"PE\0\0"
        return Target("windows", _PE_MACHINES.get(found[1] if known else 0, "unknown"), "none")
    return None


def is_static(path: str) -> bool:
    """Say whether an ELF executable is linked statically: it has segments, none of them dynamic.

    Such a program has no loader (`dlopen`) for extension modules. Raises OSError.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] != 2:
        return False
    order = "<" if head[5] == 1 else ">"
    (offset,) = struct.unpack_from(order + "Q", head, 32)
    size, count = struct.unpack_from(order + "HH", head, 54)
    starts = range(offset, min(offset + size * count, len(head) - 4), size or 1)
    kinds = {struct.unpack_from(order + "I", head, start)[0] for start in starts}
    return _PT_LOAD in kinds and _PT_DYNAMIC not in kinds


def _elf_target(head: bytes) -> Target | None:
    wide = head[4] == 2
    order = "<" if head[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", head, 18)
    arch = _ELF_MACHINES.get(machine, f"machine{machine}")
    if wide:
        (offset,) = struct.unpack_from(order + "Q", head, 32)
        size, count = struct.unpack_from(order + "HH", head, 54)
    else:
        (offset,) = struct.unpack_from(order + "I", head, 28)
        size, count = struct.unpack_from(order + "HH", head, 42)
    libc = "gnu"
    for index in range(count):
        start = offset + index * size
        if start + 40 > len(head):
            break
        (kind,) = struct.unpack_from(order + "I", head, start)
        if kind == _PT_INTERP:
            at, length = (
                (
                    struct.unpack_from(order + "Q", head, start + 8)[0],
                    struct.unpack_from(order + "Q", head, start + 32)[0],
                )
                if wide
                else (
                    struct.unpack_from(order + "I", head, start + 4)[0],
                    struct.unpack_from(order + "I", head, start + 16)[0],
                )
            )
            if b"/ld-musl" in head[at : at + length]:
                libc = "musl"
    return Target("linux", arch, libc)
