"""The README's two commands on a Debian that has python3 and python3-pip, and nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from .lab.fresh import FreshMachine, fresh_root
from .lab.interpreters import downloads_json, standalone
from .lab.missing import require

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hardest(tmp_path: Path) -> FreshMachine:
    """The least there is: Python 3.11.2, an ordinary user, no git, no apt, no libstdc++."""
    return FreshMachine(require(fresh_root, "bookworm", "bare"), tmp_path, as_root=False)


def test_both_commands_as_they_stand(hardest: FreshMachine) -> None:
    """Only the package index answers: Python stays out of the archive, and both say 0."""
    there = hardest.checkout(ROOT, git=False)
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
    machine = FreshMachine(
        hardest.root,
        tmp_path,
        as_root=False,
        binds={"/opt/checkout": ROOT, "/opt/pythons": source.archive.parent},
    )
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


@pytest.mark.parametrize("script", ["quickstart", "test"])
def test_no_network_at_all(hardest: FreshMachine, script: str, tmp_path: Path) -> None:
    """One sentence names what could not be reached, and nothing half-made stays."""
    machine = FreshMachine(hardest.root, tmp_path, as_root=False, network=False)
    there = machine.checkout(ROOT, git=False)
    done = machine.run([f"{there}/scripts/{script}"])
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: cannot fetch uv with pip: ")
    assert "cannot be reached" in first
    assert second.startswith("hint: check the network")
    left = [path.name for path in (tmp_path / ".cache/uv-envpack-dev").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] in ([], ["no-tools"])
