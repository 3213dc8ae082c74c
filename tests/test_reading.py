"""A file is read as it was planned, or refused, whatever its times say."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import envpack
from envpack import reading
from envpack.errors import SourceFault
from envpack.model import Disk
from tests.trees import FakeEnvironment, make_environment

SMALL, LARGE = "small.bin", "large.bin"
SIZES = {SMALL: 9000, LARGE: 3 << 20}


@pytest.fixture
def fake(tmp_path: Path) -> FakeEnvironment:
    """An environment with a file that is read whole, and one that is read in blocks."""
    fake = make_environment(tmp_path)
    fake.install("data", "1.0", {name: b"A" * size for name, size in SIZES.items()})
    return fake


def during(monkeypatch: pytest.MonkeyPatch, path: Path, at: int, act: Callable[[], object]) -> None:
    """Do something once, as soon as the block of a file that begins at `at` was read."""
    real = reading._read
    done: list[str] = []

    def read(descriptor: int, start: int, size: int, name: str) -> bytes:
        data = real(descriptor, start, size, name)
        if name == str(path) and (start, size) != (0, 4096) and start == at and not done:
            done.append(name)
            act()
        return data

    monkeypatch.setattr(reading, "_read", read)


def overwrite(path: Path, data: bytes, *, times: bool) -> None:
    """Write into a file in place, and put its times back."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.write(data)
    if times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_mtime_ns == status.st_mtime_ns


def replace(path: Path, data: bytes) -> None:
    """Give a file's name to another one of the same times."""
    status = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(data)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("name", [SMALL, LARGE])
@pytest.mark.parametrize("times", [True, False])
def test_a_file_that_changes_while_it_is_read(
    fake: FakeEnvironment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    times: bool,
) -> None:
    """Of the same size, with its mtime put back or not: refused, and nothing is left."""
    path, out = fake.site / name, tmp_path / "env.tar"
    during(monkeypatch, path, 0, lambda: overwrite(path, b"B" * SIZES[name], times=times))
    with pytest.raises(SourceFault, match=rf"^`.*{name}` changed while it was packed$"):
        envpack.pack(fake.root, out)
    assert not out.exists()


@pytest.mark.parametrize("name", [SMALL, LARGE])
@pytest.mark.parametrize("change", [b"AB", b"A", b""])
def test_a_file_that_grows_or_shrinks(
    fake: FakeEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: bytes
) -> None:
    """By one byte, to one or to nothing, as it is read."""
    path = fake.site / name
    data = path.read_bytes() + b"B" if change == b"AB" else change
    during(monkeypatch, path, 0, lambda: path.write_bytes(data))
    with pytest.raises(SourceFault, match=rf"^`.*{name}` changed while it was packed$"):
        envpack.pack(fake.root, tmp_path / "env.tar")


@pytest.mark.parametrize("name", [SMALL, LARGE])
def test_a_file_that_was_linked_is_the_same(
    fake: FakeEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A new hard link moves the ctime too, as uv makes them for other environments."""
    path, out = fake.site / name, tmp_path / "env.tar"
    during(monkeypatch, path, 0, lambda: os.link(path, tmp_path / "link"))
    envpack.pack(fake.root, out)
    assert (tmp_path / "link").exists()
    assert content(out, name) == b"A" * SIZES[name]


def test_edits_are_those_of_what_is_read(
    fake: FakeEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file that was replaced between the search for its edits and its first block."""
    shebang = f"#!{fake.root}/bin/python\n"
    path = fake.add("bin/large", shebang + "#" * (3 << 20), mode=0o755)
    other = path.read_bytes().replace(b"#!/", b"# /", 1)
    real = reading._disk_blocks
    done: list[str] = []

    def blocks(disk: Disk) -> Iterator[bytes]:
        if disk.path == str(path) and not done:
            done.append(disk.path)
            replace(path, other)
        return real(disk)

    monkeypatch.setattr(reading, "_disk_blocks", blocks)
    with pytest.raises(SourceFault, match=r"^`.*/bin/large` changed while it was packed$"):
        envpack.pack(fake.root, tmp_path / "env.tar")


def content(out: Path, name: str) -> bytes:
    """Return a member's content."""
    with tarfile.open(out) as tar:
        member = next(member for member in tar.getmembers() if member.name.endswith(name))
        file = tar.extractfile(member)
        assert file is not None
        return file.read()
