"""Reading back notices damage, and reads what others wrote."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from envpack.archive import FORMATS, format_named
from envpack.archive.read import members
from envpack.model import Format, Link, LinkKind, Member
from envpack.parallel import Pool

FILES = [form for form in FORMATS if not form.folder]
CHECKED = [form for form in FILES if form.name != "tar"]
DAMAGE = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


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
    with pytest.raises(DAMAGE):
        read(cut)


@pytest.mark.parametrize("form", CHECKED, ids=lambda form: form.name)
def test_a_changed_byte_is_noticed(form: Format, tmp_path: Path) -> None:
    """A byte changed in the middle of the content raises wherever there is a checksum."""
    from zstandard import ZstdError

    data = bytearray(write(tmp_path / "whole", form).read_bytes())
    data[len(data) // 3] ^= 0x55
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises((*DAMAGE, ZstdError)):
        read(tmp_path / "bad")


@pytest.mark.parametrize("form", CHECKED, ids=lambda form: form.name)
def test_a_changed_checksum_is_noticed(form: Format, tmp_path: Path) -> None:
    """The checksum is compared after the last member, though tar's own end comes before it."""
    from zstandard import ZstdError

    data = bytearray(write(tmp_path / "whole", form).read_bytes())
    at = data.rindex(b"PK\x01\x02") + 16 if form.name == "zip" else len(data) - 5
    at = len(data) - 2 if form.name == "tar.zst" else at
    data[at] ^= 0x55
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises((*DAMAGE, ZstdError)):
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
    import zstandard

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
