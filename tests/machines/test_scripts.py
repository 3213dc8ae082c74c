"""The scripts that measure, on an environment small enough for a test; no time is asserted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .lab.session import Lab

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.xdist_group("python-3.12")
def test_import_time_compares_both_packs(lab: Lab, tmp_path: Path) -> None:
    """Both kinds are packed, run and told, and the one with bytecode is the larger."""
    project = lab.project("c", "3.12")
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        f"from import_time import compare\n"
        f"print('\\n'.join(compare({str(project.env)!r}, {str(tmp_path)!r}, ('rich',), 1)))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| without", "| with"]
    assert " of the time (goal: at most 0.4" in lines[-1]
    assert "+" in lines[-1].rpartition(", ")[2]
    assert (tmp_path / "with.tar.gz").stat().st_size > (tmp_path / "without.tar.gz").stat().st_size
