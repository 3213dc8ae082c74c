"""What a killed run leaves is swept by the next one, told by a lock and by nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from envpack.bundled import holding
from envpack.errors import OutputFault
from envpack.held import beside, replaced, scratch_folder, sweep, sweep_beside

HOLDS = """
import os, sys, time
from envpack.held import beside, scratch_folder
with scratch_folder() as scratch, beside(sys.argv[1]) as new:
    os.mkdir(new)
    open(new + "/half", "w").close()
    print(scratch, new, flush=True)
    time.sleep(600)
"""


def _holder(path: Path) -> tuple[subprocess.Popen[str], Path, Path]:
    """Start a process that holds a temporary folder and one beside `path`; return both."""
    words = [sys.executable, "-c", HOLDS, str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    scratch, new = process.stdout.readline().split()
    return process, Path(scratch), Path(new).parent


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    with process:
        pass


@pytest.fixture(autouse=True)
def own_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the processes here a TMPDIR of their own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_what_lives_stays_and_what_was_killed_goes(tmp_path: Path, own_tmpdir: Path) -> None:
    """Age and process number say nothing: the lock alone does."""
    process, scratch, part = _holder(tmp_path / "out")
    try:
        for folder in (scratch, part):
            os.utime(folder, (0, 0))
        with scratch_folder():
            sweep(str(tmp_path))
            sweep_beside(str(tmp_path / "out"))
        assert scratch.is_dir()
        assert (part / "new/half").is_file()
    finally:
        _end(process)
    with scratch_folder() as own:
        assert [str(path) for path in own_tmpdir.iterdir()] == [own]
    assert part.is_dir()
    sweep_beside(str(tmp_path / "out"))
    assert os.listdir(tmp_path) == ["tmp"]


def test_a_sweep_of_a_folder_takes_all_names(tmp_path: Path) -> None:
    """As a download does with the folders that it fills."""
    process, _, part = _holder(tmp_path / "some.whl")
    _end(process)
    assert part.is_dir()
    sweep(str(tmp_path))
    assert not part.exists()


def test_somebody_s_folders_stay(tmp_path: Path, own_tmpdir: Path) -> None:
    """Only names that envpack makes are its own, and no link is followed."""
    names = ["envpack-projects", "envpack-", f"envpack-{'g' * 16}", f"my-envpack-{'0' * 16}"]
    for name in names:
        (own_tmpdir / name).mkdir()
    (own_tmpdir / f"envpack-{'1' * 16}").write_text("a file")
    mine = tmp_path / "mine"
    (mine / "deep").mkdir(parents=True)
    (own_tmpdir / f"envpack-{'2' * 16}").symlink_to(mine)
    (tmp_path / ".out.part").mkdir()
    (tmp_path / f".out.{'3' * 16}.part").symlink_to(mine)
    (tmp_path / f".other.{'4' * 16}.part").mkdir()
    before = sorted(os.listdir(tmp_path)), sorted(os.listdir(own_tmpdir))
    with scratch_folder():
        sweep_beside(str(tmp_path / "out"))
    assert (sorted(os.listdir(tmp_path)), sorted(os.listdir(own_tmpdir))) == before
    assert (mine / "deep").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_user_s_folders_stay(tmp_path: Path, own_tmpdir: Path) -> None:
    """Root sweeps its own too, and no others."""
    for path in (own_tmpdir / f"envpack-{'1' * 16}", tmp_path / f".out.{'3' * 16}.part"):
        path.mkdir()
        os.chown(path, 65534, 65534)
        with scratch_folder():
            sweep_beside(str(tmp_path / "out"))
        assert path.is_dir()


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can tell whether a run lives, what it has stays; runs go on all the same."""

    def none(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(holding, "_flock", none)
    left = tmp_path / f".out.{'3' * 16}.part"
    left.mkdir()
    sweep_beside(str(tmp_path / "out"))
    assert left.is_dir()
    with replaced(str(tmp_path / "out")) as new:
        Path(new).write_text("new")
    assert (tmp_path / "out").read_text() == "new"


def test_a_folder_swept_as_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock another run may take it."""
    made: list[str] = []
    mkdir = os.mkdir

    def swept_once(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        made.append(path)
        if len(made) == 1:
            sweep_beside(str(tmp_path / "out"))

    monkeypatch.setattr(os, "mkdir", swept_once)
    with beside(str(tmp_path / "out")) as new:
        assert Path(new).parent.is_dir()
    assert len(made) == 2


def test_no_temporary_folder(own_tmpdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TMPDIR that is not there is told with the way out."""
    monkeypatch.setattr(tempfile, "tempdir", str(own_tmpdir / "none"))
    with (
        pytest.raises(OutputFault, match=r"^no temporary folder can be made: ") as caught,
        scratch_folder(),
    ):
        pass
    assert caught.value.hint == "set TMPDIR to a folder that can be written to"


def test_a_name_may_be_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    """The folder beside it has a shorter one."""
    path = tmp_path / ("é" * 127)
    with replaced(str(path)) as new:
        Path(new).write_text("new")
    assert path.read_text() == "new"
