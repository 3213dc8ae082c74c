"""Every format keeps the same promises."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from envpack.archive import FORMATS, format_for, format_named
from envpack.archive.read import members as stored
from envpack.errors import UsageError
from envpack.kept import Packed, Seam
from envpack.model import Format, Item, Link, LinkKind, Member
from envpack.parallel import Pool

MTIME = 1_600_000_000
KIB = 1024
MIB = 1024 * KIB
CUT = MIB


class File(NamedTuple):
    """A member as a test states it."""

    data: bytes = b""
    executable: bool = False
    link: Link | None = None

    def mode(self) -> int:
        """Return the mode that any archive must give it."""
        if self.link and self.link.kind is LinkKind.SYMBOLIC:
            return 0o777
        return 0o755 if self.executable else 0o644


def _long(length: int, part: int) -> str:
    """Return a path of `length` characters whose components have at most `part`."""
    path = "/".join(["d" * part] * (length // part + 1))[:length]
    return path[:-1] + "x"


RANDOM = random.Random(1)  # no secret
NOISE = RANDOM.randbytes(2 * MIB)
FILES: dict[str, File] = {
    "bin/python": File(b"\x7fELF" + NOISE[: 40 * KIB], executable=True),
    "lib/empty.py": File(),
    "lib/one.py": File(b"x"),
    "lib/record": File(b"r" * 512),
    "lib/block": File(NOISE[: 512 * KIB]),
    "lib/blocks": File((b"two blocks of text\n" * 60_000)[:MIB]),
    "lib/ünïcödé/日本語.txt": File("grüße".encode()),
    "lib/emoji-🐍.py": File(b"print('snake')\n" * 99),
    "share/with space/a b.txt": File(b"spaces\n"),
    _long(200, 60): File(b"200, can be split"),
    "n/" + "n" * 198: File(b"200, cannot be split"),
    _long(300, 90): File(b"300"),
    "ü" * 100 + "/" + "ß" * 100: File(b"200 characters, 401 bytes"),
    "lib/big": File(NOISE + b"a line that comes again and again\n" * 400_000 + NOISE * 2),
    "lib/libx.so.1": File(b"\x7fELF" + b"\x00" * 5000),
}
assert len(FILES["lib/big"].data) > 18 * MIB
assert len(FILES["lib/blocks"].data) == MIB
HARD: dict[str, File] = {
    "bin/python3": File(executable=True, link=Link(LinkKind.HARD, "bin/python")),
    "hard": File(link=Link(LinkKind.HARD, "n/" + "n" * 198)),
    "härter": File(link=Link(LinkKind.HARD, "lib/ünïcödé/日本語.txt")),
}
SYMBOLIC: dict[str, File] = {
    "lib/libx.so": File(link=Link(LinkKind.SYMBOLIC, "libx.so.1")),
    "lib/long": File(link=Link(LinkKind.SYMBOLIC, "../" + _long(200, 60))),
    "lib/weich": File(link=Link(LinkKind.SYMBOLIC, "ünïcödé/日本語.txt")),
}


def sample(form: Format) -> dict[str, File]:
    """Return all the files and links that `form` can hold."""
    return FILES | (HARD if form.hardlinks else {}) | (SYMBOLIC if form.symlinks else {})


def resolved(files: dict[str, File]) -> dict[str, File]:
    """Return what unpacking gives: hard links have become files."""
    result = dict(files)
    for name, file in files.items():
        if file.link and file.link.kind is LinkKind.HARD:
            target = files[file.link.target]
            result[name] = File(target.data, target.executable)
    return result


def cut(data: bytes, length: int) -> Iterator[bytes]:
    """Yield `data` in blocks of `length` bytes."""
    for start in range(0, len(data), length):
        yield data[start : start + length]


def as_members(files: dict[str, File], length: int = CUT) -> Iterator[Member]:
    """Yield members; each one's blocks must be taken before the next member is."""
    for name, file in files.items():
        if file.link:
            yield Member(name, 0, file.executable, link=file.link)
            continue
        blocks = cut(file.data, length)
        yield Member(name, len(file.data), file.executable, blocks)
        assert next(blocks, None) is None, f"{name} was left before its end"


def write(
    form: Format,
    target: Path,
    members: Iterator[Item],
    jobs: int = 2,
    level: int | None = None,
) -> Path:
    """Write `members` and return `target`."""
    with Pool(jobs) as pool:
        form.write(members, str(target), level=level, mtime=MTIME, pool=pool)
    return target


def tree(root: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return mode and content, or link text, of everything below `root`."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for folder, names, files in os.walk(root):
        for each in names + files:
            path = Path(folder, each)
            mode = stat.S_IMODE(path.lstat().st_mode)
            name = path.relative_to(root).as_posix()
            if path.is_symlink():
                found[name] = 0o777, os.readlink(path)
            elif path.is_file():
                found[name] = mode, path.read_bytes()
    return found


def expected(files: dict[str, File]) -> dict[str, tuple[int, bytes | str]]:
    """Return what `tree` gives for `files` unpacked."""
    return {
        name: (file.mode(), file.link.target if file.link else file.data)
        for name, file in resolved(files).items()
    }


each_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
FILE_FORMATS = [form for form in FORMATS if not form.folder]
each_file_format = pytest.mark.parametrize("form", FILE_FORMATS, ids=lambda form: form.name)


def once(folder: Path) -> Callable[[Format], Path]:
    """Return a function that gives the sample in a format, written at most once to `folder`."""
    done: dict[str, Path] = {}

    def of(form: Format) -> Path:
        if form.name not in done:
            target = folder / f"sample.{form.name}"
            done[form.name] = write(form, target, as_members(sample(form)))
        return done[form.name]

    return of


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Format], Path]:
    """Return a function that gives the sample in a format, written once."""
    return once(tmp_path_factory.mktemp("written"))


# The registry


def test_names_and_suffixes_are_unique() -> None:
    """No two formats share a name or a suffix."""
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert len({form.name for form in FORMATS}) == len(FORMATS)


@each_format
def test_found_by_name_and_suffix(form: Format) -> None:
    """A format is found by its name and by each of its suffixes, in any case."""
    assert format_named(form.name) is form
    for suffix in form.suffixes:
        assert format_for(f"/a.zip/env-1.0{suffix}") is form
        assert format_for(f"ENV{suffix.upper()}") is form


@pytest.mark.parametrize("path", ["env", "env.rar", "env.gz", "env.tar.xz", "zip", ".tar.gz/x", ""])
def test_unknown_suffix_names_the_choices(path: str) -> None:
    """A suffix of no format is a usage error that names all suffixes and formats."""
    with pytest.raises(UsageError, match=r"which format") as caught:
        format_for(path)
    assert caught.value.hint
    assert all(f"`{s}`" in caught.value.hint for form in FORMATS for s in form.suffixes)
    assert "`dir`" in caught.value.hint


def test_unknown_name_names_the_choices() -> None:
    """A name of no format is a usage error that names all of them."""
    with pytest.raises(UsageError, match="no format `rar`") as caught:
        format_named("rar")
    assert caught.value.hint == "the formats are `tar.gz`, `tar.zst`, `tar`, `zip`, `dir`"


def test_engines_are_imported_late() -> None:
    """Importing the formats imports no compression library: start-up does not pay for them."""
    code = (
        "import sys, envpack.archive, envpack.archive.read;"
        "print({'zstandard', 'zlib_ng', 'deflate'} & set(sys.modules))"
    )
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"


# What every format promises


@pytest.mark.smoke
@each_format
def test_round_trip(form: Format, written: Callable[[Format], Path]) -> None:
    """Names, order, modes, contents and links come back as they went in."""
    files = sample(form)
    if form.folder:
        files = resolved(files)
    found: dict[str, File] = {}
    for each in stored(str(written(form))):
        data = each.data.read()
        assert len(data) == each.size
        file = files[each.name]
        assert each.mode == file.mode(), each.name
        found[each.name] = File(data, file.executable, each.link)
    assert found == files
    if not form.folder:
        assert list(found) == list(files)


@pytest.mark.smoke
@each_format
def test_same_bytes_for_any_jobs_and_cuts(
    form: Format, written: Callable[[Format], Path], tmp_path: Path
) -> None:
    """Neither the number of workers nor how members were cut into blocks changes a byte."""
    first = written(form)
    for jobs, length in ((1, MIB), (7, 100_003)):
        again = tmp_path / f"{jobs}"
        write(form, again, as_members(sample(form), length), jobs=jobs)
        if form.folder:
            assert tree(again) == tree(first)
        else:
            assert again.read_bytes() == first.read_bytes()


@each_format
def test_no_members_at_all(form: Format, tmp_path: Path) -> None:
    """An archive of nothing is an archive."""
    assert list(stored(str(write(form, tmp_path / "none", iter(()))))) == []


@each_format
@pytest.mark.parametrize("off", [-1, 1])
@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_wrong_size_is_an_error(form: Format, off: int, size: int, tmp_path: Path) -> None:
    """Blocks that do not sum to the member's size never become an archive."""
    member = Member("a", size + off, executable=False, blocks=cut(bytes(size), MIB))
    with pytest.raises(RuntimeError, match="`a` do not sum to"):
        write(form, tmp_path / "out", iter([member]))


@each_format
def test_what_exists_is_not_overwritten(form: Format, tmp_path: Path) -> None:
    """Writing to a name that exists raises FileExistsError and leaves it alone."""
    target = tmp_path / "out"
    target.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        write(form, target, iter(()))
    assert target.read_bytes() == b"precious"


@each_format
def test_os_errors_pass(form: Format, tmp_path: Path) -> None:
    """An OSError while blocks are made reaches the caller as it is, and nothing hangs."""

    def blocks() -> Iterator[bytes]:
        yield bytes(MIB)
        raise OSError(28, "No space left on device")

    member = Member("a", 9 * MIB, executable=False, blocks=blocks())
    with pytest.raises(OSError, match="No space left") as caught:
        write(form, tmp_path / "out", iter([member]))
    assert caught.value.errno == 28


@each_file_format
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full: disk full not checked")
def test_disk_full(form: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is an OSError."""
    real = open

    def full(_path: object, mode: str, buffering: int = -1) -> object:
        return real("/dev/full", mode.replace("x+", "x").replace("x", "w"), buffering)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space left"):
        write(form, tmp_path / "out", as_members(FILES))


@pytest.mark.parametrize("form", [f for f in FORMATS if f.engine(None)], ids=lambda f: f.name)
def test_runs_stand_for_themselves(form: Format, tmp_path: Path) -> None:
    """What was made of a run is the same wherever it stands, and can be copied in its place."""
    files = sample(form)
    names = list(files)
    runs = [names[start : start + 3] for start in range(0, len(names), 3)]
    kept: dict[int, tuple[bytes, dict[str, object]]] = {}

    def keep(index: int, packed: Packed) -> None:
        kept[index] = (os.pread(packed.descriptor, packed.size, packed.start), packed.facts)

    def items(copied: set[int], shift: int = 0) -> Iterator[Item]:
        for index, run in enumerate(runs):
            if index in copied:
                data, facts = kept[index]
                place = tmp_path / f"kept{index}"
                place.write_bytes(b"x" * shift + data)
                descriptor = os.open(place, os.O_RDONLY)
                release = partial(os.close, descriptor)
                yield Packed(descriptor, shift, shift + len(data), facts, release)
                continue
            yield from as_members({name: files[name] for name in run})
            yield Seam(partial(keep, index))

    whole = write(form, tmp_path / "whole", items(set())).read_bytes()
    assert len(kept) == len(runs)
    for number, copied in enumerate(({0}, {1, 3}, {len(runs) - 1}, set(range(len(runs))))):
        again = write(form, tmp_path / f"again{number}", items(copied, number * 7))
        assert again.read_bytes() == whole, copied
    facts = json.loads(json.dumps([facts for _, facts in kept.values()]))
    assert facts == [facts for _, facts in kept.values()]


@each_format
def test_umask(form: Format, tmp_path: Path) -> None:
    """The umask decides an archive's mode, and nothing below an unpacked directory."""
    before = os.umask(0o077)
    try:
        target = write(form, tmp_path / "out", as_members(sample(form)))
    finally:
        os.umask(before)
    if form.folder:
        assert tree(target) == expected(sample(form))
        assert {stat.S_IMODE(os.stat(d).st_mode) for d, _, _ in os.walk(target)} == {0o755}
    else:
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


@each_format
def test_levels(form: Format, tmp_path: Path) -> None:
    """Every level reads back; 9 is smaller than the default, and that than 1, if they differ."""
    files = {name: FILES[name] for name in ("lib/blocks", "lib/ünïcödé/日本語.txt")}
    text = "".join(f"{RANDOM.random():.3f} is a number\n" for _ in range(20_000)).encode()
    files["text"] = File(text)
    sizes = []
    for level in range(1, 10):
        target = write(form, tmp_path / f"{level}", as_members(files), level=level)
        assert {each.name: each.data.read() for each in stored(str(target))} == {
            name: file.data for name, file in files.items()
        }
        sizes.append(target.stat().st_size)
    assert (sizes[8] < sizes[3] < sizes[0]) is form.levels
    assert write(form, tmp_path / "default", as_members(files)).stat().st_size == sizes[3]


@each_format
def test_memory_does_not_grow_with_the_archive(form: Format, tmp_path: Path) -> None:
    """100 MiB in small and large members pass through in less than 48 MiB."""

    def members() -> Iterator[Member]:
        for number in range(20):
            size = (2 + 6 * (number % 2)) * MIB + number
            blocks = (bytes(min(MIB, size - at)) for at in range(0, size, MIB))
            yield Member(f"{number}", size, executable=False, blocks=blocks)

    with Pool(2) as pool:
        tracemalloc.start()
        form.write(members(), str(tmp_path / "out"), level=1, mtime=0, pool=pool)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 48 * MIB


# The directory


def test_directory_times_and_links(written: Callable[[Format], Path]) -> None:
    """Every file, link and directory has the plan's mtime; hard links share one inode."""
    root = written(format_named("dir"))
    paths = [root, *root.rglob("*")]
    assert {path.lstat().st_mtime for path in paths} == {MTIME}
    assert (root / "bin/python").stat().st_ino == (root / "bin/python3").stat().st_ino
    assert (root / "bin/python").stat().st_mode & 0o777 == 0o755


def test_zip_refuses_hard_links(tmp_path: Path) -> None:
    """A hard link given to a zip is a bug of the caller, not a file lost."""
    member = Member("a", 0, executable=False, link=Link(LinkKind.HARD, "b"))
    with pytest.raises(RuntimeError, match="cannot hold `a` as a hard link"):
        write(format_named("zip"), tmp_path / "out", iter([member]))
