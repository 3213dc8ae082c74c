"""An output is the old one or the new one, whatever ends the run that writes it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from envpack import held, manifest
from envpack.archive import format_named
from envpack.errors import OutputFault
from envpack.model import Member
from envpack.output import check_output, written_aside
from envpack.parallel import Pool

KILLED_AT_EACH_STEP = """
import os, signal, sys
from pathlib import Path
from envpack import held, manifest
from envpack.archive import format_named
from envpack.output import check_output, written_aside

place, plain = Path(sys.argv[1]), sys.argv[2] == "plain"
if plain:
    held._renamed = lambda *_: False
kind, target = format_named("dir"), place / "out"

def make(folder, text):
    for name in (manifest.NAME, "a/one", "b/two"):
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

def write(text):
    check_output(str(target), kind, force=True)
    with written_aside(str(target), kind, force=True) as new:
        make(new, text)

def texts():
    return {path.read_text() for path in target.rglob("*") if path.is_file()}

left, armed = 0, False

def count(event, args):
    global left
    if armed and event in {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "ctypes.dlsym"}:
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

sys.addaudithook(count)
make(target, "old")
seen, steps = set(), 0
while True:
    left, text = steps, f"new {steps}"
    child = os.fork()
    if not child:
        armed = True
        write(text)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        break
    if target.exists() or not plain:
        found = texts()
        assert found in ({"old"}, {text}), (steps, found)
        seen |= found & {"old"}
        assert len([path for path in target.rglob("*") if path.is_file()]) == 3, steps
    check_output(str(target), kind, force=True)
    assert texts() in ({"old"}, {text}), (steps, texts())
    write("old")
    assert texts() == {"old"}, steps
    assert os.listdir(place) == ["out"], (steps, os.listdir(place))
    steps += 1
print(steps)
"""


@pytest.mark.parametrize("way", ["exchange", "plain"])
def test_a_folder_is_replaced_in_one_step(way: str, tmp_path: Path) -> None:
    """Killed before any of its steps, a run leaves the old folder or the new one, and no next run
    is refused; where names cannot be exchanged the old one comes back.
    """
    words = [sys.executable, "-c", KILLED_AT_EACH_STEP, str(tmp_path), way]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


@pytest.mark.parametrize("name", ["dir", "tar"])
def test_what_appears_meanwhile_is_not_replaced(name: str, tmp_path: Path) -> None:
    """Without -f, what came while the run wrote stays as it is."""
    kind, target = format_named(name), tmp_path / "out"

    def write() -> None:
        with written_aside(str(target), kind, force=False) as new:
            _make(Path(new), "new", folder=kind.folder)
            _make(target, "mine", folder=kind.folder)

    with pytest.raises(OutputFault, match=r"^`.*out` has appeared meanwhile$"):
        write()
    assert (target / manifest.NAME if kind.folder else target).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_somebody_s_folder_is_not_replaced(tmp_path: Path) -> None:
    """With -f neither, if it is none of envpack's."""
    target = tmp_path / "out"

    def write() -> None:
        with written_aside(str(target), format_named("dir"), force=True) as new:
            _make(Path(new), "new", folder=True)
            target.mkdir()
            (target / "mine").write_text("mine")

    with pytest.raises(OutputFault, match=r"was not written by envpack$"):
        write()
    assert (target / "mine").read_text() == "mine"


def test_an_empty_folder_is_nobody_s(tmp_path: Path) -> None:
    """With -f it may be made anew, as nothing is lost."""
    (tmp_path / "out").mkdir()
    with written_aside(str(tmp_path / "out"), format_named("dir"), force=True) as new:
        _make(Path(new), "new", folder=True)
    assert (tmp_path / "out" / manifest.NAME).read_text() == "new"


def test_a_link_to_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """What envpack wrote is the folder; the link is somebody's."""
    _make(tmp_path / "real", "old", folder=True)
    (tmp_path / "out").symlink_to("real")
    with pytest.raises(OutputFault, match=r"`.*out` exists and was not written by envpack$"):
        check_output(str(tmp_path / "out"), format_named("dir"), force=True)
    assert (tmp_path / "out").is_symlink()


def test_a_folder_that_cannot_be_put_there_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there is there, and nothing beside it."""

    def broken(*_: object) -> bool:
        raise OSError(5, "Input/output error")

    target = tmp_path / "out"
    _make(target, "old", folder=True)
    monkeypatch.setattr(held, "_renamed", broken)
    with (
        pytest.raises(OutputFault, match=r"^cannot write `.*out`: Input/output error$"),
        written_aside(str(target), format_named("dir"), force=True) as new,
    ):
        _make(Path(new), "new", folder=True)
    assert (target / manifest.NAME).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_many_runs_to_one_folder(tmp_path: Path) -> None:
    """All end well, and the folder is one of theirs, whole."""
    kind, target = format_named("dir"), str(tmp_path / "out")
    start, faults = threading.Barrier(4), []

    def write(number: int) -> None:
        start.wait()
        try:
            for _ in range(50):
                check_output(target, kind, force=True)
                with written_aside(target, kind, force=True) as new:
                    _make(Path(new), str(number), folder=True)
        except (OSError, OutputFault) as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    texts = [path.read_text() for path in Path(target).rglob("*") if path.is_file()]
    assert len(texts) == 2
    assert len(set(texts)) == 1
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o027, 0o077])
def test_a_folder_has_the_same_modes_under_any_umask(umask: int, tmp_path: Path) -> None:
    """0755 and 0644, as an archive would have them."""
    before = os.umask(umask)
    try:
        with written_aside(str(tmp_path / "out"), format_named("dir"), force=False) as new:
            members = [Member("bin/run", 1, True, (b"x",)), Member("lib/data", 1, False, (b"x",))]
            with Pool(1) as pool:
                format_named("dir").write(members, new, level=None, mtime=0, pool=pool)
    finally:
        os.umask(before)
    found = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    modes = {path.name: path.stat().st_mode & 0o777 for path in found}
    assert modes == {"out": 0o755, "bin": 0o755, "run": 0o755, "lib": 0o755, "data": 0o644}


def _make(target: Path, text: str, *, folder: bool) -> None:
    if not folder:
        target.write_text(text)
        return
    for name in (manifest.NAME, "other"):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
