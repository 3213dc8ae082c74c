"""A layout that is killed while it is made or updated is the old one or the new one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from envpack import aside, laying
from envpack.bundled.holding import holding
from envpack.errors import FetchFault, OutputFault
from envpack.layout_check import check_layout
from tests.index_server import Fault, IndexServer
from tests.shelf import wheel
from tests.shop import PLAIN, uv
from tests.test_layout import sums

SOURCE = Path(__file__).parents[1] / "src"
POINTS = 20
PARTS = 4
PLAIN_WORDS = ("--no-python", "--no-uv", "--no-seed", "-q", "--platform", "linux,windows")

layout = partial(laying.layout, python=False, uv=False, seeds=False, platforms=["linux,windows"])


def started(*words: str | Path) -> subprocess.Popen[bytes]:
    """Start the command line in a session of its own."""
    program = [sys.executable, "-c", "from envpack.cli import main; main()", "layout"]
    return subprocess.Popen(
        [*program, *PLAIN_WORDS, *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_what_was_left_goes_also_if_there_is_nothing_to_do(project: Path, tmp_path: Path) -> None:
    """A run that was killed as it removed the old folder has done all else."""
    folder, left = tmp_path / "L", tmp_path / ".L.part"
    layout(folder, projects=[project])
    shutil.copytree(folder, left)
    with holding(str(left)):
        layout(folder, projects=[project], update=True)
    assert left.exists()
    layout(folder, projects=[project], update=True)
    assert not left.exists()


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_point(
    project: Path, shelf: Path, server: IndexServer, tmp_path: Path, part: int
) -> None:
    """Nothing or the old one, or the new one; the next run makes the new one of what is there."""
    before, after = tmp_path / "before", tmp_path / "after"
    layout(before, projects=[project])
    shutil.copytree(before, after)
    wheel(shelf, "plain", "2.0")
    uv("lock", "--upgrade", "--refresh", cwd=project)
    words = ("--project", project)
    for name in os.listdir(server.folder or ""):
        server.faults[f"/files/{name}"] = Fault(drip=200, pause=0.01)
    begin = time.monotonic()
    assert started("--update", after, *words).wait() == 0
    took = time.monotonic() - begin
    new, old = sums(after), sums(before)
    chance = random.Random(part)
    killed = 0
    for point in range(POINTS // PARTS):
        folder = tmp_path / f"L{point}"
        shutil.copytree(before, folder)
        process = started("--update", folder, *words)
        try:
            process.wait(chance.uniform(0.05, took))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        assert process.wait() in {0, -signal.SIGKILL}
        assert sums(folder) in (old, new)
        assert check_layout(folder).findings == ()
        assert started("--update", folder, *words).wait() == 0
        assert sums(folder) == new
        assert not (tmp_path / f".L{point}.part").exists()
    assert killed


def test_what_was_fetched_is_kept(project: Path, server: IndexServer, tmp_path: Path) -> None:
    """If one file cannot be had, there is no layout; the next run fetches only what lacks."""
    server.faults[f"/files/{PLAIN}"] = Fault(status=404)
    with pytest.raises(FetchFault, match=PLAIN.replace(".", r"\.")) as caught:
        layout(tmp_path / "L", projects=[project])
    assert (caught.value.hint or "").endswith("what came is kept in `.L.part`, for the next run")
    assert not (tmp_path / "L").exists()
    server.faults.clear()
    server.requests.clear()
    layout(tmp_path / "L", projects=[project])
    assert [path for path in server.paths() if path.endswith(".whl")] == [f"/files/{PLAIN}"]
    assert check_layout(tmp_path / "L").findings == ()
    assert not (tmp_path / ".L.part").exists()


def test_two_at_once(tmp_path: Path) -> None:
    """The second one is refused, and takes nothing from the first."""
    with aside.aside(str(tmp_path / "L")) as place:
        Path(place.path, "file").write_text("x")
        with (
            pytest.raises(OutputFault, match="another run is about to write"),
            aside.aside(str(tmp_path / "L")),
        ):
            pass
        assert Path(place.path, "file").is_file()
        place.commit()
    assert (tmp_path / "L/file").is_file()


def test_where_names_cannot_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two renames do, and where files cannot be linked they are copied."""

    def refuse(*_words: object, **_options: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "L").mkdir()
    (tmp_path / "L/old").write_text("old")
    with aside.aside(str(tmp_path / "L")) as place:
        place.take_over()
        Path(place.path, "new").write_text("new")
        place.commit()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["L"]
    assert sorted(path.name for path in (tmp_path / "L").iterdir()) == ["new", "old"]
