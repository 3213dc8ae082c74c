"""A small locked project that `bundle` and `unbundle` are tried on, without Python and uv in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envpack.bundling import bundle
from envpack.uv import Uv

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PYPROJECT = f"""\
[project]
name = "plum"
version = "2.0"
requires-python = "=={PYTHON}.*"
dependencies = [{{needs}}]

[tool.uv]
package = false
{{more}}
"""


def uv(folder: Path, *words: str) -> str:
    """Run plain uv in a folder."""
    command = [Uv.find().path, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plant(folder: Path, *, needs: str = "", more: str = "") -> Path:
    """Write the project and lock it."""
    (folder / "bin").mkdir(parents=True)
    text = PYPROJECT.format(needs=needs, more=more)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / "main.py").write_text("print('plum')\n", encoding="utf-8")
    (folder / "bin/tool").write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / "bin/tool").chmod(0o755)
    (folder / "bin/link").symlink_to("tool")
    (folder / ".env").write_text("TOKEN=1\n", encoding="utf-8")
    uv(folder, "lock", "-q")
    return folder


@pytest.fixture
def plum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the project, as the working directory."""
    folder = plant(tmp_path / "plum é")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def bundled(plum: Path, tmp_path: Path) -> Path:
    """Give its bundle."""
    out = tmp_path / "plum.run"
    bundle(str(out), project=plum, python=False, uv=False)
    return out
