"""Measures envpack against its peers, in turns, on one environment: `python scripts/bench.py`.

Needs Python 3.11+, uv and an index; tar, pigz, zstd and zip as far as they are there. A peer that
is missing or fails is named in the output. The reference environment is made once, in the user's
cache folder; everything else is temporary and lies beside it, so that all is on one file system.
Prints Markdown on stdout, and what is going on on stderr. Ratios are worth more than seconds:
machines are shared, but the turns of one round share the same minute.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

SMALL = ("numpy", "pandas", "requests")
REFERENCE = (*SMALL, "pyarrow", "scikit-learn", "ipykernel", "black", "jupyterlab")

ENVPACK = "envpack pack {env} -q -j {n} -o {out}"
CASES = {
    "tar.gz": (
        ENVPACK,
        "venv-pack -q -p {env} -o {out}",
        "tar -czf {out} .",
        "tar -cf - . | pigz -p{n} -6",
    ),
    "tar.zst": (ENVPACK, "tar -cf - . | zstd -q -3 -T{n}"),
    "zip": (ENVPACK, "zip -q -r -y {out} .", "venv-pack -q --zip-symlinks -p {env} -o {out}"),
}
START_UP = ("python -c pass", "envpack --version")
"""What is run, in a tree with the very content that envpack packs. Stdout is the archive where
`{out}` is not named. The others are measured by the first, which must not fail."""

MAX_START = 0.120
MAX_PEAK = 150e6
"""The goals: seconds of CPU over `python -c pass`, bytes of memory."""

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_STARTS_PER_ROUND = 10
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_PROBE = """import json, sys
print(json.dumps([sys.base_prefix, sys.executable, sys.version.split()[0]]))"""
_VERSION = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+)")


class BenchError(Exception):
    """A program is missing or failed; the text says which and how."""


class Sample(NamedTuple):
    """One run: seconds, seconds of CPU of all its processes, peak bytes of memory, bytes out."""

    wall: float
    cpu: float
    peak: int
    size: int


@dataclass(slots=True)
class Measured:
    """The samples of one contestant, round by round, and the bytes of the files it packed."""

    command: str
    samples: list[Sample] = field(default_factory=list)
    packed: int = 0

    def median(self) -> Sample:
        """Return the median of each number by itself."""
        columns = zip(*self.samples, strict=True)
        wall, cpu, peak, size = (statistics.median(column) for column in columns)
        return Sample(wall, cpu, int(peak), int(size))

    def ratios(self, base: Measured) -> tuple[float, float]:
        """Return the medians of the rounds' own ratios of wall and CPU time."""
        pairs = list(zip(self.samples, base.samples, strict=True))
        wall = statistics.median(own.wall / other.wall for own, other in pairs)
        return wall, statistics.median(own.cpu / other.cpu for own, other in pairs)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything is; `notes` are what the reader of the numbers has to know."""

    env: str
    work: str
    threads: int
    environ: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def tree(self) -> str:
        """The folder that everything runs in."""
        return os.path.join(self.work, "tree")

    def note(self, text: str) -> None:
        """Keep a line for the reader, and say it now."""
        self.notes.append(text)
        say(text)

    def pipeline(self, command: str, out: str) -> list[list[str]]:
        """Return the words of a command; raises BenchError if a program of it is missing."""
        values = {"env": self.env, "n": str(self.threads), "out": out}
        parts = [part.split() for part in command.split(" | ")]
        for program, *_ in parts:
            if shutil.which(program, path=self.environ["PATH"]) is None:
                raise BenchError(f"`{program}` is missing")
        return [[word.format(**values) for word in words] for words in parts]


def say(text: str) -> None:
    """Print what is going on."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def called(*words: str, environ: dict[str, str] | None = None) -> str:
    """Run a program and return what it says; raises BenchError with its last words."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
    except OSError as error:
        raise BenchError(f"`{words[0]}`: {error.strerror}") from error
    if done.returncode:
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise BenchError(f"`{' '.join(words[:3])}`: exit {done.returncode}: {last}")
    return done.stdout.strip() or done.stderr.strip()


def measured(bench: Bench, command: str, out: str) -> Sample:
    """Run one command and return what it cost; raises BenchError if any part of it fails.

    The peaks of a pipeline's processes are summed, as they run at once. The kernel starts a
    child's peak at its parent's, so none is below that of this script, which is told.
    """
    pipeline = bench.pipeline(command, out)
    running: list[subprocess.Popen[bytes]] = []
    sink_name = os.devnull if "{out}" in command else out
    with tempfile.TemporaryFile() as errors, open(sink_name, "wb") as sink:
        begin = time.perf_counter()
        for number, words in enumerate(pipeline, 1):
            before = running[-1].stdout if running else None
            process = subprocess.Popen(
                words,
                stdin=before or subprocess.DEVNULL,
                stdout=sink if number == len(pipeline) else subprocess.PIPE,
                stderr=errors,
                cwd=bench.tree,
                env=bench.environ,
            )
            if before is not None:
                before.close()
            running.append(process)
        cpu, peak = 0.0, 0
        for process in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
            peak += usage.ru_maxrss * _RSS_UNIT
        wall = time.perf_counter() - begin
        if codes := [process.returncode for process in running if process.returncode]:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-2:]
            raise BenchError(f"exit {codes[0]}: {' / '.join(last)}")
    return Sample(wall, cpu, peak, os.path.getsize(out))


def compete(bench: Bench, name: str, commands: tuple[str, ...], rounds: int) -> list[Measured]:
    """Run all commands in turns; one that is missing or fails is out, and named."""
    out = os.path.join(bench.work, f"out.{name}")
    results = {command: Measured(command) for command in commands}
    say(f"{name}: {rounds} rounds of {len(commands)}")
    for number in range(rounds):
        for command in commands:
            if command not in results:
                continue
            result = results[command]
            os.sync()  # nobody pays for what the one before has left to write
            try:
                result.samples.append(measured(bench, command, out))
                if number == 0 and name in CASES:
                    result.packed = packed(bench, out)
            except BenchError as error:
                if command == commands[0]:
                    raise
                del results[command]
                bench.note(f"NOT MEASURED, {name}: `{command}`: {error}")
            finally:
                if os.path.exists(out):
                    os.unlink(out)
    return list(results.values())


def packed(bench: Bench, archive: str) -> int:
    """Return the bytes of an archive's files; no module reads tar.zst, so there the tree's."""
    if archive.endswith(".zip"):
        with zipfile.ZipFile(archive) as members:
            return sum(item.file_size for item in members.infolist())
    if archive.endswith(".zst"):
        found = [os.stat(path) for path in files_below(bench.tree)]
        return sum({status.st_ino: status.st_size for status in found}.values())
    with tarfile.open(archive) as tar:
        return sum(item.size for item in tar if item.isreg())


def files_below(tree: str) -> Iterator[str]:
    """Yield the path of every file that is no link."""
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                yield path


def self_contained(wanted: str | None) -> tuple[str, str]:
    """Return executable and version of an interpreter that envpack packs."""
    which = (wanted,) if wanted is not None else ("--managed-python", "3.12")
    try:
        candidates = [called("uv", "python", "find", "--no-project", *which)]
    except BenchError:
        if wanted is not None:
            raise
        say("there is no managed Python 3.12, so any self-contained Python is taken")
        listed = called("uv", "python", "list", "--only-installed", "--output-format", "json")
        candidates = [item["path"] for item in json.loads(listed)]
    for candidate in candidates:
        try:
            prefix, executable, version = json.loads(called(candidate, "-I", "-c", _PROBE))
        except BenchError as error:
            say(f"passed over: {error}")
            continue
        prefix = os.path.realpath(prefix)
        if prefix not in ("/", "/usr", "/usr/local") and not os.path.isdir(f"{prefix}/conda-meta"):
            return executable, version
    raise BenchError("no self-contained Python was found: `uv python install 3.12` makes one")


def reference(cache: str, python: str, packages: tuple[str, ...]) -> str:
    """Return the reference environment, synced now if it is not in the cache."""
    key = hashlib.sha256("\0".join((python, *packages)).encode()).hexdigest()[:12]
    project = os.path.join(cache, key)
    env, ready = os.path.join(project, ".venv"), os.path.join(project, "ready")
    if os.path.exists(ready) and os.path.exists(os.path.join(env, "bin", "python")):
        return env
    say("making the reference environment")
    os.makedirs(project, exist_ok=True)
    with open(os.path.join(project, "pyproject.toml"), "w", encoding="utf-8") as file:
        file.write('[project]\nname = "reference"\nversion = "0"\nrequires-python = ">=3.9"\n')
        file.write(f"dependencies = {json.dumps(packages)}\n")
    called("uv", "sync", "--quiet", "--project", project, "--python", python)
    os.makedirs(ready, exist_ok=True)
    return env


def prepared(env: str, work: str, threads: int) -> Bench:
    """Install envpack, as a wheel of this checkout, and venv-pack; unpack the tree."""
    tools = os.path.join(work, "tools")
    called("uv", "venv", "--quiet", "--python", sys.executable, tools)
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    environ["PATH"] = os.pathsep.join((os.path.join(tools, "bin"), environ["PATH"]))
    bench = Bench(env, work, threads, environ)
    install = ("uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", tools)
    called(*install, CHECKOUT)
    try:
        called(*install, "venv-pack")
    except BenchError as error:
        bench.note(f"venv-pack could not be installed: {error}")
    bench.note("conda-pack packs conda environments only, so it cannot take part")
    words = ("envpack", "pack", env, "-q", "--format", "dir", "-o", bench.tree)
    called(os.path.join(tools, "bin", words[0]), *words[1:], environ=environ)
    for path in (*files_below(bench.tree), *files_below(env)):  # to warm the page cache
        with open(path, "rb") as file:
            while file.read(1 << 16):
                pass
    return bench


def table(results: list[Measured]) -> list[str]:
    """Return one case as Markdown: ratios first."""
    lines = [
        "| command | wall ratio | CPU ratio | CPU ratio per MB in | out / in | wall s | CPU s"
        " | MB/s in | MB in | MB out | peak MB |",
        "| --- |" + " ---: |" * 10,
    ]
    for each in results:
        (wall, cpu), own = each.ratios(results[0]), each.median()
        command = each.command.replace("|", "\\|")
        lines.append(
            f"| `{command}` | {wall:.2f} | {cpu:.2f}"
            f" | {cpu * results[0].packed / each.packed:.2f} | {own.size / each.packed:.3f}"
            f" | {own.wall:.2f} | {own.cpu:.2f} | {each.packed / 1e6 / own.wall:.0f}"
            f" | {each.packed / 1e6:.1f} | {own.size / 1e6:.1f} | {own.peak / 1e6:.0f} |"
        )
    return lines


def start_table(results: list[Measured]) -> list[str]:
    """Return what `envpack --version` costs more than its Python, as Markdown."""
    medians = [each.median() for each in results]
    over = medians[1].cpu - medians[0].cpu
    lines = ["| command | CPU ms | wall ms |", "| --- | ---: | ---: |"]
    for each, own in zip(results, medians, strict=True):
        lines.append(f"| `{each.command}` | {own.cpu * 1e3:.0f} | {own.wall * 1e3:.0f} |")
    return [*lines, "", goal("CPU milliseconds over Python's own", over * 1e3, MAX_START * 1e3)]


def goal(what: str, value: float, most: float) -> str:
    """Return a number beside what it should be at most."""
    verdict = "met" if value <= most else "**missed**"
    return f"{what}: {value:.0f} (goal: at most {most:.0f}, {verdict})"


def about(bench: Bench, interpreter: str) -> list[str]:
    """Return what ran where, without a path of this machine."""
    listed = called("uv", "pip", "list", "--format", "json", "--python", bench.env)
    versions = {item["name"]: item["version"] for item in json.loads(listed)}
    asked = ", ".join(f"{name} {versions[name]}" for name in REFERENCE if name in versions)
    tools = []
    spoken = ("envpack --version", "venv-pack --version", "uv --version", "tar --version")
    for command in (*spoken, "pigz -V", "zstd -V", "zip -v"):
        name, option = command.split()
        if program := shutil.which(name, path=bench.environ["PATH"]):
            number = _VERSION.search(called(program, option, environ=bench.environ))
            tools.append(f"{name} {number[1] if number else 'of unknown version'}")
    try:
        tools[0] += f" ({called('git', '-C', CHECKOUT, 'describe', '--always', '--dirty')})"
    except BenchError as error:
        say(f"the commit is unknown: {error}")
    return [
        f"- machine: {os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        f"- environment: CPython {interpreter}, {len(versions)} packages with {asked};"
        f" {sum(1 for _ in files_below(bench.tree))} files in the tree",
        f"- tools, on CPython {platform.python_version()}: {', '.join(tools)}",
    ]


def run(chosen: argparse.Namespace, cases: list[str]) -> None:
    """Measure and print."""
    above = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = os.path.join(above, "uv-envpack-bench")
    python, version = self_contained(chosen.python)
    env = reference(cache, python, SMALL if chosen.small else REFERENCE)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        bench = prepared(env, work, chosen.threads)
        load = os.getloadavg()[0]
        results = {name: compete(bench, name, CASES[name], chosen.rounds) for name in cases}
        starts = compete(bench, "start-up", START_UP, chosen.rounds * _STARTS_PER_ROUND)
        loads = f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after"
        lines = [*about(bench, version), *(f"- {note}" for note in bench.notes)]
        lines.append(f"- n = {chosen.threads}; medians of {chosen.rounds} rounds; {loads}")
        floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 1e6
        lines.append(f"- peaks below {floor:.0f} MB are not seen")
    for name in cases:
        lines += ["", f"## {name}", "", *table(results[name])]
    peak = max(sample.peak for each in results.values() for sample in each[0].samples)
    lines += ["", goal("MB of memory, envpack's highest peak", peak / 1e6, MAX_PEAK / 1e6)]
    print("\n".join([*lines, "", "## Start-up", "", *start_table(starts)]))
    if chosen.json:
        numbers = {name: [asdict(each) for each in case] for name, case in results.items()}
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump({"notes": bench.notes, **numbers}, file, indent=1)


def main() -> None:
    """Read the options and run; exit 1 if envpack or what it needs fails."""
    parser = argparse.ArgumentParser(description="Measure envpack against its peers, in turns.")
    add = parser.add_argument
    add("--cases", default=",".join(CASES), help="which of %(default)s")
    add("--rounds", type=int, default=3, metavar="N", help="turns of each (%(default)s)")
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help="(%(default)s)")
    add("--python", help="of the environment (a managed 3.12, or any self-contained one)")
    add("--small", action="store_true", help=f"a small environment: {', '.join(SMALL)}")
    add("--json", metavar="FILE", help="write every sample there, too")
    chosen = parser.parse_args()
    cases = chosen.cases.split(",")
    if unknown := set(cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    if chosen.rounds < 1:
        parser.error("it takes a round")
    try:
        run(chosen, cases)
    except BenchError as error:
        sys.exit(f"bench: {error}")


if __name__ == "__main__":
    main()
