"""Measures what `--compile` saves: `python scripts/import_time.py`.

Packs one environment twice, with bytecode and without, and imports its large packages from both in
turns, each time in a new process and without writing, so that the one without compiles again each
time. Needs Python 3.11+, uv and an index. Prints Markdown on stdout. The environment is
the one of `scripts/bench.py`, and lies in the same cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from bench import CHECKOUT
from benching.measure import BenchError, called, say
from benching.trees import REFERENCE, reference, self_contained

SMALL = ("numpy", "pandas", "requests")

MODULES = ("pandas", "pyarrow", "sklearn")
GOAL = 0.4
"""At most this part of the time that an import without bytecode takes."""


def packed(env: str, work: str, name: str, *options: str) -> tuple[str, int, int]:
    """Pack and unpack; return the folder, the archive's bytes and the files' bytes."""
    archive, folder = os.path.join(work, f"{name}.tar.gz"), os.path.join(work, name)
    words = (sys.executable, "-m", "envpack", "pack", env, "-q", "-o", archive, *options)
    called(*words, environ={**os.environ, "PYTHONPATH": os.path.join(CHECKOUT, "src")})
    os.mkdir(folder)
    called("tar", "-xzf", archive, "-C", folder)
    size = 0
    for path, _, files in os.walk(folder):
        size += sum(os.lstat(os.path.join(path, name)).st_size for name in files)
        os.chmod(path, 0o555)  # noqa: S103 - anybody may read it
    return folder, os.path.getsize(archive), size


def seconds(folder: str, modules: tuple[str, ...]) -> float:
    """Return how long a new process takes to import modules, less what an empty one takes.

    Root may write anywhere, so writing bytecode is switched off too.
    """
    python = os.path.join(folder, "bin", "python")
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}

    def run(code: str) -> float:
        begin = time.perf_counter()
        subprocess.run([python, "-B", "-c", code], check=True, env=env)
        return time.perf_counter() - begin

    whole = run(f"import {', '.join(modules)}")
    return whole - run("pass")


def compare(env: str, work: str, modules: tuple[str, ...], rounds: int) -> list[str]:
    """Return the lines of the table."""
    kinds = {
        "without": packed(env, work, "without"),
        "with": packed(env, work, "with", "--compile"),
    }
    for folder, _, _ in kinds.values():  # to warm the page cache
        seconds(folder, modules)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for kind, (folder, _, _) in kinds.items():
            times[kind].append(seconds(folder, modules))
    ratio = statistics.median(
        fast / slow for fast, slow in zip(times["with"], times["without"], strict=True)
    )
    rows = [
        f"| {kind} | {statistics.median(times[kind]):.2f} s | {archive / 1e6:.0f} MB"
        f" | {size / 1e6:.0f} MB |"
        for kind, (_, archive, size) in kinds.items()
    ]
    grown = kinds["with"][1] / kinds["without"][1] - 1
    met = "met" if ratio <= GOAL else "missed"
    return [
        "| bytecode | import | tar.gz | unpacked |",
        "| --- | ---: | ---: | ---: |",
        *rows,
        "",
        f"{ratio:.2f} of the time (goal: at most {GOAL}, {met}), {grown:+.0%} in the archive.",
    ]


def run(chosen: argparse.Namespace) -> None:
    """Measure and print."""
    above = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = os.path.join(above, "uv-envpack-bench")
    python, version = self_contained(chosen.python)
    env = reference(cache, python, SMALL if chosen.small else REFERENCE)
    modules = SMALL if chosen.small else MODULES
    work = tempfile.mkdtemp(dir=cache)
    try:
        lines = compare(env, work, modules, chosen.rounds)
    finally:
        for path, _, _ in os.walk(work):
            os.chmod(path, 0o700)
        shutil.rmtree(work)
    print(f"- machine: {os.cpu_count()} cores, {platform.machine()}, {platform.system()}")
    print(f"- `import {', '.join(modules)}` on CPython {version}, read-only, page cache warm")
    words = shlex.join(["python", "scripts/import_time.py", *sys.argv[1:]])
    print(f"- `{words}`; medians of {chosen.rounds} rounds, in turns\n")
    print("\n".join(lines))


def main() -> None:
    """Read the options and run; exit 1 if something it needs fails."""
    parser = argparse.ArgumentParser(description="Measure what --compile saves.")
    add = parser.add_argument
    add("--rounds", type=int, default=7, metavar="N", help="turns of each (%(default)s)")
    add("--python", help="of the environment (a managed 3.12, or any self-contained one)")
    add("--small", action="store_true", help=f"a small environment: {', '.join(SMALL)}")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("it takes a round")
    try:
        run(chosen)
    except (BenchError, subprocess.CalledProcessError) as error:
        sys.exit(f"import_time: {error}")


if __name__ == "__main__":
    main()
