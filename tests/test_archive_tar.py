"""Tar headers, as POSIX and Python's tarfile have them."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envpack.archive import tar
from envpack.model import Link, LinkKind, Member

MTIME = 1_600_000_000
GIB = 2**30

component = st.text(
    st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=120
).filter(lambda text: text not in {".", ".."})
names = st.lists(component, min_size=1, max_size=6).map("/".join)
ascii_names = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyz-_.0123456789", min_size=1, max_size=99),
    min_size=1,
    max_size=5,
).map("/".join)
sizes = st.one_of(st.integers(0, 10**6), st.integers(8 * GIB - 2, 8 * GIB + 2), st.just(2**50))
links = st.none() | st.builds(Link, st.sampled_from(LinkKind), names)


def read(member: Member, mtime: int = MTIME) -> tarfile.TarInfo:
    """Return what tarfile makes of the header of `member`."""
    data = tar.header(member, mtime)
    assert len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data + bytes(1024))) as archive:
        info = archive.next()
    assert info is not None
    return info


@given(names, sizes, st.booleans(), links)
@example("x" * 100, 0, False, None)
@example("x" * 101, 0, False, None)
@example("p" * 155 + "/" + "n" * 100, 0, False, None)
@example("p" * 156 + "/" + "n" * 100, 0, False, None)
@example("p" * 155 + "/" + "n" * 101, 0, False, None)
@example("/".join("abcdefgh" * 40), 0, False, None)
@example("a", 0, False, Link(LinkKind.SYMBOLIC, "t" * 100))
@example("a", 0, False, Link(LinkKind.SYMBOLIC, "t" * 101))
def test_tarfile_reads_headers(name: str, size: int, executable: bool, link: Link | None) -> None:
    """Any name, size and link comes back from tarfile, root-owned and nameless."""
    info = read(Member(name, size, executable, link=link))
    assert info.name == name
    assert info.linkname == (link.target if link else "")
    assert info.size == (0 if link else size)
    assert info.issym() == (link is not None and link.kind is LinkKind.SYMBOLIC)
    assert info.islnk() == (link is not None and link.kind is LinkKind.HARD)
    assert info.mode == (0o777 if info.issym() else 0o755 if executable else 0o644)
    assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")
    assert info.mtime == MTIME


@given(ascii_names, st.integers(0, 8 * GIB - 1), st.booleans())
def test_ustar_is_what_tarfile_writes(name: str, size: int, executable: bool) -> None:
    """Where ustar suffices, the header is byte for byte tarfile's, with no pax records."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, MTIME, 0o755 if executable else 0o644
    try:
        theirs = info.tobuf(tarfile.USTAR_FORMAT)
    except ValueError:  # the name is too long to be split
        assert len(tar.header(Member(name, size, executable), MTIME)) > 512
        return
    ours = tar.header(Member(name, size, executable), MTIME)
    assert ours == theirs
    assert tarfile.TarInfo.frombuf(ours, "utf-8", "strict").name == name


@pytest.mark.parametrize(
    ("member", "mtime", "records"),
    [
        (Member("a/b", 1, False), 0, None),
        (Member("p" * 155 + "/" + "n" * 100, 8 * GIB - 1, True), 8**11 - 1, None),
        (Member("é", 1, False), 0, "11 path=é\n"),
        (Member("n" * 101, 1, False), 0, "111 path=" + "n" * 101 + "\n"),
        (Member("n" * 90 + "ö" * 6, 1, False), 0, "112 path=" + "n" * 90 + "ö" * 6 + "\n"),
        (Member("a", 8 * GIB, False), 0, "19 size=8589934592\n"),
        (Member("a", 0, False), -1, "12 mtime=-1\n"),
        (Member("a", 0, False), 8**11, "20 mtime=8589934592\n"),
        (
            Member("a", 0, False, link=Link(LinkKind.HARD, "é")),
            0,
            "15 linkpath=é\n",
        ),
    ],
)
def test_pax_records_only_when_needed(member: Member, mtime: int, records: str | None) -> None:
    """Pax records say exactly what ustar cannot; their lengths count themselves."""
    data = tar.header(member, mtime)
    if records is None:
        assert len(data) == 512
        return
    size = len(records.encode())
    assert data[156:157] == b"x"
    assert int(data[124:135], 8) == size
    assert data[512 : 512 + size].decode() == records
    assert not data[512 + size : -512].strip(b"\x00")
    assert int(records.split(" ", maxsplit=1)[0]) == size


@pytest.mark.parametrize("length", range(88, 104))
def test_pax_length_counts_its_own_digits(length: int) -> None:
    """Where the length gains a digit, it is still that of the record."""
    record = tar._pax_record(b"path", b"x" * length)
    assert int(record.split(b" ")[0]) == len(record)


def test_pax_length_around_every_power_of_ten() -> None:
    """No value's length makes a record whose length field is off."""
    for length in range(1200):
        record = tar._pax_record(b"path", b"x" * length)
        assert int(record.split(b" ")[0]) == len(record)


def test_utf8_is_in_the_ustar_name_too() -> None:
    """A reader that ignores pax records still finds the UTF-8 name, if it fits."""
    assert tar.header(Member("lib/é", 0, False), 0)[-512:].startswith("lib/é\x00".encode())


def test_names_that_are_no_utf8() -> None:
    """Bytes that are no UTF-8 come back as they were, and the header says so."""
    member = Member("lib/\udcff.py", 0, False)
    assert b"21 hdrcharset=BINARY\n" in tar.header(member, 0)
    assert read(member).name == "lib/\udcff.py"


def test_headers_tell_nothing_of_the_machine() -> None:
    """Two members of one name and size have one header wherever it is made."""
    data = tar.header(Member("é" * 200, 5, False), 0)
    assert data.count(b"0000000\x00" * 2) == 2
    assert b"PaxHeaders" not in data


def test_end_of_archive() -> None:
    """An archive ends with two zero blocks and is a multiple of 10240 bytes."""
    for size in (0, 1, 512, 8704, 8705, 9216, 9217, 20480):
        member = Member("a", size, False, [b"x" * size] if size else [])
        data = b"".join(tar.ended(tar.pieces([member], 0)))
        assert len(data) % 10240 == 0
        assert len(data) - len(data.rstrip(b"\x00")) >= 1024
