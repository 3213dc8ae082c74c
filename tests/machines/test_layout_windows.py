"""A layout under Windows, as wine has it: by the .cmd wrappers, without a network and a Python."""

import shutil
import subprocess
from pathlib import Path

import pytest

from .lab.interpreters import uv_environment
from .lab.missing import require
from .lab.session import Lab
from .lab.wine import Windows, windows, windows_python
from .packs import envpack

SITE = "my site é"


@pytest.fixture(scope="module")
def machine(lab: Lab, work: Path) -> Windows:
    """Give a Windows with a layout on its drive C:, made on Linux."""
    folder = work / "layout-windows"
    folder.mkdir()
    (folder / "r.txt").write_text("rich\n", encoding="utf-8")
    env = uv_environment(lab.managed("3.12").install_dir, {})
    words: list[str | Path] = ["layout", "-q", "-o", folder / "site", "-r", folder / "r.txt"]
    words += ["--platform", "windows", "-p", "3.12", "--no-seed"]
    words += ["--python-archive", require(windows_python)]
    envpack(words, env=env, cwd=folder)
    machine: Windows = require(windows, folder / "prefix")
    shutil.copytree(folder / "site", machine.drive / SITE)
    (machine.drive / "work").mkdir()
    return machine


def ran(machine: Windows, *words: str, cwd: str = "work", name: str = "uv") -> str:
    """Run a wrapper, which must do, and return its stdout."""
    argv = ["cmd", "/c", rf"C:\{SITE}\bin\{name}.cmd", *words]
    done: subprocess.CompletedProcess[str] = machine.run(argv, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_uv_by_its_wrapper(machine: Windows) -> None:
    """Python is installed from the archive, a project begun, a package added, a tool run."""
    assert "cpython-3.12.9-windows-x86_64-none" in ran(machine, "python", "list")
    ran(machine, "python", "install", "-q", "3.12")
    ran(machine, "init", "-q", "--vcs", "none", "fruit")
    ran(machine, "add", "-q", "rich", cwd="work/fruit")
    (machine.drive / "work/fruit/says.py").write_text("import rich; print(rich.__name__)\n")
    assert ran(machine, "run", "-q", "says.py", cwd="work/fruit").strip() == "rich"
    said = ran(machine, "--from", "pygments", "pygmentize", "-V", name="uvx")
    assert said.startswith("Pygments version")
