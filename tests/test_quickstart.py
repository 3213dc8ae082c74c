"""scripts/quickstart does what it says; tests/machines/test_fresh.py sees it on bare machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.machines.lab.cache import cache_folder
from tests.machines.lab.interpreters import downloads_json, standalone
from tests.machines.lab.missing import MissingMachine, require, required
from tests.machines.lab.tools import call, clean_environment, tool, uv_program

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts/quickstart"
WANTED = ">=3.9,<3.14"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the script with a Python, in a home and a temporary folder of the test's own."""

    def run(
        *words: str | Path, python: str = sys.executable, **env: str
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "tmp").mkdir(exist_ok=True)
        home = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
        home["XDG_CACHE_HOME"] = str(tmp_path / "home/.cache")
        home["PATH"] = os.environ["PATH"]  # with pyenv's shims: the script must bear them
        return start([python, str(SCRIPT), *map(str, words)], clean_environment(home | env))

    return run


def start(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=600, check=False
    )


def pythons_of_uv() -> str:
    """Return the folder of uv's Pythons; raise MissingMachine if uv knows none to pack."""
    env = clean_environment({"PATH": os.environ["PATH"]})
    uv = uv_program()
    folder = call([uv, "python", "dir"], env=env).strip()
    words = [uv, "python", "find", "--no-project", "--managed-python", WANTED]
    if start(words, env).returncode == 0:
        return folder
    words = [uv, "python", "list", "--only-installed", "--output-format", "json", WANTED]
    paths = [os.path.realpath(found["path"]) for found in json.loads(call(words, env=env))]
    prefixes = {os.path.dirname(os.path.dirname(path)) for path in paths}
    if not prefixes - {"/usr", "/usr/local"}:
        raise MissingMachine("uv knows no Python but the system's; `uv python install` gets one")
    return folder


def interpreters(asked: bool, tmp_path: Path) -> dict[str, str]:
    """Return the variables by which uv gets a Python: a local list of the lab, if asked for."""
    cache = {"UV_CACHE_DIR": str(cache_folder() / "uv")}
    if not asked:
        folder = require(pythons_of_uv)
        return {**cache, "UV_PYTHON_INSTALL_DIR": folder, "UV_PYTHON_DOWNLOADS": "never"}
    listed = tmp_path / "downloads.json"
    listed.write_text(downloads_json([require(standalone, "3.12")]), encoding="utf-8")
    return {
        **cache,
        "UV_PYTHON_DOWNLOADS_JSON_URL": listed.as_uri(),
        "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons"),
    }


def test_it_packs_and_runs_a_project(
    request: pytest.FixtureRequest, run: Run, tmp_path: Path
) -> None:
    """The console script answers from a path with a blank; what is kept is what was said."""
    asked = bool(request.config.getoption("--machines")) or required()
    env = interpreters(asked, tmp_path)
    keep = tmp_path / "kept here"
    done = run("--keep", keep, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.count("42 apples, counted by Python 3.") == 1
    assert "$ envpack pack" in done.stdout
    (archive,) = (keep / "fruit-stand").glob("fruit-stand-1.0-*.tar.gz")
    assert done.stdout.splitlines()[-1].endswith(str(archive))
    script = keep / "another place/bin/fruit-stand"
    assert start([str(script)], {}).stdout.startswith("42 apples")
    assert list((tmp_path / "tmp").glob("envpack-*")) == []


def test_a_folder_in_use_is_not_touched(run: Run, tmp_path: Path) -> None:
    """--keep wants a new or an empty folder."""
    (tmp_path / "file").write_text("x")
    done = run("--keep", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: `{tmp_path}` is not empty\nhint: name a folder that is new\n"


def without_uv(tmp_path: Path, pip: str | None) -> tuple[str, str]:
    """Return a Python with no pip or with one that runs some code, and a PATH without uv."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    bin_folder = tmp_path / "programs"
    bin_folder.mkdir()
    for name in ("tar", "gzip"):
        (bin_folder / name).symlink_to(tool(name))
    python = tmp_path / "bare/bin/python"
    if pip is not None:
        (site,) = (tmp_path / "bare/lib").glob("python3*/site-packages")
        (site / "pip").mkdir()
        (site / "pip/__main__.py").write_text(pip, encoding="utf-8")
    return str(python), str(bin_folder)


def test_without_pip_it_says_so(run: Run, tmp_path: Path) -> None:
    """No uv and no pip: one sentence and the way out, no traceback, nothing left over."""
    python, path = without_uv(tmp_path, None)
    done = run(python=python, PATH=path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr == (
        "error: there is neither uv nor a Python with pip, which uv comes by\n"
        "hint: install one of them with your system's package manager (Debian, Ubuntu:"
        " `python3-pip`)\n"
    )
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_network_it_says_so(run: Run, tmp_path: Path) -> None:
    """One sentence and the way out; no half of a uv stays in the cache."""
    pip = "import sys\nif '--version' not in sys.argv:\n    sys.exit('ERROR: no such host')\n"
    python, path = without_uv(tmp_path, pip)
    done = run(python=python, PATH=path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: cannot fetch uv with pip: no such host\n"
        "hint: check the network, the disk and pip's index settings, or install uv yourself\n"
    )
    assert list((tmp_path / "home/.cache/uv-envpack-dev").iterdir()) == []
