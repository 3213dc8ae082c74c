"""The README's two commands on a Debian that has python3 and python3-pip, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from .lab.fresh import SMALL, FreshMachine, fresh_root
from .lab.interpreters import downloads_json, pyenv, standalone
from .lab.missing import require

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hardest(tmp_path: Path) -> FreshMachine:
    """The least there is: Python 3.11.2, an ordinary user, no git, no apt, no libstdc++."""
    return FreshMachine(require(fresh_root, "bookworm", "bare"), tmp_path, as_root=False)


def test_both_commands_as_they_stand(hardest: FreshMachine, tmp_path: Path) -> None:
    """Only the package index answers: Python stays out of the archive, and both say 0.

    The checkout cannot be written to, and its path has a blank.
    """
    hardest.checkout(ROOT, git=False)
    there = "/opt/a checkout"
    hardest = replace(hardest, binds={there: tmp_path / "envpack"})
    done = hardest.run([f"{there}/scripts/quickstart"])
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "  uv could not: `" in done.stdout
    assert " cannot be reached: " in done.stdout
    assert done.stdout.count("42 apples, counted by Python 3.11.2") == 1
    assert "It holds no Python." in done.stdout
    done = hardest.run([f"{there}/scripts/test", "-m", "smoke"])
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    for tool in ("ruff check", "ruff format --check", "mypy", "pytest"):
        assert f"{tool}:" in said
    assert " passed, " in said[-1]
    assert " failed" not in said[-1]


def test_with_a_python_that_uv_gets(hardest: FreshMachine, tmp_path: Path) -> None:
    """What is packed there runs in a third place, without a Python and anything of the home."""
    source = require(standalone, "3.12")
    listed = tmp_path / "downloads.json"
    text = downloads_json([source]).replace(quote(str(source.archive.parent)), "/opt/pythons")
    listed.write_text(text, encoding="utf-8")
    binds = {"/opt/checkout": ROOT, "/opt/pythons": source.archive.parent}
    machine = replace(hardest, binds=binds)
    script = """
        test -e /usr/lib/python3.11/EXTERNALLY-MANAGED
        ! python3 -c 'import ensurepip' 2>/dev/null
        ! command -v uv
        /opt/checkout/scripts/quickstart --keep 'kept here'
        rm -r .local .cache 'kept here/fruit-stand'
        mv 'kept here/another place' '/srv/a third'
        exec env -i '/srv/a third/bin/fruit-stand'
    """
    env = {"UV_PYTHON_DOWNLOADS_JSON_URL": f"file://{machine.home}/{listed.name}"}
    done = machine.run(["sh", "-euc", script], env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("42 apples, counted by Python 3.12.") == 2
    assert f"pip install --target {machine.home}/.cache" in done.stdout
    assert "$ uv python install" in done.stdout


NETWORK = "error: cannot fetch uv with pip: .* cannot be reached: its name [^:]+\n"
DISK = "error: cannot fetch uv with pip: no space is left on the disk\n"
CHECK = "hint: check the network, the disk and pip's index settings, or install uv yourself\n"
NO_PIP = (
    "error: there is neither uv nor a Python with pip, which uv comes by\nhint: install one .*\n"
)


@pytest.mark.parametrize("script", ["quickstart", "test"])
@pytest.mark.parametrize(
    ("lacks", "env", "said"),
    [
        ({"network": False}, {}, NETWORK + CHECK),
        ({"hidden": ["/usr/lib/python3/dist-packages"]}, {}, NO_PIP),
        ({}, {"XDG_CACHE_HOME": SMALL}, DISK + CHECK),
    ],
    ids=["no network", "no pip", "no room"],
)
def test_what_lacks_is_a_sentence(
    hardest: FreshMachine,
    tmp_path: Path,
    script: str,
    lacks: dict[str, Any],
    env: dict[str, str],
    said: str,
) -> None:
    """It names the cause and the way out, and nothing half-made stays."""
    machine = replace(hardest, **lacks)
    there = machine.checkout(ROOT, git=False)
    done = machine.run([f"{there}/scripts/{script}"], env=env)
    assert (done.returncode, re.fullmatch(said, done.stderr) is not None) == (1, True), done.stderr
    left = (path.suffix for path in (tmp_path / ".cache").glob("uv-envpack-dev/*"))
    assert set(left) <= {".lock"}


@pytest.mark.parametrize("script", ["quickstart", "test"])
@pytest.mark.parametrize("minor", ["3.6", "3.8", "3.10"])
def test_an_older_python_is_a_sentence(script: str, minor: str, tmp_path: Path) -> None:
    """Each Python 3 from 3.6 on can read the scripts as far as that, and starts a newer one."""
    python = require(pyenv, minor).prefix / f"bin/python{minor}"
    command = [str(python), str(ROOT / "scripts" / script), "--help"]
    env = {"PATH": str(tmp_path)}
    alone = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (alone.returncode, alone.stdout) == (1, "")
    assert re.fullmatch(
        rf"error: scripts/{script} needs Python 3\.11 or newer, and this is Python {minor}\.\d+\n"
        rf"hint: start it with another: `python3\.12 scripts/{script}`\n",
        alone.stderr,
    )
    env = {"PATH": os.path.dirname(sys.executable)}
    name = f"python3.{sys.version_info[1]}"
    if not os.path.exists(os.path.join(env["PATH"], name)):
        pytest.skip(f"no `{name}` beside the Python of the tests")
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: scripts/{script} ")
