"""A bundle made on x86-64 installs itself on an arm64 machine without network, and works there."""

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from .lab.arm64 import MINOR, Arm64, arm64, arm64_python
from .lab.interpreters import uv_environment
from .lab.missing import require
from .lab.orchard import SAYS, plant, served, sums
from .lab.session import Lab
from .packs import envpack

INSIDE = "/a place"
NAME = "orchard.run"
WORKS = """
sh "$1" "p é"
cd "p é"
uv=$PWD/.envpack/bin/uv
"$uv" run orchard
"$uv" run python -c 'import platform; print(platform.machine())'
"$uv" run --all-extras pytest -q -p no:cacheprovider tests
"$uv" sync -q --locked --all-extras
"""


@pytest.mark.xdist_group("arm64")
def test_another_processor(lab: Lab, work: Path, tmp_path: Path) -> None:
    """Its Python, uv and compiled packages are the bundle's; the lock is as it was."""
    machine, python = require(arm64), require(arm64_python)
    folder = work / "arm64"
    with served(folder / "served") as url:
        env = uv_environment(lab.managed(MINOR).install_dir, {})
        project = plant(folder / "project", url, env)
        words = ["bundle", "-q", "--platform", "aarch64-manylinux_2_41", "--python", MINOR]
        words += ["--python-archive", str(python), "-o", str(folder / NAME)]
        envpack(words, env=env, cwd=project)
    there = tmp_path / "there"
    (there / "home").mkdir(parents=True)
    done = run(machine, folder / NAME, there)
    assert done.returncode == 0, done.stdout + done.stderr
    installed, _, _, *said = done.stdout.splitlines(keepends=True)
    assert installed == f"Installed orchard in {INSIDE}/p é\n"
    assert "".join(said).startswith(f"{SAYS}aarch64\n")
    assert "1 passed" in said[-1]
    assert sums(there / "p é") == sums(project)


def run(machine: Arm64, bundle: Path, there: Path) -> CompletedProcess[str]:
    """Install and try it."""
    return machine.run(
        ["sh", "-euc", WORKS, "sh", f"/media/{NAME}"],
        binds={"/media": bundle.parent},
        writable={INSIDE: there},
        env={"HOME": f"{INSIDE}/home", "LANG": "C.UTF-8"},
        cwd=INSIDE,
    )
