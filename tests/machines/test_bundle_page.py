"""The page about bundles, followed line by line: here, and on a machine that has nothing."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .lab.interpreters import Standalone, downloads_json, standalone, uv_environment
from .lab.missing import require
from .lab.roots import root
from .lab.sandbox import Sandbox
from .lab.session import Lab
from .lab.tools import uv_program
from .packs import source_path

pytestmark = pytest.mark.xdist_group("bundle-page")

PAGE = Path(__file__).parents[2] / "docs/bundle.md"
TEXT = PAGE.read_text(encoding="utf-8")
HERE, THERE = TEXT.partition("## There")[::2]
MINOR = "3.12"
MARK = "--- line"


@dataclass(frozen=True)
class Line:
    """A line to type, and the lines that the page shows below it."""

    typed: str
    shown: tuple[str, ...]


def lines(text: str) -> list[Line]:
    """Return what a part of the page tells to type, in order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for part in f"\n{block}".split("\n$ ")[1:]:
            typed, *shown = part.rstrip("\n").split("\n")
            found.append(Line(typed, tuple(shown)))
    return found


def agrees(shown: tuple[str, ...], output: str) -> bool:
    """Say whether an output is what the page shows; `…` stands for anything, over lines too.

    busybox's realpath, which uv's own scripts call, complains of `--`, and does its work.
    """
    kept = [line for line in output.splitlines() if not line.startswith("realpath: --")]
    text = re.sub(" +", " ", "\n".join(shown))
    pattern = ".*".join(re.escape(part) for part in text.split("…"))
    return re.fullmatch(pattern, re.sub(" +", " ", "\n".join(kept)), re.DOTALL) is not None


def script(told: list[Line], before: str) -> str:
    """Return a shell script of lines that marks where the output of each begins."""
    parts = ["set -e", "exec 2>&1", before]
    for number, line in enumerate(told):
        parts += [f"echo '{MARK} {number}'", line.typed]
    return "\n".join([*parts, f"echo '{MARK} end'"])


def answers(told: list[Line], output: str) -> list[tuple[Line, str]]:
    """Return each line with its output."""
    parts = re.split(rf"^{MARK} \w+\n", output, flags=re.MULTILINE)[1:]
    assert len(parts) == len(told) + 1, output
    return list(zip(told, parts, strict=False))


@pytest.fixture(scope="module")
def folder(work: Path) -> Path:
    """Give the folder of both sides."""
    made = work / "bundle-page"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def here(lab: Lab, folder: Path) -> list[tuple[Line, str]]:
    """Give what each line of this side answered; the bundle is made in /media afterwards."""
    python: Standalone = require(standalone, MINOR)
    programs, media = folder / "programs", folder / "media"
    programs.mkdir()
    media.mkdir()
    (media / "downloads.json").write_text(downloads_json([python]), encoding="utf-8")
    words = [sys.executable, "-c", "from envpack.cli import main; main()"]
    shim = f'#!/bin/sh\nPYTHONPATH={shlex.quote(source_path())} exec {shlex.join(words)} "$@"\n'
    (programs / "envpack").write_text(shim, encoding="utf-8")
    (programs / "envpack").chmod(0o755)
    (programs / "uv").symlink_to(uv_program())
    listed = (media / "downloads.json").as_uri()
    known = {"UV_PYTHON_DOWNLOADS_JSON_URL": listed, "UV_PYTHON": MINOR}
    env = uv_environment(lab.managed(MINOR).install_dir, known)
    env["PATH"] = os.pathsep.join([str(programs), env["PATH"]])
    told = lines(HERE)
    text = script(told, "")
    for block in re.findall(r"^```python\n(# .*?)^```$", HERE, re.MULTILINE | re.DOTALL):
        name = block.split("\n")[0].removeprefix("# ")
        first = "\nenvpack bundle --dry-run\n"
        text = text.replace(first, f"\ncat > {name} <<'END'\n{block}END{first}")
    done = subprocess.run(
        ["sh", "-c", text], cwd=media, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return answers(told, done.stdout)


@pytest.fixture(scope="module")
def there(here: list[tuple[Line, str]], folder: Path) -> list[tuple[Line, str]]:
    """Give what each line of the far side answered."""
    assert here
    home = folder / "you"
    (home / ".config/uv").mkdir(parents=True)
    # uv's own list has no Python that could be had here, so this user's uv has another list.
    listed = 'python-downloads-json-url = "file:///media/downloads.json"\n'
    (home / ".config/uv/uv.toml").write_text(listed, encoding="utf-8")
    told = lines(THERE)
    done = Sandbox(require(root, "bookworm")).run(
        ["sh", "-c", script(told, "cd")],
        binds={"/media": folder / "media"},
        writable={"/home/you": home},
        env={"HOME": "/home/you", "LANG": "C.UTF-8"},
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    shutil.rmtree(folder / "media/orchard", ignore_errors=True)
    return answers(told, done.stdout)


def test_the_page_has_lines() -> None:
    """Both sides do."""
    assert len(lines(HERE)) >= 6
    assert len(lines(THERE)) >= 20


@pytest.mark.parametrize("number", range(len(lines(HERE))))
def test_here(here: list[tuple[Line, str]], number: int) -> None:
    """Each line answers what the page shows."""
    line, output = here[number]
    assert not line.shown or agrees(line.shown, output), f"$ {line.typed}\n{output}"


@pytest.mark.parametrize("number", range(len(lines(THERE))))
def test_there(there: list[tuple[Line, str]], number: int) -> None:
    """Each line answers what the page shows."""
    line, output = there[number]
    assert not line.shown or agrees(line.shown, output), f"$ {line.typed}\n{output}"
