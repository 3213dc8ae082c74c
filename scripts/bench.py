"""Measures envpack against its peers, in turns, on the same files: `python scripts/bench.py`.

Needs Python 3.11+, uv and an index; tar, pigz, zstd and zip as far as they are there. A peer that
is missing or fails is named. The reference environment is made once, in the user's cache folder;
everything else is temporary and lies beside it, so that all is on one file system. Prints Markdown
on stdout, and what is going on on stderr. Ratios are worth more than seconds: machines are shared,
but the turns of one round share the same minute.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime

from benching import render
from benching.cases import SECTIONS, STARTS, UNPACKINGS, Scene
from benching.measure import Bench, BenchError, Case, called, files_below, say, warm
from benching.trees import REFERENCE, SMALL, reference, self_contained

SCHEMA = "envpack.bench/1"
CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(CHECKOUT, "docs", "performance.md")
README = os.path.join(CHECKOUT, "README.md")
PLOT = os.path.join(CHECKOUT, "docs", "performance.svg")
_VERSION = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+)")


def prepared(env: str, work: str, python: str, chosen: argparse.Namespace) -> Scene:
    """Install envpack, as a wheel of this checkout, and its peers; unpack the tree."""
    tools = os.path.join(work, "tools")
    called("uv", "venv", "--quiet", "--python", sys.executable, tools)
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    environ["PATH"] = os.pathsep.join((os.path.join(tools, "bin"), environ["PATH"]))
    bench = Bench(work, chosen.threads, chosen.rounds, environ)
    install = ("uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", tools)
    called(*install, CHECKOUT)
    for peer in ("venv-pack", "conda-pack"):
        try:
            called(*install, peer, "setuptools<81")
        except BenchError as error:
            bench.note(f"{peer} could not be installed: {error}")
    tree = os.path.join(work, "tree")
    words = ("pack", env, "-q", "--format", "dir", "-o", tree)
    called(os.path.join(tools, "bin", "envpack"), *words, environ=environ)
    warm((tree, env))
    return Scene(bench, env, tree, python, chosen.quick)


def about(scene: Scene, version: str) -> list[str]:
    """Return what ran where, without a path of this machine."""
    bench = scene.bench
    listed = called("uv", "pip", "list", "--format", "json", "--python", scene.env)
    versions = {item["name"]: item["version"] for item in json.loads(listed)}
    asked = ", ".join(f"{name} {versions[name]}" for name in REFERENCE if name in versions)
    tools = []
    spoken = ("envpack --version", "venv-pack --version", "conda-pack --version", "uv --version")
    for command in (*spoken, "tar --version", "pigz -V", "zstd -V", "zip -v"):
        name, option = command.split()
        if program := shutil.which(name, path=bench.environ["PATH"]):
            number = _VERSION.search(called(program, option, environ=bench.environ))
            tools.append(f"{name} {number[1] if number else 'of unknown version'}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    sizes = [os.path.getsize(path) for path in files_below(scene.tree)]
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores of {_processor()},"
        f" {memory:.0f} GB, {platform.system()}; n = {bench.threads}",
        f"- environment: CPython {version}, {len(versions)} packages with {asked}; with Python"
        f" {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB",
        f"- tools, on CPython {platform.python_version()}: {', '.join(tools)}",
        f"- medians of {bench.rounds} rounds, start-up: of {bench.rounds * STARTS}, unpacking: of"
        f" {bench.rounds * (1 if scene.quick else UNPACKINGS)}; growth and memory: of one",
        *(f"- {note}" for note in bench.notes),
    ]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1] for line in file if line.startswith("model name")]
        return " ".join(names[0].split())
    except (OSError, IndexError):
        return platform.machine()


def spliced(path: str, mark: str, lines: Sequence[str]) -> None:
    """Replace what stands between two comments of a document."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise BenchError(f"`{os.path.basename(path)}` has no `{begin}` and `{end}`")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([before + begin, *lines, end + after]))


def run(chosen: argparse.Namespace) -> None:
    """Measure, print, and write what is asked for."""
    above = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = os.path.join(above, "uv-envpack-bench")
    python, version = self_contained(chosen.python)
    env = reference(cache, python, SMALL if chosen.quick else REFERENCE)
    cases: list[Case] = []
    with tempfile.TemporaryDirectory(dir=cache) as work:
        scene = prepared(env, work, python, chosen)
        load = os.getloadavg()[0]
        for name in chosen.only:
            say(name)
            cases += SECTIONS[name](scene)
        loads = f"- load {load:.1f} before, {os.getloadavg()[0]:.1f} after"
        told = [*about(scene, version), loads]
    grown = [case for case in cases if case.name.startswith("growth")]
    levels = [case for case in cases if case.name == "levels"]
    others = [case for case in cases if case not in (*grown, *levels)]
    wanted = render.goals(cases)
    parts = [line for case in others for line in render.figures(case)]
    parts += ["### growth", "", *render.growth(grown)] if grown else []
    for case in levels:
        parts += ["", "### levels", "", *render.levels(case)]
    print("\n".join([*told, "", *wanted, "", *parts]))
    if chosen.json:
        found = {"schema": SCHEMA, "about": told, "cases": [case.to_json() for case in cases]}
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
    if chosen.write_docs:
        spliced(PAGE, "bench", [*told, "", *wanted, "", *parts])
        spliced(README, "bench", wanted)
        if grown:
            with open(PLOT, "w", encoding="utf-8") as file:
                file.write(render.plot(grown))


def main() -> None:
    """Read the options and run; exit 1 if envpack or what it needs fails."""
    parser = argparse.ArgumentParser(description="Measure envpack against its peers, in turns.")
    add = parser.add_argument
    add("--only", default=",".join(SECTIONS), help="which of %(default)s")
    add("--rounds", type=int, default=3, metavar="N", help="turns of each (%(default)s)")
    add("--threads", type=int, default=os.cpu_count(), metavar="N", help="(%(default)s)")
    add("--python", help="of the environment (a managed 3.12, or any self-contained one)")
    add("--quick", action="store_true", help="small trees and one round: does it run at all")
    add("--json", metavar="FILE", help="write every sample there, too")
    add("--write-docs", action="store_true", help="update docs/performance.* and README")
    chosen = parser.parse_args()
    chosen.only = chosen.only.split(",")
    if unknown := set(chosen.only) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    if chosen.rounds < 1:
        parser.error("it takes a round")
    if chosen.quick:
        chosen.rounds = 1
    try:
        run(chosen)
    except BenchError as error:
        sys.exit(f"bench: {error}")


if __name__ == "__main__":
    main()
