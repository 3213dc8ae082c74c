"""PT_INTERP: a program is started by its platform's loader, wherever it was linked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envpack.floor import wanted
from envpack.model import Edit
from envpack.reading import spliced
from envpack.relocate._elf_grow import GROWN
from envpack.relocate.elf import ElfRelocator
from envpack.relocate.elf_add import edits_with
from envpack.relocate.elf_loader import LOADER
from tests.test_floor import elf
from tests.test_native import needs_gcc

NIX = b"/nix/store/0c7qr2-glibc-2.40-66/lib/"
STANDARD = [
    (62, True, "<", b"/lib64/ld-linux-x86-64.so.2"),
    (62, False, "<", b"/libx32/ld-linux-x32.so.2"),
    (3, False, "<", b"/lib/ld-linux.so.2"),
    (183, True, "<", b"/lib/ld-linux-aarch64.so.1"),
    (40, False, "<", b"/lib/ld-linux-armhf.so.3"),
    (40, False, "<", b"/lib/ld-linux.so.3"),
    (21, True, "<", b"/lib64/ld64.so.2"),
    (21, True, ">", b"/lib64/ld64.so.1"),
    (22, True, ">", b"/lib/ld64.so.1"),
    (243, True, "<", b"/lib/ld-linux-riscv64-lp64d.so.1"),
    (258, True, "<", b"/lib64/ld-linux-loongarch-lp64d.so.1"),
    (62, True, "<", b"/lib/ld-musl-x86_64.so.1"),
    (183, True, "<", b"/lib/ld-musl-aarch64.so.1"),
]


def edits(data: bytes) -> tuple[Edit, ...]:
    """Return the edits of a program in `bin`, which both ways to it agree on."""
    found = ElfRelocator().edits("bin/tool", data, ())
    assert edits_with("bin/tool", data, (), ()) == found
    return found


@pytest.mark.parametrize(("machine", "wide", "order", "path"), STANDARD)
def test_the_platforms_own(machine: int, wide: bool, order: str, path: bytes) -> None:
    """A loader in another folder becomes the platform's, in the old bytes; that one is left."""
    base = {"machine": machine, "wide": wide, "order": order}
    old = NIX + path.rpartition(b"/")[2] + b"\0"
    data = elf(["libc.so.6"], **base, loader=old)  # type: ignore[arg-type]
    at = len(data) - len(old)
    assert edits(data) == (Edit(at, len(data), path.ljust(len(old), b"\0"), LOADER),)
    after = b"".join(spliced([data], edits(data)))
    assert after == data[:at] + path.ljust(len(old), b"\0")
    assert edits(after) == ()
    assert wanted(data).loader == wanted(after).loader == ""


def test_a_name_that_says_nothing() -> None:
    """`ld-2.31.so` of a C library's own folder is told by the machine that the file is for."""
    old = b"/opt/glibc-2.31/lib/ld-2.31.so\0"
    (edit,) = edits(elf(["libc.so.6"], loader=old))
    assert edit.data == b"/lib64/ld-linux-x86-64.so.2".ljust(len(old), b"\0")


@pytest.mark.parametrize(
    ("path", "machine"), [(b"/ld.so", 62), (b"/nix/store/ld.so", 8), (NIX + b"ld.so", 40)]
)
def test_one_that_cannot_be_mended_is_told(path: bytes, machine: int) -> None:
    """There is no room for the platform's path, or nobody knows it."""
    data = elf(loader=path + b"\0", machine=machine, wide=machine == 62)
    assert edits(data) == ()
    assert wanted(data).loader == path.decode()


def test_what_is_no_program() -> None:
    """A library names no loader."""
    assert edits(elf(["libc.so.6"])) == ()
    assert wanted(elf(["libc.so.6"])).loader == ""


def test_together_with_the_search_path() -> None:
    """Both are edited, and neither touches the other."""
    data = elf(["libx.so.1"], runpath="/apps/x/lib", note=True, loader=NIX + b"ld.so\0")
    found = edits_with("bin/tool", data, (), ("$ORIGIN/../lib",), dropped=("/apps/x/lib",))
    assert {edit.why for edit in found} >= {LOADER, GROWN}
    after = wanted(b"".join(spliced([data], sorted(found))))
    assert (after.search, after.runpath, after.loader) == (("$ORIGIN/../lib",), False, "")


@given(st.integers(0, 120), st.integers(0, 1 << 40), st.binary(max_size=80))
def test_damage_is_harmless(at: int, value: int, loader: bytes) -> None:
    """A PT_INTERP that leads anywhere is never edited outside of the file, nor made longer."""
    data = bytearray(elf(["libc.so.6"], loader=loader + b"\0"))
    data[64 + at % 56 : 64 + at % 56 + 8] = value.to_bytes(8, "little")
    for edit in ElfRelocator().edits("bin/tool", bytes(data), ()):
        assert 0 <= edit.start <= edit.stop <= len(data)
        assert len(edit.data) == edit.stop - edit.start
    wanted(bytes(data))


@needs_gcc
def test_a_program_starts_without_its_loader(tmp_path: Path) -> None:
    """The kernel says there is no such program; relocated it starts."""
    folder = tmp_path / "nix/store/0c7qr2-glibc/lib"
    folder.mkdir(parents=True)
    loader = shutil.copy("/lib64/ld-linux-x86-64.so.2", folder)
    source, program = tmp_path / "m.c", tmp_path / "program"
    source.write_text("int main(void) { return 42; }\n")
    linked = f"-Wl,--dynamic-linker={loader}"
    subprocess.run(["gcc", linked, "-o", program, source], check=True)
    assert subprocess.run([program], check=False).returncode == 42
    data = program.read_bytes()
    folder.joinpath("ld-linux-x86-64.so.2").unlink()
    with pytest.raises(FileNotFoundError):
        subprocess.run([program], check=False)
    program.write_bytes(b"".join(spliced([data], edits(data))))
    assert subprocess.run([program], check=False).returncode == 42
