"""The bytes of an archive do not depend on the CPU that made it, nor on the number of workers.

Engines choose their code by what the CPU can do. `qemu-x86_64` shows a process an old one: a
Nehalem of 2008 has no AVX, no AVX2 and no carry-less multiplication, which they use where they can.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .lab.missing import MissingMachine, require

CPUS = ("Nehalem", "Haswell", "max")
LEVELS = (1, 4, 9)
LOADER = "/lib64/ld-linux-x86-64.so.2"
CODE = """
import hashlib, json, os, sys, tempfile
from envpack.archive import FORMATS
from envpack.model import Member
from envpack.parallel import Pool

paths, levels, jobs = json.loads(sys.argv[1])
digests = {}
for form in FORMATS:
    for level in levels if form.levels else ():
        members = []
        for number, path in enumerate(paths):
            data = open(path, "rb").read()
            members.append(Member(f"lib/{number}", len(data), False, (data,)))
        with tempfile.TemporaryDirectory() as folder, Pool(jobs) as pool:
            target = os.path.join(folder, "out")
            form.write(members, target, level=level, mtime=0, pool=pool)
            with open(target, "rb") as file:
                digests[f"{form.name} {level}"] = hashlib.sha256(file.read()).hexdigest()
print(json.dumps(digests))
"""


def emulator() -> str:
    """Return `qemu-x86_64`, which runs a program of this machine as on another CPU."""
    found = shutil.which("qemu-x86_64")
    if found is None or platform.machine() != "x86_64" or not os.path.exists(LOADER):
        raise MissingMachine("another x86-64 CPU needs qemu-x86_64 (Debian: qemu-user), and glibc")
    return found


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of several kinds: text, a program, what does not compress, one over 8 MiB."""
    folder = tmp_path_factory.mktemp("content")
    stdlib = Path(os.__file__).parent
    text = b"".join(path.read_bytes() for path in sorted(stdlib.glob("*.py")))[:1_500_000]
    program = Path(os.path.realpath(sys.executable)).read_bytes()[:1_000_000]
    large = (program[:60_000] + text[:70_000]) * 70
    made = {"text": text, "program": program, "noise": os.urandom(300_000), "large": large}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in made]


def digests(content: list[str], jobs: int, *before: str) -> dict[str, str]:
    """Write the files in every format and level, and return what came out."""
    src = Path(__file__).parents[2] / "src"
    words = [*before, sys.executable, "-c", CODE, json.dumps([content, LEVELS, jobs])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(src), *filter(None, sys.path)))}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def native(content: list[str]) -> dict[str, str]:
    """What this machine's own CPU makes."""
    return digests(content, 2)


def test_an_old_cpu_is_seen(content: list[str]) -> None:
    """The loader finds no level 3 of x86-64 on a Nehalem, and does on a Haswell: no empty proof."""
    qemu = require(emulator)
    for cpu, seen in (("Nehalem", False), ("Haswell", True)):
        words = [qemu, "-cpu", cpu, LOADER, "--help"]
        told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        assert "x86-64-v2 (supported" in told
        assert ("x86-64-v3 (supported" in told) is seen


@pytest.mark.parametrize("cpu", CPUS)
def test_the_same_bytes_on_another_cpu(
    cpu: str, content: list[str], native: dict[str, str]
) -> None:
    """Every format at the fastest, the default and the smallest level."""
    assert len(native) == 3 * len(LEVELS)
    assert digests(content, 2, require(emulator), "-cpu", cpu) == native


@pytest.mark.parametrize("jobs", [1, 7])
def test_the_same_bytes_with_other_workers(
    jobs: int, content: list[str], native: dict[str, str]
) -> None:
    """One worker or seven make what two do."""
    assert digests(content, jobs) == native
