"""The cache: whole entries or none, shared by processes, and the same archives with or without."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import envpack
from envpack import reading, rows
from envpack.bundled.holding import lock
from envpack.cache import Cache, Usage
from envpack.entries import Batch, Batches, EntryList, Piece
from envpack.kept import Packed
from envpack.libraries import Libraries
from envpack.model import Disk, Entry, Plan, Run, Summary
from envpack.report import PackReport
from envpack.rows import DigestList
from envpack.runs import Keeper, Outcome
from tests.shop import files
from tests.trees import FakeEnvironment, make_environment, write

OLD = 1_600_000_000
DATA = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(str(tmp_path / "cache"))


def keep(cache: Cache, names: str, key: str, data: bytes, tmp_path: Path) -> None:
    """Keep some bytes that lie in the middle of a file."""
    path = tmp_path / "archive"
    path.write_bytes(b"before" + data + b"after")
    with open(path, "rb") as file:
        cache.keep(names, key, Packed(file.fileno(), 6, 6 + len(data), {"crc": 7}))


def kept(cache: Cache, names: str, key: str) -> bytes | None:
    """Return the bytes of a run, None if it is not there."""
    packed = cache.run(names, key)
    if packed is None:
        return None
    data = os.pread(packed.descriptor, packed.size, packed.start)
    assert packed.facts == {"crc": 7}
    packed.release()
    return data


# ---- entries ---------------------------------------------------------------------------------


def test_kept_and_found(cache: Cache, tmp_path: Path) -> None:
    """What was kept comes back; another key, or another set of names, has nothing."""
    assert not cache.has_like("n")
    keep(cache, "n", "k", DATA, tmp_path)
    assert cache.has_like("n")
    assert kept(cache, "n", "k") == DATA
    assert kept(cache, "n", "other") is None
    assert kept(cache, "other", "k") is None


def test_each_damage_is_a_miss(cache: Cache, tmp_path: Path) -> None:
    """Every byte that flips, and every length that it is cut to."""
    keep(cache, "n", "k", DATA[:100], tmp_path)
    (path,) = Path(cache.folder).rglob("k")
    whole = path.read_bytes()
    for index in range(len(whole)):
        for damaged in (
            whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :],
            whole[:index],
        ):
            path.write_bytes(damaged)
            assert kept(cache, "n", "k") is None, index
    path.write_bytes(whole)
    assert kept(cache, "n", "k") == DATA[:100]


def test_an_entry_is_for_its_names_and_its_key(cache: Cache, tmp_path: Path) -> None:
    """Under the name of another, as a tool that copies may leave it, it is a miss."""
    keep(cache, "n", "k", DATA, tmp_path)
    cache.remember("k", {"a": 1})
    runs, known = Path(cache.folder) / "v2/runs", Path(cache.folder) / "v2/known"
    for place in ("n/other", "other/k"):
        (runs / place).parent.mkdir(exist_ok=True)
        shutil.copy(runs / "n/k", runs / place)
    shutil.copy(known / "k", known / "other")
    assert kept(cache, "n", "other") is None
    assert kept(cache, "other", "k") is None
    assert cache.recall("other") is None
    assert (kept(cache, "n", "k"), cache.recall("k")) == (DATA, {"a": 1})


def _as_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _as_endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _as_garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(500))


def _as_nothing(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = (_as_fifo, _as_folder, _as_dangling, _as_endless, _as_garbage, _as_nothing)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_entry_is_a_miss(
    cache: Cache, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Whatever has its name; a pipe is not waited for."""
    keep(cache, "n", "k", DATA, tmp_path)
    cache.remember("k", {"a": 1})
    for path in list(Path(cache.folder).rglob("k")):
        damage(path)
    assert (kept(cache, "n", "k"), cache.recall("k")) == (None, None)


def test_remembered(cache: Cache) -> None:
    """What is known comes back, but not if it is damaged, or not to be believed."""
    cache.remember("k", {"a": [1]})
    assert cache.recall("k") == {"a": [1]}
    assert cache.recall("other") is None
    assert replace(cache, known=False).recall("k") is None
    (path,) = Path(cache.folder).rglob("k")
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    assert cache.recall("k") is None


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Nothing is kept, and nothing is said."""
    (tmp_path / "file").touch()
    cache = Cache(str(tmp_path / "file" / "cache"))
    keep(cache, "n", "k", DATA, tmp_path)
    cache.remember("k", {})
    assert (cache.recall("k"), kept(cache, "n", "k")) == (None, None)
    assert (cache.usage(), cache.trim(), cache.clear()) == ((0, 0), (0, 0), (0, 0))


def test_the_least_recently_used_goes_first(cache: Cache, tmp_path: Path) -> None:
    """What was asked for lately stays."""
    for number in range(4):
        keep(cache, f"n{number}", "k", DATA, tmp_path)
        (path,) = (Path(cache.folder) / "v2/runs" / f"n{number}").iterdir()
        os.utime(path, (OLD + number, OLD + number))
    each = cache.usage().size // 4
    assert kept(cache, "n0", "k") == DATA
    assert cache.trim(2 * each) == Usage(2, 2 * each)
    assert [kept(cache, f"n{number}", "k") for number in range(4)] == [DATA, None, None, DATA]
    assert not cache.has_like("n1")
    assert cache.trim(2 * each) == Usage(0, 0)
    strange = Path(cache.folder) / "strange"
    strange.touch()
    assert cache.clear() == Usage(2, 2 * each)
    assert list(Path(cache.folder).iterdir()) == [strange]
    strange.unlink()
    cache.clear()
    assert not os.path.exists(cache.folder)


def test_what_was_left_half_written(cache: Cache, tmp_path: Path) -> None:
    """It is never found, not counted, and goes as soon as nobody writes it, whatever its age."""
    keep(cache, "n", "k", DATA, tmp_path)
    partial = Path(cache.folder) / "v2/runs/n/.part-1234"
    partial.write_bytes(DATA)
    os.utime(partial, (OLD, OLD))
    with open(partial, "rb") as file:
        assert lock(file.fileno())
        assert cache.usage().entries == 1
        assert partial.exists()
    assert cache.usage().entries == 1
    assert not partial.exists()


def test_what_is_being_written_stays(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry is held until it has its name."""
    replaced = os.replace

    def counted_first(source: str, target: str) -> None:
        assert cache.usage().entries == 0
        replaced(source, target)

    monkeypatch.setattr(os, "replace", counted_first)
    keep(cache, "n", "k", DATA, tmp_path)
    assert kept(cache, "n", "k") == DATA


# ---- whole packs -----------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path) -> FakeEnvironment:
    """An environment of several distributions, one with a path of this machine in it."""
    fake = make_environment(tmp_path)
    fake.install("six", "1.0", {"six.py": "x = 1\n" * 500})
    fake.install("noise", "2.0", {"noise/data.bin": random.Random(1).randbytes(3_000_000)})
    fake.install("paths", "3.0", {"paths/where.txt": f"{fake.root}/etc\n"})
    fake.add("bin/tool", f"#!{fake.root}/bin/python\nprint()\n", mode=0o755)
    aged(fake)
    return fake


def aged(fake: FakeEnvironment) -> None:
    """Wait until the files are so old that a change would show in their ctime."""
    latest = max(path.lstat().st_ctime for path in fake.project.parent.rglob("*"))
    time.sleep(max(0.0, latest + 2.05 - time.time()))


def packed(
    fake: FakeEnvironment, out: Path, cache: Cache | None, **words: object
) -> tuple[bytes, PackReport]:
    """Pack; return the archive's bytes, and the report but for its place."""
    report = envpack.pack(fake.root, out, cache=cache, force=True, **words)  # type: ignore[arg-type]
    return out.read_bytes(), replace(report, output="")


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_the_same_with_or_without(
    fake: FakeEnvironment, cache: Cache, tmp_path: Path, suffix: str
) -> None:
    """Bytes and report: no cache, a cold one, a warm, a half-warm, one that reads all again."""
    out = tmp_path / f"env{suffix}"
    plain = packed(fake, out, None)
    assert plain[1].leaks
    assert plain[1].edited
    assert packed(fake, out, cache) == plain
    entries = cache.usage().entries
    assert packed(fake, out, cache) == plain
    assert packed(fake, out, replace(cache, known=False)) == plain
    assert cache.usage().entries == entries
    runs = sorted((Path(cache.folder) / "v2/runs").rglob("*/*"))
    known = sorted((Path(cache.folder) / "v2/known").iterdir())
    for path in (*runs[::2], *known[::3]):
        path.unlink()
    assert packed(fake, out, cache) == plain
    for path in (Path(cache.folder) / "v2/runs").rglob("*/*"):
        path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    assert packed(fake, out, cache) == plain


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_whatever_is_wrong_with_an_entry(
    fake: FakeEnvironment, cache: Cache, tmp_path: Path, suffix: str
) -> None:
    """Entries that changed names, and what is none: the bytes are those of a pack without."""
    out, folder, whole = tmp_path / f"env{suffix}", Path(cache.folder), tmp_path / "whole"
    plain = packed(fake, out, None)
    packed(fake, out, cache)
    shutil.copytree(folder, whole)
    places = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    for kind in ("runs", "known"):
        some = [place for place in places if kind in place.parts]
        assert len(some) > 2
        for place, other in zip(some, [*some[1:], some[0]], strict=True):
            shutil.copy(whole / place, folder / other)
        assert packed(fake, out, cache) == plain
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
    for damage in DAMAGES:
        for place in places:
            damage(folder / place)
        assert packed(fake, out, cache) == plain, damage
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)


WRONG_FACTS = (
    {"digests": "00" * 40},
    {"digests": "no hex"},
    {"digests": None},
    {"edits": 3},
    {"leaks": [[1]]},
    {"leaks": None},
    {"names": None},
)


@pytest.mark.parametrize("wrong", WRONG_FACTS)
def test_what_is_known_is_looked_at(
    fake: FakeEnvironment, cache: Cache, tmp_path: Path, wrong: dict[str, object]
) -> None:
    """What another envpack remembered under the same key in another shape is not believed."""
    out = tmp_path / "env.tar.gz"
    plain = packed(fake, out, None)
    packed(fake, out, cache)
    for path in (Path(cache.folder) / "v2/known").iterdir():
        value = cache.recall(path.name)
        assert value is not None
        cache.remember(path.name, {**value, **wrong})
    assert packed(fake, out, cache) == plain


@pytest.mark.smoke
def test_a_warm_pack_reads_nothing(
    fake: FakeEnvironment, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that have not changed are not opened; a second environment shares what it can."""
    out = tmp_path / "env.tar.gz"
    aged(fake)
    packed(fake, out, cache)
    opened: list[str] = []
    real = reading._open

    def noted(disk: Disk) -> int:
        opened.append(disk.path)
        return real(disk)

    monkeypatch.setattr(reading, "_open", noted)
    packed(fake, out, cache)
    assert [path for path in opened if "/noise/" in path] == []
    (fake.site / "noise/data.bin").touch()
    packed(fake, out, cache)
    assert [path for path in opened if "/noise/" in path]
    aged(fake)
    before = cache.usage().entries
    other = make_environment(tmp_path / "other")
    other.install("noise", "2.0", {"noise/data.bin": random.Random(1).randbytes(3_000_000)})
    aged(other)
    packed(other, out, cache)
    runs = list((Path(cache.folder) / "v2/runs").rglob("*/*"))
    sizes = sorted(path.stat().st_size for path in runs)
    assert sum(size > 3_000_000 for size in sizes) == 1
    assert cache.usage().entries > before


def test_every_change_is_seen(fake: FakeEnvironment, cache: Cache, tmp_path: Path) -> None:
    """Other bytes of the same size and time, another mode, another name, another file."""
    out = tmp_path / "env.tar.gz"
    packed(fake, out, cache)
    path = fake.site / "six.py"
    status = path.stat()
    path.write_bytes(b"y" + path.read_bytes()[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert packed(fake, out, cache) == packed(fake, tmp_path / "x.tar.gz", None)
    path.chmod(0o755)
    assert packed(fake, out, cache) == packed(fake, tmp_path / "x.tar.gz", None)
    path.rename(fake.site / "seven.py")
    assert packed(fake, out, cache) == packed(fake, tmp_path / "x.tar.gz", None)
    fake.add("share/new.txt", "new")
    assert packed(fake, out, cache) == packed(fake, tmp_path / "x.tar.gz", None)


def test_every_change_of_a_record_is_seen(
    fake: FakeEnvironment, cache: Cache, tmp_path: Path
) -> None:
    """Rows in another order, and a row of a file that belongs to another distribution."""
    out = tmp_path / "env.tar.gz"
    record = next(fake.site.glob("noise-*")) / "RECORD"
    rows = record.read_text().splitlines(keepends=True)
    record.write_text("".join(rows) + "six.py,sha256=AAAA,1\n")
    aged(fake)
    packed(fake, out, cache)
    assert packed(fake, out, cache) == packed(fake, tmp_path / "x.tar.gz", None)
    write(fake.site / "six.py", "x = 3\n")
    aged(fake)
    assert packed(fake, out, cache) == packed(fake, tmp_path / "x.tar.gz", None)
    for order in (rows, rows[::-1]):
        record.write_text("".join(order))
        assert packed(fake, out, cache) == packed(fake, tmp_path / "x.tar.gz", None)


def test_what_edits_a_file_besides_itself_is_seen(cache: Cache) -> None:
    """The same file is another one where the loader must be told of other directories."""
    disk = Disk("/env/lib/a/x.so", 3, OLD, (1, 2, OLD))
    entry = Entry("lib/a/x.so", disk, run="1/a/")
    row = ("x.so", False, disk.size, disk.mtime_ns, None, *disk.identity)
    piece = Piece("lib/a", "/env", None, 1, 3, rows.packed([row]))
    outcome = Outcome(digests=DigestList(bytes(40)), size=3)
    summary = Entry("manifest", Summary(lambda _digest: (b"", b"")))
    asked: list[str] = []
    for run in (Batch("1/a/", (piece,), (), ()).run(), next(EntryList([entry]).runs())):
        for rpaths in ({}, {"lib/a/x.so": ("lib",)}, {"lib/b/x.so": ("lib",)}, {}):
            plan = Plan(Batches((), summary), (), (), 0, libraries=Libraries(rpaths=rpaths))
            keeper = Keeper(cache, plan, "engine", "", lambda _entry, _size: None, 1 << 62)

            def measure(run: Run, rpaths: object = rpaths) -> Outcome:
                asked.append(f"{len(run)} {rpaths}")
                return outcome

            os.makedirs(Path(cache.folder, "v2", "runs", keeper._names(run)), exist_ok=True)
            assert keeper.find(run, measure) is None
    told = "1 {'lib/a/x.so': ('lib',)}"
    assert asked == ["1 {}", told, "1 {}", told]


def test_young_files_are_not_believed(fake: FakeEnvironment, cache: Cache, tmp_path: Path) -> None:
    """A file that changed a moment ago may change again within the same tick of its clock."""
    (fake.site / "six.py").write_text("x = 2\n")
    packed(fake, tmp_path / "env.tar.gz", cache)
    known = list((Path(cache.folder) / "v2/known").iterdir())
    texts = [json.loads(path.read_bytes().partition(b"\n")[2]) for path in known]
    assert texts
    assert not any(len(text["digests"]) < 6 and text["size"] == 6 for text in texts)
    aged(fake)
    packed(fake, tmp_path / "env.tar.gz", cache)
    assert len(list((Path(cache.folder) / "v2/known").iterdir())) == len(known) + 1


@pytest.mark.parametrize(
    "words",
    [
        {"compress_level": 1},
        {"arcroot": "app"},
        {"mtime": OLD},
        {"links": "copy"},
        {"compile": False, "no_python": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_each_option_that_reaches_the_bytes(
    fake: FakeEnvironment, cache: Cache, tmp_path: Path, suffix: str, words: dict[str, object]
) -> None:
    """A run made with other options is another run."""
    out = tmp_path / f"env{suffix}"
    packed(fake, out, cache)
    assert packed(fake, out, cache, **words) == packed(fake, out, None, **words)
    assert packed(fake, out, cache, **words) == packed(fake, out, None, **words)


def test_many_at_once(fake: FakeEnvironment, cache: Cache, tmp_path: Path) -> None:
    """Packs that share a cache, with another that empties it all the time."""
    plain, _ = packed(fake, tmp_path / "env.tar.gz", None)
    stop = threading.Event()

    def clear() -> None:
        while not stop.wait(0.01):
            cache.trim(0)

    code = (
        "import sys, envpack\n"
        "env, out, folder = sys.argv[1:]\n"
        "for _ in range(4):\n"
        "    envpack.pack(env, out, cache=envpack.Cache(folder), force=True)\n"
    )
    thread = threading.Thread(target=clear)
    thread.start()
    path = os.pathsep.join(each for each in sys.path if each)
    outs = [tmp_path / f"out{number}.tar.gz" for number in range(3)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(fake.root), str(out), cache.folder],
            env={**os.environ, "PYTHONPATH": path},
        )
        for out in outs
    ]
    codes = [process.wait() for process in processes]
    stop.set()
    thread.join()
    assert codes == [0, 0, 0]
    assert [out.read_bytes() == plain for out in outs] == [True] * 3
    assert not [name for name in files(Path(cache.folder)) if ".part-" in name]
