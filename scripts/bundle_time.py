"""Measures `envpack bundle` against uv-pack 0.2.0: `python scripts/bundle_time.py`.

Both bundle the same locked project with the same Python, in turns: wheels come from an index on
this machine that waits 50 ms before each answer, uv-pack's Python from a server beside it. Then
both install on a far side: this machine without a network, with an empty home and another folder.
uv-pack has no sources and no uv in what it makes, so its size is compared with that of
`envpack bundle --no-uv`. Needs Linux on x86-64, Python 3.11+, `bwrap`, what tests/machines makes
its Python 3.12 of, and an index for uv-pack and pip. Prints Markdown on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench import CHECKOUT
from benching.measure import BenchError, called, say
from download_time import LATENCY, stock, timed, with_pip

sys.path.insert(0, CHECKOUT)

from tests.index_server import IndexServer
from tests.machines.lab.interpreters import Standalone, managed, standalone
from tests.shelf import source

MINOR = "3.12"
PEER = "uv-pack==0.2.0"
MIN_RATIO = 2.0
"""The goals: uv-pack's time to install over envpack's; and a bundle that is not larger."""


@contextmanager
def python_served(python: Standalone) -> Iterator[str]:
    """Serve an archive of Python as uv-pack asks for it: a release, and a file of it."""
    name = python.archive.name.replace("install_only", "install_only_stripped")
    data = python.archive.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the release, or with the file."""
            body = data
            if not self.path.endswith(".tar.gz"):
                url = f"http://{self.headers['Host']}/{name}"
                release = {"assets": [{"name": name, "browser_download_url": url}]}
                body = json.dumps(release).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Disposition", f"attachment; filename={name}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/release"
        server.shutdown()


def planted(folder: Path, names: list[str], environ: dict[str, str]) -> None:
    """Make a project that wants all of them, and lock it."""
    source(folder, "orchard", "1.0")
    toml = folder / "pyproject.toml"
    wanted = ", ".join(f'"{name}"' for name in names)
    head, _, tail = toml.read_text("utf-8").partition("[build-system]")
    text = f'{head}requires-python = "=={MINOR}.*"\ndependencies = [{wanted}]\n[build-system]{tail}'
    toml.write_text(text, encoding="utf-8")
    called("uv", "lock", "-q", "--project", str(folder), environ=environ)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def far_side(work: Path, *words: str, variables: dict[str, str] | None = None) -> float:
    """Return the seconds that a command takes without network, with an empty home."""
    home = work / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    environ = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **(variables or {})}
    begin = time.perf_counter()
    called("bwrap", "--dev-bind", "/", "/", "--unshare-net", *words, environ=environ)
    return time.perf_counter() - begin


def measure(number: int, rounds: int, work: Path) -> dict[str, list[float]]:
    """Return seconds and bytes of every round."""
    python = standalone(MINOR)
    there = managed(work / "pythons", [MINOR])[MINOR]
    peer = work / "peer"
    called("uv", "venv", "-q", "--python", str(there.executable), str(peer))
    called("uv", "pip", "install", "-q", "--python", str(peer), PEER)
    shelf = work / "shelf"
    names = stock(shelf, number)
    version = called("uv", "--version").split()[1]
    for each in (["pip"], [f"uv=={version}", "--platform", "musllinux_1_1_x86_64"]):
        get = ("-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:")
        called(with_pip(), *get, "-d", str(shelf), *each)
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    with IndexServer(shelf, latency=LATENCY) as server, python_served(python) as mirror:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
        environ = {**kept, "UV_DEFAULT_INDEX": f"{server.url}/simple/"}
        environ |= {"UV_CACHE_DIR": str(work / "cache"), "UV_PYTHON": str(there.executable)}
        environ |= {"PYTHONPATH": os.path.join(CHECKOUT, "src"), "UV_NO_PROGRESS": "1"}
        environ |= {"PIP_INDEX_URL": f"{server.url}/simple/", "PIP_NO_CACHE_DIR": "1"}
        environ |= {"PIP_CONFIG_FILE": os.devnull}
        project = work / "project"
        planted(project, names, environ)
        theirs = {**environ, "UV_PYTHON_INSTALL_MIRROR": mirror}
        del theirs["PYTHONPATH"]
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            pack, run, bare = work / "pack", work / "orchard.run", work / "bare.run"
            words = ("-C", str(project), str(peer / "bin/uv-pack"), "-o", str(pack))
            note("uv-pack: bundle", timed("env", *words, environ=theirs))
            ours = [sys.executable, "-m", "envpack", "bundle", "-q", "--project", str(project)]
            ours += ["--python", MINOR, "--python-archive", str(python.archive)]
            note("envpack: bundle", timed(*ours, "-o", str(run), environ=environ))
            called(*ours, "--no-uv", "-o", str(bare), environ=environ)
            note("uv-pack: size", size_of(pack))
            note("envpack: size", size_of(run))
            note("envpack: size without uv", size_of(bare))
            place = work / "far side"
            place.mkdir()
            own = {"PYTHON_DIR": str(place / "python"), "VENV_DIR": str(place / "venv")}
            unpack = ("sh", str(pack / "unpack.sh"))
            note("uv-pack: install", far_side(work, *unpack, variables=own))
            note("envpack: install", far_side(work, "sh", str(run), str(place / "orchard")))
            for interpreter in (place / "venv/bin/python", place / "orchard/.venv/bin/python"):
                code = f"import orchard, {', '.join(name.replace('-', '_') for name in names)}"
                called(str(interpreter), "-c", code)
            for path in (pack, place):
                shutil.rmtree(path)
            for path in (run, bare):
                path.unlink()
    return found


def main() -> int:
    """Print the table; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="envpack-bench-") as work:
        try:
            found = measure(options.packages, options.rounds, Path(work))
        except BenchError as error:
            print(f"bundle_time: {error}", file=sys.stderr)
            return 1
    median = {name: statistics.median(values) for name, values in found.items()}
    print(f"- {platform.system()}, {os.cpu_count()} cores, CPython {platform.python_version()}")
    print(
        f"- {options.packages} wheels, Python {MINOR}, {LATENCY * 1000:.0f} ms before each answer"
    )
    print(f"- medians of {options.rounds} rounds, in turns\n")
    print("| | `envpack bundle` | `uv-pack` 0.2.0 | ratio |\n| --- | ---: | ---: | ---: |")
    for name, label in (("bundle", "bundle, s"), ("install", "install on the far side, s")):
        pairs = zip(found[f"uv-pack: {name}"], found[f"envpack: {name}"], strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        mine, other = median[f"envpack: {name}"], median[f"uv-pack: {name}"]
        print(f"| {label} | {mine:.2f} | {other:.2f} | {ratio:.2f} |")
    other = median["uv-pack: size"]
    for name, label in (("size without uv", "size without uv, MB"), ("size", "size with uv, MB")):
        mine = median[f"envpack: {name}"]
        print(f"| {label} | {mine / 1e6:.2f} | {other / 1e6:.2f} | {other / mine:.2f} |")
    print(f"\nGoals: installed {MIN_RATIO:.0f} times as fast, and not larger with the same in it")
    met = ratio >= MIN_RATIO and median["envpack: size without uv"] <= other
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
