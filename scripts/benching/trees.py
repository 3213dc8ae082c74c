"""Environments to measure: the reference, a copy of it that may be changed, synthetic ones.

Run as a program it makes a synthetic one: in a process of its own, as the peak of a process is
also its children's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Iterable, Iterator

from benching.measure import BenchError, called, say

SMALL = ("requests", "click", "idna")
REFERENCE = (
    "numpy",
    "pandas",
    "requests",
    "pyarrow",
    "scikit-learn",
    "ipykernel",
    "black",
    "jupyterlab",
)
CHANGED = "idna"
"""A small package that is in both, and changes between two packs."""

_PROBE = """import json, sys
print(json.dumps([sys.base_prefix, sys.executable, sys.version.split()[0]]))"""
_PER_DISTRIBUTION = 200
_PER_FOLDER = 8
"""Files, as in the reference environment."""

_LARGE = 4_000_000


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


def copied(env: str, folder: str) -> str:
    """Return a copy of an environment whose files are links to the same bytes.

    Scripts are copies, as their first line names the environment.
    """
    shutil.copytree(env, folder, symlinks=True, copy_function=os.link)
    scripts = os.path.join(folder, "bin")
    for name in os.listdir(scripts):
        path = os.path.join(scripts, name)
        if not os.path.islink(path):
            with open(path, "rb") as file:
                data = file.read().replace(os.fsencode(env), os.fsencode(folder))
            mode = os.stat(path).st_mode
            os.unlink(path)
            with open(path, "wb") as file:
                file.write(data)
            os.chmod(path, mode)
    return folder


def change(env: str, number: int) -> None:
    """Give one module of the small package a new last line, in a new file."""
    (path,) = _modules(env)
    with open(path, "rb") as file:
        data = re.sub(rb"\n# change \d+\n$", b"\n", file.read())
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(data + b"# change %d\n" % number)


def _modules(env: str) -> Iterator[str]:
    for name in os.listdir(os.path.join(env, "lib")):
        yield os.path.join(env, "lib", name, "site-packages", CHANGED, "core.py")


def synthetic(folder: str, python: str, files: int, size: int) -> str:
    """Make an environment of `files` files with `size` bytes in all; the same ones each time.

    Distributions have 200 files, most of them modules of a few thousand words' choice, which
    compress to a third. What these do not fill is in files like libraries, of 4 MB and up.
    """
    called("uv", "venv", "--quiet", "--python", python, folder)
    environ = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    called(sys.executable, __file__, folder, str(files), str(size), environ=environ)
    return folder


def fill(folder: str, files: int, size: int) -> None:
    """Put the distributions into an empty environment."""
    chance = random.Random(f"{files} {size}")  # noqa: S311 - a tree, no secret
    (site,) = (
        os.path.join(folder, "lib", name, "site-packages")
        for name in os.listdir(os.path.join(folder, "lib"))
    )
    letters = "abcdefghijklmnopqrstuvwxyz_"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 11))) for _ in range(4000)]
    text = " ".join(chance.choices(words, k=1_000_000)).encode()
    each = min(size // files, 12_000)
    rest = max(0, size - each * files)
    large = min(files // 2, rest // _LARGE)
    for first in range(0, files, _PER_DISTRIBUTION):
        name = f"package_{first // _PER_DISTRIBUTION:05}"
        rows = []
        for number in range(first, min(files, first + _PER_DISTRIBUTION)):
            nth = number // _PER_FOLDER
            middle = f"{words[nth % 5]}/{words[nth % 25]}" if nth % 25 else "."
            path = os.path.normpath(f"{name}/{middle}/{words[number % 4000]}_{number}.py")
            data: Iterable[bytes] = [_slice(text, chance, max(1, each))]
            if number < large:
                path = path.removesuffix(".py") + ".so"
                data = _library(text, chance, rest // large)
            rows.append(_written(site, path, data))
        info = f"{name}-1.0.dist-info"
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
        rows += [_written(site, f"{info}/METADATA", [about]), f"{info}/RECORD,,"]
        _written(site, f"{info}/RECORD", ["\n".join([*rows, ""]).encode()])


def _slice(text: bytes, chance: random.Random, size: int) -> bytes:
    start = chance.randrange(max(1, len(text) - size))
    return text[start : start + size]


def _library(text: bytes, chance: random.Random, size: int) -> Iterator[bytes]:
    """Yield bytes that compress about as libraries do: a part of them by chance."""
    for _ in range(0, size, 1 << 20):
        yield chance.randbytes(1 << 18) + _slice(text, chance, 3 << 18)


def _written(site: str, path: str, data: Iterable[bytes]) -> str:
    """Write a file and return its line of RECORD."""
    full = os.path.join(site, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    total, size = hashlib.sha256(), 0
    with open(full, "wb") as file:
        for piece in data:
            total.update(piece)
            size += file.write(piece)
    digest = base64.urlsafe_b64encode(total.digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{size}"


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
