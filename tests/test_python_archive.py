"""Archives of interpreters: what is inside says what they are, whatever their names."""

from __future__ import annotations

import io
import re
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from envpack.errors import ProjectFault, UsageError
from envpack.python_archive import archives_in, read_archive
from envpack.target import Target
from tests.shop import MINOR

SYSCONFIG = b"""\
# system configuration generated and used by the sysconfig module
build_time_vars = {}
"""
ELF = Path(sys.executable).resolve().read_bytes()[: 64 * 1024]


def header(version: str) -> bytes:
    """Return the line of CPython's Include/patchlevel.h that counts, among others."""
    return f'#define PY_MINOR_VERSION\t1\n\n#define PY_VERSION      \t"{version}"\n'.encode()


def posix(version: str, abi: str = "") -> dict[str, bytes]:
    """Return the files of an installation for Linux that matter."""
    minor = version.rpartition(".")[0]
    name = f"python{minor}{abi}"
    return {
        f"bin/{name}": ELF,
        f"include/{name}/patchlevel.h": header(version),
        f"lib/{name}/_sysconfigdata__linux_x86_64-linux-gnu.py": SYSCONFIG,
    }


def pe(machine: int) -> bytes:
    """Return the start of a program for Windows."""
    return b"MZ".ljust(60, b"\0") + struct.pack("<I4sH", 64, b"PE\0\0", machine)


def mach_o(cpu: int) -> bytes:
    """Return the start of a program for macOS."""
    return struct.pack("<II", 0xFEEDFACF, cpu)


def company_archive(path: Path, version: str) -> Path:
    """Write an archive of an interpreter for Linux."""
    return written(path, {f"python/{name}": data for name, data in posix(version).items()})


def written(path: Path, members: dict[str, bytes]) -> Path:
    """Write an archive in the format that its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return path
    plain = io.BytesIO()
    mode = "w:gz" if path.suffix in {".gz", ".tgz"} else "w:"
    with tarfile.open(fileobj=plain, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    data = plain.getvalue()
    path.write_bytes(zstandard.compress(data) if path.suffix == ".zst" else data)
    return path


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.zst", ".tar", ".zip"])
@pytest.mark.parametrize("top", ["python/", "acme/", "python/install/"])
def test_each_format_and_shape(tmp_path: Path, suffix: str, top: str) -> None:
    """One folder at the top, or uv's `full` archives, in every format that uv unpacks."""
    files = {f"{top}{name}": data for name, data in posix("3.12.1").items()}
    found = read_archive(str(written(tmp_path / f"any{suffix}", files)))
    assert (found.version, found.key) == ("3.12.1", "cpython-3.12.1-linux-x86_64-gnu")
    assert not found.free_threaded


@pytest.mark.parametrize(
    ("files", "key"),
    [
        (posix("3.13.2", "t"), "cpython-3.13.2+freethreaded-linux-x86_64-gnu"),
        (posix("3.14.0rc1"), "cpython-3.14.0rc1-linux-x86_64-gnu"),
        (
            {"python.exe": pe(0x8664), "include/patchlevel.h": header("3.12.4")},
            "cpython-3.12.4-windows-x86_64-none",
        ),
        (
            {
                "Include/patchlevel.h": header("3.13.0"),
                "python.exe": pe(0xAA64),
                "python3.13t.exe": b"",
            },
            "cpython-3.13.0+freethreaded-windows-aarch64-none",
        ),
        (
            {"python.exe": pe(0x14C), "include/patchlevel.h": header("3.11.0")},
            "cpython-3.11.0-windows-x86-none",
        ),
        (
            {
                "bin/python3.12": mach_o(0x0100000C),
                "include/python3.12/patchlevel.h": header("3.12.9"),
            },
            "cpython-3.12.9-macos-aarch64-none",
        ),
        (
            {
                "bin/python3.12": mach_o(0x01000007),
                "include/python3.12/patchlevel.h": header("3.12.9"),
            },
            "cpython-3.12.9-macos-x86_64-none",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_inside(tmp_path: Path, files: dict[str, bytes], key: str) -> None:
    """Version, system, machine and kind."""
    path = written(tmp_path / "a.tar", {f"python/{name}": data for name, data in files.items()})
    assert read_archive(str(path)).key == key


def test_a_folder_of_archives(tmp_path: Path) -> None:
    """All of them, by their names; other files do not matter."""
    company_archive(tmp_path / "b.tar.gz", "3.12.1")
    company_archive(tmp_path / "a.tar.zst", "3.13.2")
    (tmp_path / "SHA256SUMS").touch()
    found = archives_in([str(tmp_path)])
    assert [archive.version for archive in found] == ["3.13.2", "3.12.1"]
    assert found[0].target == Target("linux", "x86_64", "gnu")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"python/readme": b""}, "holds no `patchlevel.h` of a CPython"),
        ({"python/include/patchlevel.h": header("3.12.1")}, "holds no executable of a Python"),
        (
            {
                "python/include/patchlevel.h": header("3.12.1"),
                "python/bin/python3.12": b"#!/bin/sh",
            },
            "holds no executable of a Python",
        ),
        (posix("3.12.1"), "holds no `patchlevel.h` of a CPython"),
    ],
)
def test_no_interpreter(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    """What is missing is named; a tree without its top folder is none that uv takes."""
    path = written(tmp_path / "a.tar.gz", files)
    with pytest.raises(ProjectFault, match=re.escape(f"`{path}` {reason}")):
        read_archive(str(path))


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst", ".tar", ".zip"])
def test_a_damaged_archive(tmp_path: Path, suffix: str) -> None:
    """Refused, as is a file of another kind."""
    path = company_archive(tmp_path / f"a{suffix}", f"{MINOR}.1")
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ProjectFault, match=r"is damaged|holds no"):
        read_archive(str(path))
    other = tmp_path / "python.exe"
    other.touch()
    with pytest.raises(ProjectFault, match="is no archive that uv unpacks"):
        read_archive(str(other))


def test_no_archive(tmp_path: Path) -> None:
    """A path at which there is none is wrong usage."""
    with pytest.raises(UsageError, match="no archive of a Python at"):
        archives_in([str(tmp_path / "nope.tar.gz")])
    with pytest.raises(UsageError, match="no archive of a Python in"):
        archives_in([str(tmp_path)])
