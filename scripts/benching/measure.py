"""Commands run in turns, and what each cost."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class BenchError(Exception):
    """A program is missing or failed; the text says which and how."""


class Sample(NamedTuple):
    """One run: seconds, seconds of CPU of all its processes, peak bytes of memory, bytes out."""

    wall: float
    cpu: float
    peak: int
    size: int


@dataclass(slots=True)
class Contestant:
    """One command: words with blanks between, `|` between programs; `{out}` is what it writes.

    Without `{out}` its standard output is what it writes. `before` runs ahead of each turn, and is
    not measured.
    """

    name: str
    command: str
    before: Callable[[], None] = field(default=lambda: None)
    samples: list[Sample] = field(default_factory=list)

    def median(self) -> Sample:
        """Return the median of each number by itself."""
        columns = zip(*self.samples, strict=True)
        wall, cpu, peak, size = (statistics.median(column) for column in columns)
        return Sample(wall, cpu, int(peak), int(size))

    def times(self, other: Contestant) -> float:
        """Return how many times the wall time of this one `other` took: the rounds' median."""
        pairs = zip(self.samples, other.samples, strict=True)
        return statistics.median(theirs.wall / own.wall for own, theirs in pairs)

    def to_json(self) -> dict[str, Any]:
        """Return every sample."""
        samples = [sample._asdict() for sample in self.samples]
        return {"name": self.name, "command": self.command, "samples": samples}


class Goal(NamedTuple):
    """What is wanted of a case: a figure, in words, and whether it is as it should be."""

    case: str
    what: str
    wanted: str
    found: str
    met: bool


@dataclass(slots=True)
class Case:
    """Contestants that did the same work, in turns, and the goals that were set for it."""

    name: str
    title: str
    contestants: list[Contestant] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def named(self, name: str) -> Contestant | None:
        """Return one of the contestants, None if it is not there or was not measured."""
        return next((one for one in self.contestants if one.name == name and one.samples), None)

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "name": self.name,
            "title": self.title,
            "contestants": [one.to_json() for one in self.contestants],
            "goals": [goal._asdict() for goal in self.goals],
        }


@dataclass(slots=True)
class Bench:
    """Where everything is; `notes` are what the reader of the figures has to know."""

    work: str
    threads: int
    rounds: int
    environ: dict[str, str]
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a line for the reader, and say it now."""
        self.notes.append(text)
        say(text)

    def compete(self, case: Case, tree: str, rounds: int | None = None) -> Case:
        """Run all in turns, in the folder `tree`; one that fails is out, and named.

        There are the bench's `rounds`, unless others are given.
        """
        rounds = rounds or self.rounds
        out = os.path.join(self.work, f"out-{case.name.replace(' ', '-')}")
        for number in range(rounds):
            say(f"{case.name}: round {number + 1} of {rounds}, {len(case.contestants)} turns")
            for one in tuple(case.contestants):
                try:
                    one.before()
                    os.sync()  # nobody pays for what the one before has left to write
                    one.samples.append(self.measured(one.command, out, tree))
                except BenchError as error:
                    if one.name.startswith("envpack"):
                        raise
                    case.contestants.remove(one)
                    self.note(f"not measured, {case.name}: `{one.name}`: {error}")
                finally:
                    for path in _written(out):
                        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        return case

    def measured(self, command: str, out: str, folder: str) -> Sample:
        """Run one command and return what it cost; raises BenchError if any part of it fails.

        The peaks of a pipeline's processes are summed, as they run at once.
        """
        running: list[subprocess.Popen[bytes]] = []
        sink_name = os.devnull if "{out}" in command else out
        pipeline = [part.split() for part in command.split(" | ")]
        for program, *_ in pipeline:
            if shutil.which(program, path=self.environ["PATH"]) is None:
                raise BenchError(f"`{program}` is missing")
        with tempfile.TemporaryFile() as errors, open(sink_name, "wb") as sink:
            begin = time.perf_counter()
            for number, words in enumerate(pipeline, 1):
                before = running[-1].stdout if running else None
                process = subprocess.Popen(
                    [word.format(out=out, n=self.threads) for word in words],
                    stdin=before or subprocess.DEVNULL,
                    stdout=sink if number == len(pipeline) else subprocess.PIPE,
                    stderr=errors,
                    cwd=folder,
                    env=self.environ,
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
        files = [path for path in _written(out) if os.path.isfile(path)]
        return Sample(wall, cpu, peak, sum(os.path.getsize(path) for path in files))


def _written(out: str) -> list[str]:
    """Return what a command left under a name, with any suffix."""
    folder, name = os.path.split(out)
    return [os.path.join(folder, each) for each in os.listdir(folder) if each.startswith(name)]


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


def files_below(tree: str) -> Iterator[str]:
    """Yield the path of every file that is no link."""
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                yield path


def warm(trees: Iterable[str]) -> None:
    """Read every file, so that all find it in the page cache."""
    for tree in trees:
        for path in files_below(tree):
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass
