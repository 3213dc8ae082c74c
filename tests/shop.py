"""A project locked against an index on this machine: what `download` and `sync` are tried on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envpack.uv import Uv
from tests.index_server import IndexServer
from tests.shelf import sdist, source, wheel

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
CP = f"cp{sys.version_info[0]}{sys.version_info[1]}"
PLAIN = "plain-1.0-py3-none-any.whl"


def uv(*words: str, cwd: Path) -> None:
    """Run uv."""
    subprocess.run([Uv.find().path, "--quiet", *words], cwd=cwd, check=True)


def files(folder: Path) -> list[str]:
    """Return the names of all files of a folder, sorted."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of distributions that an index can serve."""
    folder = tmp_path / "shelf"
    wheel(folder, "plain", "1.0")
    for tag in ("win_amd64", "manylinux_2_17_x86_64", "macosx_11_0_arm64", "musllinux_1_2_aarch64"):
        wheel(folder, "native", "2.0", f"{CP}-{CP}-{tag}")
    sdist(folder, "native", "2.0", compiled=True)
    sdist(folder, "pure", "3.0")
    wheel(folder, "colours", "4.0")
    wheel(folder, "extra-one", "5.0")
    wheel(folder, "tool", "6.0")
    shutil.rmtree(folder / ".trees")
    return folder


@pytest.fixture
def server(shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[IndexServer]:
    """The index, which is the only one that uv knows of."""
    with IndexServer(shelf) as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.url}/simple/")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("UV_PYTHON", sys.executable)
        monkeypatch.setenv("UV_HTTP_RETRIES", "1")
        yield server


@pytest.fixture
def project(tmp_path: Path, server: IndexServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A locked project, which is the current directory."""
    del server
    root = tmp_path / "project"
    source(root / "member", "member", "0.5")
    source(root, "demo", "0.1")
    (root / "pyproject.toml").write_text(
        f"""\
[project]
name = "demo"
version = "0.1"
requires-python = ">={MINOR}"
dependencies = ["plain", "native", "pure", "member", "colours; sys_platform == 'win32'"]
optional-dependencies = {{ more = ["extra-one"] }}

[dependency-groups]
dev = ["tool"]

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[tool.uv.workspace]
members = ["member"]

[tool.uv.sources]
member = {{ workspace = true }}
"""
    )
    uv("lock", cwd=root)
    monkeypatch.chdir(root)
    return root
