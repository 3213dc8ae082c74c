"""What is measured against what, and which figures are wanted."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benching.measure import Bench, Case, Contestant, Goal, say
from benching.trees import change, copied, synthetic

FILES = (5_000, 20_000, 80_000, 200_000)
BYTES = (100_000_000, 500_000_000, 2_000_000_000, 5_000_000_000)
_PER_FILE = 700
_MANY = 2_000
STARTS = 10
UNPACKINGS = 3
_MEMORY = "/dev/shm"  # noqa: S108 - a folder of the bench's own is made there
_BARE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bare.py")


@dataclass(frozen=True, slots=True)
class Scene:
    """The reference environment, a tree with what envpack packs of it, a copy to be changed."""

    bench: Bench
    env: str
    tree: str
    python: str
    quick: bool

    def path(self, name: str) -> str:
        """Return a path for something temporary."""
        return os.path.join(self.bench.work, name)

    def pack(self, suffix: str, options: str, env: str = "") -> str:
        """Return the words of a pack."""
        return f"envpack pack {env or self.env} -q -f -o {{out}}{suffix} -j {{n}} {options}"


def bare(form: str, folder: str) -> list[Contestant]:
    """Return the limits: reading and compressing alone, and with the hash of every file."""
    alone = f"python {_BARE} {form} {{n}} {folder} {{out}}"
    return [
        Contestant("the engine alone", alone),
        Contestant("the engine and sha256", f"{alone} sha256"),
    ]


def faster(case: Case, other: str, wanted: float, size: float | None = None) -> None:
    """Want envpack to be so many times as fast as another, and its archive at most so large."""
    own, theirs = case.contestants[0], case.named(other)
    if theirs is None:
        return
    times = own.times(theirs)
    _goal(case, f"{own.name}: as fast as {other}", f">= {wanted:g}x", times, times >= wanted, "x")
    if size is not None:
        ratio = own.median().size / theirs.median().size
        met = ratio <= size
        _goal(case, f"{own.name}: size, {other}'s = 1", f"<= {size:g}", ratio, met)


def _goal(case: Case, what: str, wanted: str, value: float, met: bool, unit: str = "") -> None:
    digits = {"": 3, "x": 2}.get(unit, 0)
    case.goals.append(Goal(case.name, what, wanted, f"{value:.{digits}f}{unit}", met))


def tar_gz(scene: Scene) -> Iterator[Case]:
    """Measure the first pack, at the default level."""
    cold = scene.path("cold")
    case = Case(
        "tar.gz", "tar.gz of the environment without its Python, which venv-pack leaves out"
    )
    case.contestants = [
        Contestant("envpack", scene.pack(".tar.gz", "--no-python --no-cache")),
        Contestant(
            "envpack, empty cache",
            scene.pack(".tar.gz", f"--no-python --cache-dir {cold}"),
            lambda: shutil.rmtree(cold, ignore_errors=True),
        ),
        Contestant("venv-pack", f"venv-pack -q -p {scene.env} -o {{out}}.tar.gz"),
        *bare("tar.gz", scene.env),
    ]
    scene.bench.compete(case, scene.tree)
    shutil.rmtree(cold, ignore_errors=True)
    faster(case, "venv-pack", 2.4, 1.0)
    if (cached := case.named("envpack, empty cache")) and (theirs := case.named("venv-pack")):
        times = cached.times(theirs)
        what = "envpack, empty cache: as fast as venv-pack"
        _goal(case, what, ">= 2.4x", times, times >= 2.4, "x")
    yield case
    case = Case("tar.gz, whole", "tar.gz of a folder with all that envpack packs, Python included")
    meta = os.path.join(scene.tree, "conda-meta")
    os.mkdir(meta)
    with open(os.path.join(meta, "history"), "w", encoding="utf-8"):
        pass  # conda-pack asks for its time
    conda = f"conda-pack -q -p {scene.tree} -o {{out}}.tar.gz --ignore-missing-files"
    case.contestants = [
        Contestant("envpack", scene.pack(".tar.gz", "--no-cache")),
        Contestant("tar | pigz", "tar -cf - . | pigz -p{n} -6"),
        Contestant("tar czf", "tar -czf {out} ."),
        Contestant("conda-pack", conda),
        *bare("tar.gz", scene.tree),
    ]
    scene.bench.compete(case, scene.tree)
    shutil.rmtree(meta)
    faster(case, "tar | pigz", 2.2, 1.04)
    yield case


def tar_zst(scene: Scene) -> Iterator[Case]:
    """Measure one zstd frame."""
    case = Case("tar.zst", "tar.zst of a folder with all that envpack packs")
    case.contestants = [
        Contestant("envpack", scene.pack(".tar.zst", "--no-cache")),
        Contestant("tar | zstd", "tar -cf - . | zstd -q -3 -T{n}"),
        *bare("tar.zst", scene.tree),
    ]
    scene.bench.compete(case, scene.tree)
    if theirs := case.named("tar | zstd"):
        own = case.contestants[0]
        takes = 1 / own.times(theirs)
        ratio = own.median().size / theirs.median().size
        _goal(case, "envpack: time, tar | zstd's = 1", "<= 1.3x", takes, takes <= 1.3, "x")
        _goal(case, "envpack: size, tar | zstd's = 1", "<= 1.02", ratio, ratio <= 1.02)
    yield case


def zip_files(scene: Scene) -> Iterator[Case]:
    """Measure zip, against each peer on what that peer packs."""
    case = Case("zip", "zip of the environment without its Python")
    case.contestants = [
        Contestant("envpack", scene.pack(".zip", "--no-python --no-cache")),
        Contestant("venv-pack", f"venv-pack -q --zip-symlinks -p {scene.env} -o {{out}}.zip"),
        *bare("zip", scene.env),
    ]
    faster(scene.bench.compete(case, scene.tree), "venv-pack", 4.2, 1.0)
    yield case
    case = Case("zip, whole", "zip of a folder with all that envpack packs")
    case.contestants = [
        Contestant("envpack", scene.pack(".zip", "--no-cache")),
        Contestant("zip -r -y", "zip -q -r -y {out}.zip ."),
        *bare("zip", scene.tree),
    ]
    faster(scene.bench.compete(case, scene.tree), "zip -r -y", 4.7, 1.0)
    yield case


def second(scene: Scene) -> Iterator[Case]:
    """Measure a pack of what was packed before, but for a module of a small package."""
    env = copied(scene.env, scene.path("changing"))
    cache = scene.path("warm")
    turns = iter(range(1_000_000))
    for suffix in (".tar.gz", ".zip"):
        name = f"second {suffix[1:]}"
        case = Case(name, f"{suffix[1:]} without Python again, one small package changed")
        options = f"--no-python --cache-dir {cache}"
        links = "--zip-symlinks " if suffix == ".zip" else ""
        for _ in range(2):  # files must be older than the clock's grain to be believed
            change(env, next(turns))
            _once(scene, scene.pack(suffix, options, env))
        case.contestants = [
            Contestant(
                "envpack", scene.pack(suffix, options, env), lambda: change(env, next(turns))
            ),
            Contestant("venv-pack", f"venv-pack -q {links}-p {env} -o {{out}}{suffix}"),
        ]
        faster(scene.bench.compete(case, scene.tree), "venv-pack", 10)
        yield case
    shutil.rmtree(env)
    shutil.rmtree(cache)


def _once(scene: Scene, command: str) -> None:
    """Run a command that fills a cache."""
    scene.bench.measured(command, scene.path("first"), scene.tree)


def start(scene: Scene) -> Iterator[Case]:
    """Measure commands that do little, and a plan that is only told."""
    case = Case("start-up", "start-up")
    case.contestants = [
        Contestant("python", "python -c pass"),
        Contestant("envpack --version", "envpack --version"),
        Contestant("envpack pack --help", "envpack pack --help"),
    ]
    scene.bench.compete(case, scene.tree, scene.bench.rounds * STARTS)
    for one in case.contestants[1:]:
        over = (one.median().cpu - case.contestants[0].median().cpu) * 1000
        _goal(case, f"{one.name}: CPU over Python's", "<= 120 ms", over, over <= 120, " ms")
    yield case
    case = Case("dry run", "the plan alone")
    case.contestants = [
        Contestant("envpack --dry-run", f"envpack pack {scene.env} -q --no-python --dry-run"),
        Contestant("envpack --dry-run, with Python", f"envpack pack {scene.env} -q --dry-run"),
        Contestant("envpack --dry-run --deep", f"envpack pack {scene.env} -q --dry-run --deep"),
    ]
    scene.bench.compete(case, scene.tree)
    for one in case.contestants[:2]:
        cpu = one.median().cpu
        _goal(case, f"{one.name}: CPU", "<= 1000 ms", cpu * 1000, cpu <= 1, " ms")
    yield case


def unpacking(scene: Scene) -> Iterator[Case]:
    """Measure how `tar` unpacks envpack's archive, and its own of the same tree.

    In memory where there is room: on a disk the file system's state of the moment decides, and the
    same archive took 5 s or 13.
    """
    own, theirs = scene.path("own.tar.gz"), scene.path("theirs.tar.gz")
    scene.bench.measured(f"envpack pack {scene.env} -q -o {{out}} --no-cache", own, scene.tree)
    scene.bench.measured("tar -czf {out} .", theirs, scene.tree)
    room = os.path.isdir(_MEMORY) and shutil.disk_usage(_MEMORY).free > 8 * os.path.getsize(own)
    holder = tempfile.mkdtemp(dir=_MEMORY if room else scene.bench.work)
    into = os.path.join(holder, "unpacked")

    def anew() -> None:
        shutil.rmtree(into, ignore_errors=True)
        os.makedirs(into)

    case = Case("unpacking", f"tar xzf, {'into memory' if room else 'onto a disk'}")
    case.contestants = [
        Contestant("envpack's archive", f"tar -xzf {own} -C {into}", anew),
        Contestant("tar's archive", f"tar -xzf {theirs} -C {into}", anew),
    ]
    rounds = scene.bench.rounds * (1 if scene.quick else UNPACKINGS)
    try:
        scene.bench.compete(case, scene.tree, rounds)
    finally:
        shutil.rmtree(holder)
    os.unlink(own)
    os.unlink(theirs)
    takes = 1 / case.contestants[0].times(case.contestants[1])
    what = "time to unpack, of tar's own archive = 1"
    _goal(case, what, "0.95 to 1.05", takes, 0.95 <= takes <= 1.05)
    yield case


def memory(scene: Scene) -> Iterator[Case]:
    """Measure peaks: with one file of 2 GB, with 20 000 files and with 200 000."""
    case = Case("memory", "peak memory of `envpack pack`, in every format")
    several = (("one file", 1, 20_000_000 if scene.quick else 2_000_000_000),)
    for name, files, size in several:
        env = synthetic(scene.path("synthetic"), scene.python, max(2, files), size)
        _peaks(scene, case, env, name)
    peaks: dict[str, list[int]] = {}
    for files in (200, 2_000) if scene.quick else (20_000, 200_000):
        env = synthetic(scene.path("synthetic"), scene.python, files, files * _PER_FILE)
        for word, peak in _peaks(scene, case, env, f"{files} files").items():
            peaks.setdefault(word, []).append(peak)
    highest = max(one.median().peak for one in case.contestants) / 1e6
    _goal(case, "envpack: the highest peak", "<= 150 MB", highest, highest <= 150, " MB")
    for word, (few, many) in peaks.items():
        growth = (many - few) / 1e6
        what = f"envpack, {word}: growth to ten times the files"
        _goal(case, what, "<= 40 MB", growth, growth <= 40, " MB")
    yield case


def _peaks(scene: Scene, case: Case, env: str, name: str) -> dict[str, int]:
    """Pack an environment in every format, then remove it; return the peaks."""
    cache = scene.path("peaks")
    packs = {
        "tar.gz": scene.pack(".tar.gz", f"--cache-dir {cache}", env),
        "tar.gz again": scene.pack(".tar.gz", f"--cache-dir {cache}", env),
        "zip": scene.pack(".zip", "--no-cache", env),
        "tar.zst": scene.pack(".tar.zst", "--no-cache", env),
    }
    own = Case(f"memory {name}", name)
    own.contestants = [Contestant(f"envpack {word}, {name}", text) for word, text in packs.items()]
    scene.bench.compete(own, scene.tree, 1)
    case.contestants += own.contestants
    shutil.rmtree(env)
    shutil.rmtree(cache)
    return dict(zip(packs, (one.median().peak for one in own.contestants), strict=True))


def growth(scene: Scene) -> Iterator[Case]:
    """Measure larger and larger environments: by files, and by bytes."""
    scale = 100 if scene.quick else 1
    for what, steps in (("files", FILES), ("bytes", BYTES)):
        for step in steps:
            count = step // scale
            files, size = (count, count * _PER_FILE) if what == "files" else (_MANY // scale, count)
            env = synthetic(scene.path("synthetic"), scene.python, files, size)
            cache = scene.path("grown")
            case = Case(f"growth {what} {count}", f"{files} files, {size} bytes")
            cached = scene.pack(".tar.gz", f"--no-python --cache-dir {cache}", env)
            case.contestants = [
                Contestant("envpack", scene.pack(".tar.gz", "--no-python --no-cache", env)),
                Contestant("envpack, second pack", cached),
                Contestant("venv-pack", f"venv-pack -q -p {env} -o {{out}}.tar.gz"),
            ]
            _once(scene, cached)
            yield scene.bench.compete(case, scene.tree, 1)
            shutil.rmtree(env)
            shutil.rmtree(cache)
            say(f"{case.name}: done")


def levels(scene: Scene) -> Iterator[Case]:
    """Measure every level of every format."""
    case = Case("levels", "every level, without Python")
    for suffix in ("tar.gz", "zip", "tar.zst"):
        for level in range(1, 10):
            options = f"--no-python --no-cache --compress-level {level}"
            case.contestants.append(
                Contestant(f"envpack {suffix} {level}", scene.pack(f".{suffix}", options))
            )
    scene.bench.compete(case, scene.tree, 1)
    yield case


SECTIONS: dict[str, Callable[[Scene], Iterator[Case]]] = {
    "tar.gz": tar_gz,
    "tar.zst": tar_zst,
    "zip": zip_files,
    "second": second,
    "start": start,
    "unpacking": unpacking,
    "memory": memory,
    "growth": growth,
    "levels": levels,
}
