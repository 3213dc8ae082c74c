"""Reading back notices damage, and reads what others wrote."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from envpack.archive import FORMATS, format_named
from envpack.archive import read as read_module
from envpack.archive.read import ArchiveFault, members
from envpack.archive.unpack import unpack
from envpack.core_metadata import core_metadata
from envpack.model import Format, Link, LinkKind, Member
from envpack.parallel import Pool
from envpack.python_archive import read_archive

FILES = [form for form in FORMATS if not form.folder]
CHECKED = [form for form in FILES if form.name != "tar"]


def write(target: Path, form: Format) -> Path:
    """Write two members and return `target`."""
    text = b"some text that shrinks\n" * 5000
    both = [Member(name, len(text), False, [text]) for name in ("a", "b/c")]
    with Pool(1) as pool:
        form.write(both, str(target), level=None, mtime=0, pool=pool)
    return target


def read(path: Path) -> dict[str, bytes]:
    """Return names and contents."""
    return {each.name: each.data.read() for each in members(str(path))}


@pytest.mark.parametrize("form", FILES, ids=lambda form: form.name)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.999])
def test_a_cut_archive_is_noticed(form: Format, part: float, tmp_path: Path) -> None:
    """An archive that ends early raises, also if only its last bytes are missing."""
    data = write(tmp_path / "whole", form).read_bytes()
    cut = tmp_path / "cut"
    kept = data.rstrip(b"\x00") if form.name == "tar" else data
    cut.write_bytes(kept[: min(int(len(kept) * part), len(kept) - 1)])
    with pytest.raises(ArchiveFault, match="is damaged"):
        read(cut)


@pytest.mark.parametrize("form", CHECKED, ids=lambda form: form.name)
def test_a_changed_byte_is_noticed(form: Format, tmp_path: Path) -> None:
    """A byte changed in the middle of the content raises wherever there is a checksum."""
    data = bytearray(write(tmp_path / "whole", form).read_bytes())
    data[len(data) // 3] ^= 0x55
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(ArchiveFault, match="is damaged"):
        read(tmp_path / "bad")


@pytest.mark.parametrize("form", CHECKED, ids=lambda form: form.name)
def test_a_changed_checksum_is_noticed(form: Format, tmp_path: Path) -> None:
    """The checksum is compared after the last member, though tar's own end comes before it."""
    data = bytearray(write(tmp_path / "whole", form).read_bytes())
    at = data.rindex(b"PK\x01\x02") + 16 if form.name == "zip" else len(data) - 5
    at = len(data) - 2 if form.name == "tar.zst" else at
    data[at] ^= 0x55
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(ArchiveFault, match="is damaged"):
        read(tmp_path / "bad")


def test_several_gzip_members_and_directories(tmp_path: Path) -> None:
    """What others wrote is read: several gzip members, entries for directories."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        folder = tarfile.TarInfo("./d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        info = tarfile.TarInfo("d/f")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    data = held.getvalue()
    (tmp_path / "t").write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))
    assert read(tmp_path / "t") == {"d/f": b"abc"}
    with zipfile.ZipFile(tmp_path / "z", "w") as other:
        other.mkdir("d")
        other.writestr("d/f", b"abc")
    assert read(tmp_path / "z") == {"d/f": b"abc"}


def test_several_zstd_frames(tmp_path: Path) -> None:
    """A tar in several zstd frames, as pzstd writes it, is read to its end."""
    data = write(tmp_path / "tar", format_named("tar")).read_bytes()
    engine = zstandard.ZstdCompressor()
    frames = [engine.compress(data[:70_000]), engine.compress(data[70_000:])]
    (tmp_path / "t").write_bytes(b"".join(frames))
    assert set(read(tmp_path / "t")) == {"a", "b/c"}


def test_directory_links(tmp_path: Path) -> None:
    """Links to directories are links, and not followed."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"x")
    (tmp_path / "e").symlink_to("d")
    found = {each.name: each.link for each in members(str(tmp_path))}
    assert found == {"d/f": None, "e": Link(LinkKind.SYMBOLIC, "d")}


# ---- what nobody wrote in good faith


def packed(folder: Path, kind: str, files: dict[str, bytes], method: int = 8) -> Path:
    """Write files into an archive of any kind, whatever its suffix."""
    path = folder / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", method) as other:
            for name, data in files.items():
                other.writestr(name, data)
        return path
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    ways: dict[str, Callable[[bytes], bytes]] = {
        "tar": bytes,
        "tar.gz": gzip.compress,
        "tar.zst": zstandard.compress,
        "tar.bz2": bz2.compress,
        "tar.xz": lzma.compress,
    }
    path.write_bytes(ways[kind](held.getvalue()))
    return path


KINDS = ("zip", "tar", "tar.gz", "tar.zst", "tar.bz2", "tar.xz")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tar"])
def test_a_bomb_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a bound comes out of no archive, nor is it unpacked; as much as the bound does."""
    monkeypatch.setattr(read_module, "_FLOOR", 4 << 20)
    path = packed(tmp_path, kind, {f"d/{number}": bytes(1 << 20) for number in range(3)})
    assert sum(each.size for each in members(str(path))) == 3 << 20
    path = packed(tmp_path, kind, {f"d/{number}": bytes(1 << 20) for number in range(12)})
    with pytest.raises(ArchiveFault, match=rf"^`a\.{kind}` is refused: it unpacks to more than"):
        list(members(str(path)))
    with pytest.raises(ArchiveFault, match="is refused: it unpacks to more than"):
        unpack(str(path), str(tmp_path / "T"))
    assert sum(each.stat().st_size for each in (tmp_path / "T").rglob("*")) <= 6 << 20


def test_a_bomb_behind_the_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows tar's end is read for the checksum, and not without a bound."""
    monkeypatch.setattr(read_module, "_FLOOR", 1 << 20)
    path = packed(tmp_path, "tar.gz", {"a": b"a"})
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(8 << 20)))
    with pytest.raises(ArchiveFault, match="is refused: it unpacks to more than"):
        list(members(str(path)))


@pytest.mark.smoke  # tarfile's inside differs from one patch of Python to another
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"Z"])
def test_a_header_of_any_length_is_refused(kind: bytes, tmp_path: Path) -> None:
    """A long name is read at once, so it may not be longer than any name is."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 64 << 20
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf() + bytes(64 << 20))
    wanted = "`a.tar` is damaged: a header of impossible size"
    if kind == b"Z":  # of which nothing is read
        wanted = "`a.tar` is refused: its `x` is neither a file nor a link"
    with pytest.raises(ArchiveFault, match=re.escape(wanted)):
        list(members(str(path)))


@pytest.mark.smoke
@pytest.mark.parametrize("length", [100, 512, 1000])
@pytest.mark.parametrize("change", ["flipped", "cut"])
def test_a_header_that_makes_no_sense_is_not_the_end(
    length: int, change: str, tmp_path: Path
) -> None:
    """A plain tar has no checksum over all, but each header has one; a part of one is none."""
    path = packed(tmp_path, "tar", {"a": b"a" * length, "b": b"b"})
    data = bytearray(path.read_bytes())
    second = 512 + -(-length // 512) * 512
    if change == "cut":
        del data[second + 300 :]
    else:
        data[second] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveFault, match=r"`a\.tar` is damaged: a header makes no sense"):
        list(members(str(path)))


def test_a_tar_may_end_without_an_end(tmp_path: Path) -> None:
    """Some leave out the two blocks of zeros; whoever reads knows all members anyway."""
    path = packed(tmp_path, "tar", {"a": b"a", "b": b"b"})
    path.write_bytes(path.read_bytes()[:2048])
    assert [member.name for member in members(str(path))] == ["a", "b"]


def test_what_tarfile_itself_is_asked_for(tmp_path: Path) -> None:
    """No header is read by a method that another Python may not call: what it reads is watched."""
    large = 5 << 20
    path = packed(tmp_path, "tar", {"a": b"a" * large, "b" * 200: b"b", "c": b""})
    asked = [
        (member.name, len(member.data.read(3 << 20)), len(member.data.read()))
        for member in members(str(path))
    ]
    assert asked == [("a", 3 << 20, 2 << 20), ("b" * 200, 1, 0), ("c", 0, 0)]


def changed(path: Path, offset: int, word: int) -> Path:
    """Change a field of two bytes in both headers of a zip's only member."""
    data = bytearray(path.read_bytes())
    for start, at in ((0, offset - 2), (data.index(b"PK\x01\x02"), offset)):
        data[start + at : start + at + 2] = word.to_bytes(2, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("offset", "word", "said"),
    [
        (8, 1, "cannot read `a.zip`: it is encrypted"),
        (10, 99, "cannot read `a.zip`: That compression method is not supported"),
        (10, 14, "`a.zip` is damaged: "),
        (10, 12, "`a.zip` is damaged: "),
    ],
)
@pytest.mark.parametrize("name", ["a-1/PKG-INFO", "a/include/patchlevel.h"])
def test_zips_of_other_kinds(name: str, offset: int, word: int, said: str, tmp_path: Path) -> None:
    """Encrypted members, unknown methods, and lzma or bzip2 that is none: each door says so."""
    path = changed(packed(tmp_path, "zip", {name: b"some text " * 50}), offset, word)
    reader: Callable[[str], object] = core_metadata if "PKG" in name else read_archive
    for way in (reader, lambda path: unpack(path, str(tmp_path / "T"))):
        with pytest.raises(ArchiveFault) as caught:
            way(str(path))
        assert str(caught.value).startswith(said)


def test_what_is_read_whole_is_short(tmp_path: Path) -> None:
    """Metadata of 17 MB and a patchlevel.h of 2 MB are no such files."""
    path = packed(tmp_path, "zip", {"a-1.dist-info/METADATA": bytes(17 << 20)})
    wheel = path.rename(tmp_path / "a-1-py3-none-any.whl")
    with pytest.raises(ArchiveFault) as caught:
        core_metadata(str(wheel))
    assert str(caught.value) == (
        "`a-1-py3-none-any.whl` is refused: its `a-1.dist-info/METADATA` has more than"
        " 16,777,216 bytes"
    )
    path = packed(tmp_path, "tar.gz", {"p/include/python3.12/patchlevel.h": bytes(2 << 20)})
    with pytest.raises(ArchiveFault, match=r"patchlevel\.h` has more than 1,048,576 bytes"):
        read_archive(str(path))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from((0, 8, 12, 14)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0.1, 1),
)
def test_damage_is_one_kind_of_fault(
    kind: str, method: int, places: list[tuple[float, int]], kept: float
) -> None:
    """Whatever bytes change, an archive is read or refused, and no other exception comes out."""
    with TemporaryDirectory() as scratch:
        files = {"d/one": b"one " * 99, "d/two": bytes(range(256)) * 9}
        path = packed(Path(scratch), kind, files, method)
        data = bytearray(path.read_bytes())
        for where, byte in places:
            data[int(where * len(data))] = byte
        path.write_bytes(data[: int(kept * len(data))])
        with suppress(ArchiveFault):
            read(path)
