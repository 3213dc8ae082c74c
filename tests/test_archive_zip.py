"""Zip archives at their limits: zip64, times, names, members that do not shrink."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envpack.archive import deflate, zip_records
from envpack.archive.blocks import BLOCK
from envpack.archive.zip import ZipFormat
from envpack.model import Link, LinkKind, Member
from envpack.parallel import Pool

NOISE = random.Random(3).randbytes(3 * BLOCK + 17)  # no secret
FILES = {
    "small": b"s",
    "empty": b"",
    "text": b"a line of text\n" * 1000,
    "noise": NOISE[:5000],
    "large": b"a line of text\n" * 300_000,
    "large noise": NOISE,
}


def write(
    target: Path,
    files: dict[str, bytes],
    form: ZipFormat,
    mtime: int = 0,
    links: Iterable[str] = (),
) -> Path:
    """Write `files` and symbolic links and return `target`."""
    members = [Member(name, len(data), False, [data]) for name, data in files.items()]
    members += [Member(n, 0, False, link=Link(LinkKind.SYMBOLIC, "small")) for n in links]
    with Pool(2) as pool:
        form.write(members, str(target), level=None, mtime=mtime, pool=pool)
    return target


def check(target: Path, files: dict[str, bytes]) -> None:
    """Assert that zipfile, and unzip if there is one, read `files` from `target`."""
    with zipfile.ZipFile(target) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
    if shutil.which("unzip"):
        done = subprocess.run(["unzip", "-tqq", target], capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("whole", [0, 1000, 8 * 1024 * 1024])
@pytest.mark.parametrize("many", [3, 0xFFFF])
@pytest.mark.parametrize("limit", [0, 1, 1000, 5000, 5001, 20_000, 2_000_000, 0xFFFFFFFF])
def test_zip64(limit: int, many: int, whole: int, tmp_path: Path) -> None:
    """Wherever sizes, offsets and counts begin to need zip64, other programs read the archive."""
    check(write(tmp_path / "z", FILES, ZipFormat(limit=limit, many=many, whole=whole)), FILES)


def test_zip64_only_where_needed(tmp_path: Path) -> None:
    """An ordinary archive has no zip64 record at all, and says version 2.0."""
    data = write(tmp_path / "z", FILES, ZipFormat(whole=1000)).read_bytes()
    assert b"PK\x06\x06" not in data
    with zipfile.ZipFile(tmp_path / "z") as archive:
        assert {info.extract_version for info in archive.infolist()} == {20}
        assert {info.extra for info in archive.infolist()} == {b""}


def test_zip64_of_one_large_member(tmp_path: Path) -> None:
    """Only the member that reaches the limit has a zip64 field, in both its headers."""
    target = write(tmp_path / "z", FILES, ZipFormat(limit=4_000_000, whole=1000))
    with zipfile.ZipFile(target) as archive:
        wide = {info.filename: info for info in archive.infolist() if info.extract_version == 45}
    assert set(wide) == {"large"}
    data = target.read_bytes()
    at = wide["large"].header_offset
    assert data[at + 4 : at + 6] == b"\x2d\x00"
    assert data[at + 18 : at + 26] == b"\xff" * 8
    name_end = at + 30 + len("large")
    assert struct.unpack_from("<HHQQ", data, name_end) == (
        1,
        16,
        len(FILES["large"]),
        wide["large"].compress_size,
    )


def test_more_than_65535_members(tmp_path: Path) -> None:
    """65535 members and more are counted in the zip64 end record."""
    files = {f"{number:x}": b"" for number in range(65_536)}
    target = write(tmp_path / "z", files, ZipFormat())
    assert b"PK\x06\x06" in target.read_bytes()[-200:]
    with zipfile.ZipFile(target) as archive:
        assert len(archive.namelist()) == 65_536


def test_no_data_descriptors(tmp_path: Path) -> None:
    """The local headers hold the sizes, also of members that were streamed."""
    target = write(tmp_path / "z", FILES, ZipFormat(whole=1000))
    data = target.read_bytes()
    with zipfile.ZipFile(target) as archive:
        for info in archive.infolist():
            flags, _, _, _, crc, packed, size = struct.unpack_from(
                "<HHHHIII", data, info.header_offset + 6
            )
            assert flags & 8 == 0
            assert (crc, packed, size) == (info.CRC, info.compress_size, info.file_size)


def test_stored_when_deflate_does_not_shrink(tmp_path: Path) -> None:
    """Noise, nothing and one byte are stored; a streamed member grows by its block headers only."""
    with zipfile.ZipFile(write(tmp_path / "z", FILES, ZipFormat(whole=10_000))) as archive:
        infos = {info.filename: info for info in archive.infolist()}
    stored = {name for name, info in infos.items() if info.compress_type == zipfile.ZIP_STORED}
    assert stored == {"small", "empty", "noise"}
    assert infos["large noise"].compress_size <= deflate.bound(len(NOISE), BLOCK)


def test_links_are_stored_with_their_text(tmp_path: Path) -> None:
    """A symbolic link is a stored member of type S_IFLNK whose content is the link's text."""
    target = write(tmp_path / "z", {"small": b"s"}, ZipFormat(), links=["ln"])
    with zipfile.ZipFile(target) as archive:
        info = archive.getinfo("ln")
        assert info.external_attr >> 16 == 0o120777
        assert archive.read(info) == b"small"


@given(st.integers(315532800, 4354819199))
def test_dos_time(mtime: int) -> None:
    """A DOS time is the UTC time to two seconds."""
    time, date = zip_records.dos_time(mtime)
    when = datetime(
        (date >> 9) + 1980,
        date >> 5 & 15,
        date & 31,
        time >> 11,
        time >> 5 & 63,
        (time & 31) * 2,
        tzinfo=UTC,
    )
    assert when.timestamp() == mtime // 2 * 2


@pytest.mark.parametrize(
    ("mtime", "when"),
    [
        (-1, (1980, 1, 1, 0, 0, 0)),
        (0, (1980, 1, 1, 0, 0, 0)),
        (2**40, (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_dos_time_is_clamped(
    mtime: int, when: tuple[int, int, int, int, int, int], tmp_path: Path
) -> None:
    """Times that DOS cannot say become the nearest it can."""
    with zipfile.ZipFile(write(tmp_path / "z", FILES, ZipFormat(), mtime)) as archive:
        assert {info.date_time for info in archive.infolist()} == {when}


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are written as they are, and not called UTF-8."""
    target = write(tmp_path / "z", {"lib/\udcff.py": b"x"}, ZipFormat())
    assert target.read_bytes().count(b"lib/\xff.py") == 2
    with zipfile.ZipFile(target) as archive:
        assert archive.infolist()[0].flag_bits == 0


def test_a_member_over_the_limit_goes_block_by_block(tmp_path: Path) -> None:
    """Its blocks are read as they are compressed, never all of them before the first is written."""
    many = 600
    drawn = 0
    target = tmp_path / "z"
    sizes: list[int] = []

    def blocks() -> Iterator[bytes]:
        nonlocal drawn
        for _ in range(many):
            drawn += 1
            sizes.append(target.stat().st_size)
            yield NOISE[:BLOCK]

    with Pool(2) as pool:
        member = Member("huge", many * BLOCK, False, blocks())
        ZipFormat().write([member], str(target), level=1, mtime=0, pool=pool)
    assert drawn == many
    assert sizes[100] > 50 * BLOCK
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert archive.getinfo("huge").file_size == many * BLOCK


LARGE_MEMBERS = """
import os, sys
from envpack.archive.zip import ZipFormat
from envpack.model import Member
from envpack.parallel import Pool

block, count = 512 * 1024, int(sys.argv[2])
blocks = lambda: (os.urandom(block) for _ in range(count))
members = (Member(str(n), block * count, False, blocks()) for n in range(5))
with Pool(2) as pool:
    ZipFormat().write(members, sys.argv[1], level=1, mtime=0, pool=pool)
with open("/proc/self/status") as status:  # ru_maxrss would be that of the parent, if it had more
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak on Linux alone")
@pytest.mark.parametrize("count", [38, 64])
def test_members_that_do_not_shrink_are_held_once(count: int, tmp_path: Path) -> None:
    """Two of 19 MiB or one of 32: input and room for output, and nothing of those before."""
    words = [sys.executable, "-c", LARGE_MEMBERS, str(tmp_path / "x.zip"), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 108_000_000
