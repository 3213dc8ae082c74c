"""Measures `envpack download` against `pip download`: `python scripts/download_time.py`.

Both fetch the same wheels from an index on this machine that waits 50 ms before each answer, in
turns, pip by the requirements with hashes that uv exports from the lock. Then envpack runs again
with everything there. Needs Python 3.11+, pip, uv and nothing of the network. Prints Markdown on
stdout.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from bench import CHECKOUT
from benching.measure import BenchError, called, say

sys.path.insert(0, CHECKOUT)

from tests.index_server import IndexServer
from tests.shelf import wheel

LATENCY = 0.05
"""Seconds before each answer of the index."""

MIN_RATIO = 2.0
MAX_AGAIN = 2.0
"""The goals: pip's time over envpack's, and seconds of a run with everything there."""


def stock(folder: Path, number: int) -> list[str]:
    """Fill the index with wheels of 20 kB to 1 MB; return their names."""
    chance = random.Random(0)  # noqa: S311 - the same sizes each time
    names = [f"package-{index:03}" for index in range(number)]
    for name in names:
        path = wheel(folder, name, "1.0")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("data.bin", chance.randbytes(int(10 ** chance.uniform(4.3, 6))))
    return names


def locked(folder: Path, names: list[str], environ: dict[str, str]) -> Path:
    """Make a project that wants all of them, lock it, and export it for pip."""
    folder.mkdir()
    wanted = ", ".join(f'"{name}"' for name in names)
    minor = "{}.{}".format(*sys.version_info)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "wants"\nversion = "1"\nrequires-python = ">={minor}"\n'
        f"dependencies = [{wanted}]\n\n[tool.uv]\npackage = false\n",
        encoding="utf-8",
    )
    called("uv", "lock", "-q", "--project", str(folder), environ=environ)
    out = folder / "requirements.txt"
    words = ("export", "-q", "--frozen", "--project", str(folder), "-o", str(out))
    called("uv", *words, environ=environ)
    return out


def with_pip() -> str:
    """Return a Python that has pip: this one, or what its environment was made of."""
    for python in (sys.executable, os.path.realpath(sys.executable)):
        try:
            called(python, "-m", "pip", "--version")
        except BenchError:
            continue
        return python
    raise BenchError("no pip beside this Python")


def timed(*words: str, environ: dict[str, str]) -> float:
    """Return the seconds that a program takes."""
    begin = time.perf_counter()
    called(*words, environ=environ)
    return time.perf_counter() - begin


def measure(number: int, rounds: int, work: Path) -> dict[str, list[float]]:
    """Return the seconds of every round: pip, envpack, and envpack again."""
    shelf = work / "shelf"
    names = stock(shelf, number)
    found: dict[str, list[float]] = {"pip download": [], "envpack download": [], "again": []}
    with IndexServer(shelf, latency=LATENCY) as server:
        index = f"{server.url}/simple/"
        environ = {**os.environ, "UV_DEFAULT_INDEX": index, "UV_CACHE_DIR": str(work / "cache")}
        environ |= {"UV_PYTHON": sys.executable, "PYTHONPATH": os.path.join(CHECKOUT, "src")}
        requirements = locked(work / "project", names, environ)
        # No settings of this machine, and nothing kept from the round before.
        plain = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
        plain = {key: value for key, value in plain.items() if key != "PIP_FIND_LINKS"}
        python = with_pip()
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            by_pip, by_envpack = str(work / "pip"), str(work / "envpack")
            pip = [python, "-m", "pip", "download", "-q", "-d", by_pip]
            pip += ["--index-url", index, "-r", str(requirements)]
            envpack = [sys.executable, "-m", "envpack", "download", "-q", "-o", by_envpack]
            envpack += ["--project", str(work / "project")]
            found["pip download"].append(timed(*pip, environ=plain))
            found["envpack download"].append(timed(*envpack, environ=environ))
            found["again"].append(timed(*envpack, environ=environ))
            if sorted(os.listdir(by_pip)) != sorted(os.listdir(os.path.join(by_envpack, "wheels"))):
                raise BenchError("the two brought different files")
            shutil.rmtree(by_pip)
            shutil.rmtree(by_envpack)
    return found


def main() -> int:
    """Print the table; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="envpack-bench-") as work:
        try:
            found = measure(options.packages, options.rounds, Path(work))
        except BenchError as error:
            print(f"download_time: {error}", file=sys.stderr)
            return 1
    median = {name: statistics.median(times) for name, times in found.items()}
    base = median["envpack download"]
    print(f"- {platform.system()}, {os.cpu_count()} cores, CPython {platform.python_version()}")
    print(f"- {options.packages} wheels, {LATENCY * 1000:.0f} ms before each answer")
    print(f"- medians of {options.rounds} rounds, in turns\n")
    print("| command | seconds | ratio |\n| --- | ---: | ---: |")
    for name, label in (
        ("envpack download", "`envpack download`"),
        ("pip download", "`pip download -r requirements.txt`"),
        ("again", "`envpack download` again, everything there"),
    ):
        print(f"| {label} | {median[name]:.2f} | {median[name] / base:.2f} |")
    ratio = statistics.median(
        pip / own for pip, own in zip(found["pip download"], found["envpack download"], strict=True)
    )
    met = ratio >= MIN_RATIO and median["again"] <= MAX_AGAIN
    print(f"\npip takes {ratio:.1f} times as long (goal: at least {MIN_RATIO:.0f}); a second run")
    print(f"{median['again']:.2f} s (goal: at most {MAX_AGAIN:.0f} s)")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
