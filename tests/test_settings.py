"""The uv.toml that keeps uv offline: written, read by uv, taken back."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from envpack.errors import OutputFault
from envpack.settings import configure, unconfigure
from envpack.uv import Uv

PYPROJECT = """\
[project]
name = "demo"
version = "1"
requires-python = ">=3.9"

[tool.uv]
exclude-newer = "2030-01-01T00:00:00Z"
constraint-dependencies = ["six<2"]
package = false
environments = ["sys_platform == 'linux'"]

[[tool.uv.index]]
name = "own"
url = "https://index.example/simple"
"""


def test_new_file(tmp_path: Path) -> None:
    """Without settings of the project it says two things; a folder below is named relatively."""
    path = configure(str(tmp_path), str(tmp_path / "d" / "wheels"), None)
    lines = Path(path).read_text().splitlines()
    assert lines[0].startswith("# Written by `envpack sync --configure`")
    assert lines[1:] == ["offline = true", 'find-links = ["./d/wheels"]']
    assert unconfigure(str(tmp_path)) == path
    assert list(tmp_path.iterdir()) == []


def test_settings_of_the_project_are_merged(tmp_path: Path) -> None:
    """What uv.toml would mask of [tool.uv] is in it; what uv refuses there is not."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    path = configure(str(tmp_path), "/media/wheels", str(tmp_path / "pyproject.toml"))
    assert tomllib.loads(Path(path).read_text()) == {
        "exclude-newer": "2030-01-01T00:00:00Z",
        "constraint-dependencies": ["six<2"],
        "index": [{"name": "own", "url": "https://index.example/simple"}],
        "offline": True,
        "find-links": ["/media/wheels"],
    }


def test_uv_takes_it(tmp_path: Path) -> None:
    """uv reads the file without a word, and the lock that it made before still fits."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    uv = Uv.find().path
    subprocess.run([uv, "lock", "--quiet", "--offline"], cwd=tmp_path, check=True)
    before = (tmp_path / "uv.lock").read_bytes()
    (tmp_path / "wheels").mkdir()
    configure(str(tmp_path), str(tmp_path / "wheels"), str(tmp_path / "pyproject.toml"))
    done = subprocess.run(
        [uv, "lock", "--check", "--quiet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "uv.lock").read_bytes() == before


def test_a_file_that_was_there(tmp_path: Path) -> None:
    """It is kept and comes back; its settings hold, and its links come after ours."""
    own = '# mine\nfind-links = ["/old"]\noffline = false\n\n[pip]\nno-index = true\n'
    (tmp_path / "uv.toml").write_text(own)
    path = configure(str(tmp_path), "/media/wheels", None)
    assert tomllib.loads(Path(path).read_text()) == {
        "offline": True,
        "find-links": ["/media/wheels", "/old"],
        "pip": {"no-index": True},
    }
    assert "# mine" in Path(path).read_text()
    assert configure(str(tmp_path), "/media/wheels", None) == path  # twice is once
    unconfigure(str(tmp_path))
    assert (tmp_path / "uv.toml").read_text() == own
    assert [entry.name for entry in tmp_path.iterdir()] == ["uv.toml"]


def test_changed_since(tmp_path: Path) -> None:
    """A file that somebody changed is not taken back."""
    path = Path(configure(str(tmp_path), "/media/wheels", None))
    path.write_text(path.read_text() + "no-cache = true\n")
    with pytest.raises(OutputFault, match="was changed since envpack wrote it"):
        unconfigure(str(tmp_path))
    assert "no-cache" in path.read_text()


def test_nothing_to_undo(tmp_path: Path) -> None:
    """A uv.toml that is not envpack's is left alone."""
    assert unconfigure(str(tmp_path)) is None
    (tmp_path / "uv.toml").write_text("offline = true\n")
    assert unconfigure(str(tmp_path)) is None
    assert (tmp_path / "uv.toml").exists()
