"""A bundle made on x86-64 installs itself on an arm64 machine without network, and works there."""

from pathlib import Path

import pytest

from .bundles import digest
from .lab.arm64 import MINOR, arm64, arm64_python
from .lab.interpreters import uv_environment
from .lab.missing import require
from .lab.session import Lab
from .lab.tools import call, uv_program
from .packs import envpack

PROJECT = """\
[project]
name = "pear"
version = "1"
requires-python = ">=3.12"
dependencies = ["markupsafe"]
scripts = { pear = "pear:main" }

[build-system]
requires = ["uv_build>=0.9,<1"]
build-backend = "uv_build"
"""
MODULE = """\
import platform

import markupsafe._speedups


def main():
    print(platform.machine(), markupsafe._speedups.__name__)
"""
INSIDE = "/a place"
WORKS = """
sh "$1" "p é"
cd "p é"
.envpack/bin/uv run --locked pear
"""


@pytest.mark.xdist_group("arm64")
def test_another_processor(lab: Lab, work: Path, tmp_path: Path) -> None:
    """Its Python, uv and compiled packages are the bundle's; the lock is as it was."""
    machine, python = require(arm64), require(arm64_python)
    env = uv_environment(lab.managed(MINOR).install_dir, {})
    project = work / "pear"
    (project / "src/pear").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (project / "src/pear/__init__.py").write_text(MODULE, encoding="utf-8")
    call([uv_program(), "lock", "-q"], cwd=project, env=env)
    media, there = tmp_path / "media", tmp_path / "there"
    media.mkdir()
    words = ["bundle", "-q", "--platform", "aarch64-manylinux_2_41", "--python", MINOR]
    words += ["--python-archive", str(python), "-o", str(media / "pear.run")]
    envpack(words, env=env, cwd=project)
    (there / "home").mkdir(parents=True)
    done = machine.run(
        ["sh", "-euc", WORKS, "sh", "/media/pear.run"],
        binds={"/media": media},
        writable={INSIDE: there},
        env={"HOME": f"{INSIDE}/home", "LANG": "C.UTF-8"},
        cwd=INSIDE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    installed, *_, ran = done.stdout.splitlines()
    assert installed == f"Installed pear in {INSIDE}/p é"
    assert ran == "aarch64 markupsafe._speedups"
    for name in ("uv.lock", "pyproject.toml"):
        assert digest(there / "p é" / name) == digest(project / name)
