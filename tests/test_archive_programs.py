"""Other programs, and Python's own modules, read what the formats wrote."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from envpack.archive import FORMATS, format_named
from envpack.model import Format
from tests.judges import needed
from tests.test_formats import MTIME, expected, once, sample, tree

TAR_FORMATS = [form for form in FORMATS if form.name.startswith("tar")]
each_tar = pytest.mark.parametrize("form", TAR_FORMATS, ids=lambda form: form.name)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Format], Path]:
    """Return a function that gives the sample in a format, written once."""
    return once(tmp_path_factory.mktemp("written"))


def run(reason: str, *command: str | Path) -> str:
    """Run a program and return what it printed; skip, saying what was not checked, without it."""
    needed(str(command[0]), reason)
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, check=False, env=env)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return done.stdout.decode(errors="replace")


# Python's own readers


@each_tar
def test_tarfile(form: Format, written: Callable[[Format], Path], tmp_path: Path) -> None:
    """Python's tarfile sees root without names, one mtime, files and links only, and no `./`."""
    plain = unzst(written(form), tmp_path)
    with tarfile.open(plain) as archive:
        infos = archive.getmembers()
        if hasattr(tarfile, "fully_trusted_filter"):  # Debian's 3.11.2 has no filters yet
            archive.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
        archive.extractall(tmp_path / "out")
    assert {(i.uid, i.gid, i.uname, i.gname, i.mtime) for i in infos} == {(0, 0, "", "", MTIME)}
    assert [i.name for i in infos] == list(sample(form))
    assert all(i.isreg() or i.islnk() or i.issym() for i in infos)
    assert all(i.size == 0 for i in infos if i.islnk() or i.issym())
    assert tree(tmp_path / "out") == expected(sample(form))


def unzst(path: Path, folder: Path) -> Path:
    """Return `path`, or what it holds if it is a .zst."""
    if not path.name.endswith(".zst"):
        return path
    import zstandard

    plain = folder / "plain.tar"
    with path.open("rb") as source, plain.open("wb") as target:
        zstandard.ZstdDecompressor().copy_stream(source, target)
    return plain


def test_zipfile(written: Callable[[Format], Path]) -> None:
    """Python's zipfile sees Unix files with their modes, UTC times and no data descriptors."""
    with zipfile.ZipFile(written(format_named("zip"))) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
    files = sample(format_named("zip"))
    assert [i.filename for i in infos] == list(files)
    assert {i.create_system for i in infos} == {3}
    assert {i.date_time for i in infos} == {(2020, 9, 13, 12, 26, 40)}
    for info in infos:
        file = files[info.filename]
        kind = stat.S_IFLNK if file.link else stat.S_IFREG
        assert info.external_attr == (kind | file.mode()) << 16
        assert info.flag_bits == (0 if info.filename.isascii() else 0x800)
        assert info.extra == b""
        assert info.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
        assert info.compress_size <= info.file_size + 200


def test_gzip_is_one_member(written: Callable[[Format], Path]) -> None:
    """A decoder that stops after the first gzip member has read everything."""
    engine = zlib.decompressobj(31)
    data = engine.decompress(written(format_named("tar.gz")).read_bytes())
    assert engine.eof
    assert engine.unused_data == b""
    assert len(data) % 10240 == 0
    assert data.endswith(bytes(1024))


def test_gzip_header_tells_nothing(written: Callable[[Format], Path]) -> None:
    """The gzip header holds no name, no time and no operating system."""
    head = written(format_named("tar.gz")).read_bytes()[:10]
    assert head == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_compressed_tars_hold_the_plain_one(
    written: Callable[[Format], Path], tmp_path: Path
) -> None:
    """tar.gz and tar.zst are the bytes of tar, compressed."""
    plain = written(format_named("tar")).read_bytes()
    assert unzst(written(format_named("tar.zst")), tmp_path).read_bytes() == plain
    assert zlib.decompress(written(format_named("tar.gz")).read_bytes(), 31) == plain


# Other programs


@pytest.mark.smoke
@each_tar
@pytest.mark.parametrize("program", [("tar",), ("busybox", "tar")], ids=["gnu", "busybox"])
def test_tar_programs(
    program: tuple[str, ...], form: Format, written: Callable[[Format], Path], tmp_path: Path
) -> None:
    """GNU tar and busybox tar list the names in order and unpack files, modes and links."""
    why = "that it unpacks our tar"
    plain = unzst(written(form), tmp_path)
    (tmp_path / "out").mkdir()
    gz = "z" if form.name == "tar.gz" else ""
    run(why, *program, f"-xp{gz}f", plain, "-C", tmp_path / "out")
    assert tree(tmp_path / "out") == expected(sample(form))
    if program == ("tar",):
        names = run(why, "tar", "--quoting-style=literal", "-tf", plain).splitlines()
        assert names == list(sample(form))
        owners = run(why, "tar", "-tvf", plain).splitlines()
        assert {line.split()[1] for line in owners} == {"0/0"}


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("tar.gz", ("gzip", "-t")),
        ("tar.gz", ("pigz", "-t")),
        ("tar.gz", ("busybox", "gzip", "-t")),
        ("tar.zst", ("zstd", "-t", "-q")),
        ("zip", ("unzip", "-tqq")),
        ("zip", ("zip", "-Tq")),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_programs_find_nothing_wrong(
    name: str, command: tuple[str, ...], written: Callable[[Format], Path]
) -> None:
    """The usual programs test our archives and say nothing."""
    run(f"that it accepts our {name}", *command, written(format_named(name)))


@pytest.mark.parametrize(
    "program", [("unzip", "-qq"), ("busybox", "unzip", "-q")], ids=["infozip", "busybox"]
)
def test_unzip_programs(
    program: tuple[str, ...], written: Callable[[Format], Path], tmp_path: Path
) -> None:
    """Info-ZIP and busybox unpack files, modes and symbolic links."""
    form = format_named("zip")
    (tmp_path / "out").mkdir()
    run("that it unpacks our zip", *program, written(form), "-d", tmp_path / "out")
    assert tree(tmp_path / "out") == expected(sample(form))
