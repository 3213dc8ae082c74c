"""What is shown while a command runs, and what becomes of what nobody foresaw."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from envpack import packing
from envpack.cli import run

ESCAPE = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])")


def on_terminal(*words: str, env: Mapping[str, str] | None = None) -> str:
    """Run Python with its stderr on a terminal, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    path = os.pathsep.join(path for path in sys.path if path)
    given = {**os.environ, "PYTHONPATH": path, "COLUMNS": "100", "TERM": "xterm", **(env or {})}
    child = subprocess.Popen([sys.executable, *words], stderr=theirs, env=given)
    os.close(theirs)
    written = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        written += block
    os.close(ours)
    assert child.wait() == 0, written.decode()
    return written.decode()


def screen(written: str) -> list[str]:
    """Return the lines that a terminal shows after all that was written to it."""
    lines, row, column = [""], 0, 0
    place = 0
    while place < len(written):
        found = ESCAPE.match(written, place)
        if found:
            count = int(found[1]) if found[1].isdigit() else 1
            if found[2] == "A":
                row = max(row - count, 0)
            elif found[2] == "K":
                lines[row] = "" if found[1] == "2" else lines[row][:column]
            place = found.end()
            continue
        sign = written[place]
        place += 1
        if sign == "\r":
            column = 0
        elif sign == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] = lines[row][:column].ljust(column) + sign + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_honoured(no_color: str, coloured: bool) -> None:
    """Colour: on a terminal, unless NO_COLOR says no (no-color.org); the label is there anyway."""
    code = "from envpack.cli import run; assert run(['pack', 'nowhere']) == 1"
    text = on_terminal("-c", code, env={"NO_COLOR": no_color})
    assert "error" in text
    assert ("\x1b[" in text) is coloured


@pytest.mark.smoke
def test_one_display_for_all_of_a_command() -> None:
    """Each line stands above the bar and stays; no bar stays, however many stages there were."""
    code = """
import threading, time
from envpack.cli.console import Progress
before = threading.active_count()
progress = Progress(quiet=False, verb="bundling")
for stage in range(3):
    progress.planned(2, 1000)
    for size in range(0, 1001, 250):
        progress.tick(0, size)
        time.sleep(0.11)
        if size == 500:
            progress.say(f"Building part [{stage}] of 3")
    progress.say(f"Fetching {stage}")
progress.close()
time.sleep(1)
assert threading.active_count() == before
"""
    written = on_terminal("-c", code)
    assert written.count("bundling") > 6
    assert "50%" in written
    pairs = [(f"Building part [{n}] of 3", f"Fetching {n}") for n in range(3)]
    assert screen(written) == [line for pair in pairs for line in pair]


def test_a_bar_that_is_shown_is_alone_on_its_line() -> None:
    """What is said before the first bar, and beside one, shares no line with it."""
    code = """
import time
from envpack.cli.console import Progress
progress = Progress(quiet=False, verb="bundling")
progress.say("Resolving")
progress.planned(2, 1000)
progress.tick(0, 500)
time.sleep(0.3)
progress.say("Building fruit")
progress.tick(0, 600)
time.sleep(0.3)
import os
os._exit(0)
"""
    first, second, bar = screen(on_terminal("-c", code))
    assert (first, second) == ("Resolving", "Building fruit")
    assert re.fullmatch(r"bundling [━╸╺ ]+ +60% 0\.6/1\.0 kB .*", bar), bar


def test_plain_lines_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """A log has what is going on, once each, and no bar; -q has nothing."""
    from envpack.cli.console import Progress

    for quiet in (False, True):
        progress = Progress(quiet=quiet, verb="bundling")
        progress.say("Resolving")
        progress.planned(1, 2500)
        progress.tick(0, 2500)
        progress.planned(0, 0)
        progress.close()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "Resolving\nbundling 1 file, 2.5 kB\n")


def broken(error: Exception) -> object:
    """Return a stand-in for `pack` that fails so."""

    def pack(*_words: object, **_options: object) -> None:
        raise error

    return pack


@pytest.mark.smoke
@pytest.mark.parametrize(
    "error", [TypeError("no `filter`\nhere"), RecursionError("deep"), KeyError("x"), MemoryError()]
)
def test_what_nobody_foresaw_is_a_fault_of_envpack(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One sentence with the place and the version, and how to get the traceback; never that."""
    monkeypatch.setattr(packing, "pack", broken(error))
    monkeypatch.delenv("ENVPACK_DEBUG", raising=False)
    assert run(["pack"]) == 1
    out, err = capfd.readouterr()
    what = re.escape(" ".join(f"{type(error).__name__}: {error}".split()))
    first, second, *more = err.splitlines()
    assert (out, more) == ("", [])
    told = (
        rf"error: this is a fault of envpack: {what} \(cli/pack\.py:\d+, envpack 0\.2\.0\.dev0.*\)"
    )
    assert re.fullmatch(told, first)
    assert second == (
        "hint: please report it, with what you typed; ENVPACK_DEBUG=1 shows the traceback"
    )
    monkeypatch.setenv("ENVPACK_DEBUG", "1")
    assert run(["pack"]) == 1
    assert capfd.readouterr().err.startswith("Traceback (most recent call last):\n")


def test_an_error_of_the_system_names_its_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Such as a file that may not be read: that is no fault of stdout's, nor of envpack's."""
    denied = PermissionError(13, "Permission denied", "a/uv.lock")
    monkeypatch.setattr(packing, "pack", broken(denied))
    assert run(["pack"]) == 1
    assert capfd.readouterr() == ("", "error: `a/uv.lock`: Permission denied\n")
    monkeypatch.setattr(packing, "pack", broken(OSError(5, "Input/output error")))
    assert run(["pack"]) == 1
    assert "this is a fault of envpack: OSError: [Errno 5]" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("plant", "code", "said"),
    [
        (
            "raise KeyboardInterrupt",
            130,
            "error: interrupted; nothing was left behind\n",
        ),
        (
            "raise ImportError('no click here')",
            1,
            "error: envpack is not installed whole: no click here\n"
            "hint: install it anew, with what it depends on\n",
        ),
    ],
)
def test_what_fails_before_the_command_line_is_there(
    plant: str, code: int, said: str, tmp_path: Path
) -> None:
    """Ctrl-C while modules are read, and a dependency that lacks: a sentence each."""
    (tmp_path / "click.py").write_text(plant, "utf-8")
    path = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    words = [sys.executable, "-m", "envpack", "pack"]
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)
