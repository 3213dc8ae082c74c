#!/usr/bin/env python3
"""Kill envpack at random moments, and look at what is there, at once and after the next run.

A kill takes the process and all below it, as a container's end does. Wrong is an output that is
neither the old nor the new one, a file of another content, a next run that fails or gives other
bytes, an environment that does not run; lost is an output that was there; left is whatever lies
beside the output, or in TMPDIR, when the next run has ended. Needs Linux and the package index:
`uv run python scripts/kills.py [--count 50] [--seed 1] [WHAT ...]`.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envpack.uv import Uv

PYPROJECT = f"""\
[project]
name = "plum"
version = "1.0"
requires-python = "=={sys.version_info.major}.{sys.version_info.minor}.*"
dependencies = ["click==8.1.7", "docopt==0.6.2", "rich==13.7.1", "tomli==2.0.1"]

[tool.uv]
package = false
"""
BARE = ("--no-python", "--no-uv")
SAYS = "import click, docopt, rich, tomli; print('42 plums')"
PARTS = (".part", ".json", ".lock")
UVS = ("/RECORD", "/uv_cache.json", "/installed.json", ".venv/.lock")
"""What uv writes into an environment with the time of day, and what names that."""


@dataclass(frozen=True)
class Command:
    """What is killed: `words` write `output`, and `before` writes the one that is there first."""

    output: str
    words: Sequence[str]
    before: Sequence[str] = ()
    grows: bool = False


COMMANDS = {
    "pack": Command(
        "o.tar.gz",
        ("pack", "--no-python", "-f", "-o", "{out}"),
        ("pack", "--no-python", "-f", "-o", "{out}", "--exclude", "*/click/*"),
    ),
    "dir": Command(
        "o",
        ("pack", "--no-python", "--format", "dir", "-f", "-o", "{out}"),
        ("pack", "--no-python", "--format", "dir", "-f", "-o", "{out}", "--exclude", "*/click/*"),
    ),
    "download": Command("d", ("download", "-o", "{out}"), grows=True),
    "bundle": Command(
        "o.run",
        ("bundle", *BARE, "-f", "-o", "{out}"),
        ("bundle", *BARE, "-f", "-o", "{out}", "--no-source"),
    ),
    "unbundle": Command("u", ("unbundle", "{bundle}", "{out}"), grows=True),
    "layout": Command(
        "l",
        ("layout", *BARE, "--no-seed", "-f", "-o", "{out}"),
        ("layout", *BARE, "--no-seed", "-f", "-o", "{out}", "-r", "{less}"),
    ),
}


class Trial:
    """A project, its environment and its bundle, and a command that is killed again and again."""

    def __init__(self, work: Path, command: Command, seed: int) -> None:
        self.command = command
        self.project, self.beside, self.scratch = (work / x for x in ("plum", "out", "tmp"))
        for folder in (self.project, self.beside, self.scratch):
            folder.mkdir()
        self.output = self.beside / command.output
        self.environ = os.environ | {
            "TMPDIR": str(self.scratch),
            "ENVPACK_CACHE_DIR": str(work / "cache"),
        }
        self.random = random.Random(seed)  # noqa: S311 - moments, no secrets
        (self.project / "pyproject.toml").write_text(PYPROJECT, "utf-8")
        (self.project / "main.py").write_text(SAYS, "utf-8")
        (work / "less.txt").write_text("tomli==2.0.1\n", "utf-8")
        uv = Uv.find().path
        for words in (["lock", "-q"], ["sync", "-q"]):
            subprocess.run([uv, *words, "-p", sys.executable], cwd=self.project, check=True)
        self.places = {
            "out": str(self.output),
            "bundle": str(work / "b.run"),
            "less": str(work / "less.txt"),
        }
        self.run(("bundle", *BARE, "-o", "{bundle}"))

    def started(self, words: Sequence[str]) -> "subprocess.Popen[str]":
        """Start envpack in a process group of its own."""
        line = [sys.executable, "-m", "envpack", *(word.format(**self.places) for word in words)]
        return subprocess.Popen(
            line,
            cwd=self.project,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, words: Sequence[str]) -> str:
        """Run envpack to its end; return what was wrong."""
        with self.started(words) as process:
            said = process.communicate()[1]
        return said if process.returncode else ""

    def remove(self) -> None:
        """Remove the output."""
        if self.output.is_dir():
            shutil.rmtree(self.output)
        else:
            self.output.unlink(missing_ok=True)

    def told(self) -> dict[str, str]:
        """Return what the output is: the digest of each file, the target of each link."""
        if self.output.is_file():
            return {"": hashlib.sha256(self.output.read_bytes()).hexdigest()}
        found = {}
        for path in self.output.rglob("*"):
            name = path.relative_to(self.output).as_posix()
            if path.is_symlink():
                found[name] = os.readlink(path)
            elif path.is_file() and "__pycache__" not in name and not name.endswith(UVS):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def left(self) -> list[str]:
        """Return what is there besides the output; uv keeps locks of its own in TMPDIR."""
        here = [path.name for path in self.beside.iterdir() if path != self.output]
        there = [path.name for path in self.scratch.iterdir() if not path.name.startswith("uv-")]
        return sorted(here + there)

    def kill(self, after: float) -> bool:
        """Start the command, and kill it after some seconds; say whether it was still at work."""
        with self.started(self.command.words) as process:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGSTOP)  # or it would start what is not known here
                for number in (*below(process.pid), process.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)
                process.communicate()
                return True
            process.communicate()
        return False

    def is_no_output(self, found: dict[str, str], old: dict[str, str], new: dict[str, str]) -> bool:
        """Say whether what a killed run has left under the output's name is no output."""
        if not self.command.grows:
            return found not in (old, new, {})
        if self.command.output == "u":  # what it installs is made in place
            return False
        lock = (self.project / "uv.lock").read_text("utf-8")
        return any(
            new.get(name) != digest and digest not in lock and not name.endswith(PARTS)
            for name, digest in found.items()
        )

    def runs(self) -> bool:
        """Say whether an environment, if that is the output, does what it is for."""
        if self.command.output != "u":
            return True
        words = [".venv/bin/python", "main.py"]
        done = subprocess.run(words, cwd=self.output, capture_output=True, text=True, check=False)
        return done.stdout == "42 plums\n"

    def tried(self, count: int) -> Counter[str]:
        """Kill `count` times, and count what came of it."""
        command, counts = self.command, Counter[str]()
        begin = time.monotonic()
        if wrong := self.run(command.words):
            raise SystemExit(f"error: undisturbed, it says {wrong}")
        span, new, number = time.monotonic() - begin, self.told(), 0
        while counts["killed"] < count:
            number += 1
            self.remove()
            old: dict[str, str] = {}
            if command.before and number % 2:
                self.run(command.before)
                old = self.told()
            elif not command.before and number % 3 == 0:
                self.run(command.words)
                old = new
            if not self.kill(self.random.uniform(0.02, 1.0) * span):
                continue
            counts["killed"] += 1
            found = self.told() if os.path.lexists(self.output) else {}
            bad = self.is_no_output(found, old, new)
            counts["lost"] += bool(old) and not found
            counts["left, at once"] += bool(self.left())
            said, after = self.run(command.words), self.told()
            bad = bad or bool(said) or after != new or not self.runs()
            counts["wrong"] += bad
            counts["left"] += bool(self.left())
            if bad or self.left():
                at_once = sorted(n for n, digest in found.items() if new.get(n) != digest)
                differ = sorted({n for n, _ in {*after.items()} ^ {*new.items()}})
                told = f"{at_once[:3]} at once, {differ[:3]} after, {self.left()[:3]} left"
                print(f"  {number}: {said.strip()} {told}", flush=True)
        return counts


def below(process: int) -> list[int]:
    """Return the processes that a process has started, those that they have started first."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
            if parent == process:
                found = [*below(int(folder.name)), int(folder.name), *found]
    return found


def main() -> int:
    """Try what was named, and print a row of Markdown for each."""
    parser = argparse.ArgumentParser(prog="scripts/kills.py", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*COMMANDS, []], help="only this; repeatable")
    parser.add_argument("--count", type=int, default=50, help="kills of each  [default: 50]")
    parser.add_argument("--seed", type=int, default=1, help="of the moments  [default: 1]")
    chosen = parser.parse_args()
    columns = ("killed", "left, at once", "wrong", "lost", "left")
    print(f"| what | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    bad = 0
    for name in chosen.what or COMMANDS:
        with tempfile.TemporaryDirectory(prefix="envpack-kills-") as work:
            counts = Trial(Path(work), COMMANDS[name], chosen.seed).tried(chosen.count)
        print(f"| {name} | {' | '.join(str(counts[x]) for x in columns)} |", flush=True)
        bad += sum(counts[x] for x in columns[2:])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
