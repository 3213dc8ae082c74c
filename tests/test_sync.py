"""`sync`: an environment from a folder alone, with no index, another cache and the real uv."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envpack import syncing
from envpack.bundled.marking import write_marks
from envpack.downloading import download
from envpack.errors import EnvpackError, ProjectFault
from envpack.lock import Scope
from envpack.syncing import TamperedError, sync
from envpack.uv import Uv
from tests.index_server import IndexServer
from tests.judges import git
from tests.shelf import source
from tests.shop import PLAIN, files, uv

IMPORTS = "import plain, native, pure, member, demo; print(native.tag)"


class Far:
    """The other side: a project and a folder, moved, with an empty cache and no index."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project = project
        self.folder = folder
        self.before = self.bytes()

    def bytes(self) -> list[bytes]:
        """Return what must not change."""
        return [(self.project / name).read_bytes() for name in ("uv.lock", "pyproject.toml")]

    def uv(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run plain uv in the project."""
        command = [Uv.find().path, *words]
        return subprocess.run(
            command, cwd=self.project, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture
def far(
    project: Path, server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Far]:
    """What was downloaded here, carried there; the index answers nothing any more."""
    download(tmp_path / "D", platforms=["current"], scope=Scope(extras=("more",)))
    there = tmp_path / "far é side"
    there.mkdir()
    (tmp_path / "D").rename(there / "D")
    project.rename(there / "project")
    monkeypatch.chdir(there / "project")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "other cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "other home"))
    server.faults.clear()
    server.login = ("nobody", "knows")
    server.requests.clear()
    side = Far(there / "project", there / "D")
    yield side
    assert server.paths() == []
    assert side.bytes() == side.before


@pytest.mark.smoke
def test_plain_uv_accepts_it(far: Far) -> None:
    """`uv run` and `uv sync --locked` find everything in place, offline, and change nothing."""
    report = sync(far.folder, project=far.project)
    assert (report.packages, sorted(report.members)) == (4, ["demo", "member"])
    run = far.uv("run", "--offline", "python", "-c", IMPORTS)
    assert (run.returncode, run.stdout[:2]) == (0, "cp"), run.stderr
    again = far.uv("sync", "--locked", "--offline")
    assert again.returncode == 0
    assert "Checked 6 packages" in again.stderr, again.stderr


def test_configured(far: Far) -> None:
    """With the uv.toml written plain uv needs no option."""
    report = sync(far.folder, project=far.project, configure=str(far.project))
    assert report.configured == str(far.project / "uv.toml")
    assert far.uv("run", "python", "-c", IMPORTS).returncode == 0
    assert far.uv("sync", "--locked").returncode == 0


def test_extras_and_groups(far: Far) -> None:
    """What uv's options ask for is installed, and nothing else."""
    sync(far.folder, project=far.project, scope=Scope(extras=("more",), no_dev=True))
    told = far.uv("pip", "list", "--python", ".venv", "--format", "json")
    assert [item["name"] for item in json.loads(told.stdout)] == [
        "demo",
        "extra-one",
        "member",
        "native",
        "plain",
        "pure",
    ]
    sync(far.folder, project=far.project)
    told = far.uv("pip", "list", "--python", ".venv", "--format", "json")
    assert "extra-one" not in told.stdout
    assert "tool" in told.stdout


def test_again(far: Far) -> None:
    """An environment that fits is kept, one that is gone is made anew."""
    sync(far.folder, project=far.project)
    marker = far.project / ".venv" / "marker"
    marker.touch()
    sync(far.folder, project=far.project)
    assert marker.exists()
    shutil.rmtree(far.project / ".venv")
    sync(far.folder, project=far.project)
    assert far.uv("run", "--offline", "python", "-c", IMPORTS).returncode == 0


@pytest.mark.parametrize("left", ["bin/activate.csh", "lib", "mine.txt", "bin/tool"])
def test_half_an_environment(far: Far, left: str) -> None:
    """What a killed run left is made anew, and a folder that holds anything else stays."""
    torn = far.project / ".venv"
    (torn / "bin").mkdir(parents=True)
    (torn / "CACHEDIR.TAG").write_text("", encoding="utf-8")
    (torn / left).write_text("x", encoding="utf-8")
    if left in {"mine.txt", "bin/tool"}:
        with pytest.raises(EnvpackError, match="not a virtual environment"):
            sync(far.folder, project=far.project)
        assert (torn / left).read_text(encoding="utf-8") == "x"
    else:
        assert sync(far.folder, project=far.project).packages == 4


def test_tampered(far: Far) -> None:
    """A file that is not what was downloaded is named, and nothing is installed."""
    path = far.folder / "wheels" / PLAIN
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TamperedError, match=f"{PLAIN}` is not the file that was downloaded"):
        sync(far.folder, project=far.project)
    path.unlink()
    with pytest.raises(TamperedError, match=f"{PLAIN}`: there is no such file"):
        sync(far.folder, project=far.project)
    assert not (far.project / ".venv").exists()


def test_not_covered(far: Far) -> None:
    """What the folder lacks is named, all of it, before anything is installed."""
    record = json.loads((far.folder / "envpack.json").read_text())
    record["files"] = [f for f in record["files"] if f["name"] not in {"plain", "pure"}]
    (far.folder / "envpack.json").write_text(json.dumps(record))
    with pytest.raises(ProjectFault, match=r"does not cover .*: plain 1\.0, pure 3\.0 are missing"):
        sync(far.folder, project=far.project)
    assert not (far.project / ".venv").exists()


def test_no_download(tmp_path: Path, project: Path) -> None:
    """A folder that nothing was downloaded to is refused."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProjectFault, match="is no finished download"):
        sync(tmp_path / "empty", project=project)


def test_git_and_url(
    project: Path, server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv takes the wheels for the locked commit and the locked URL, whose hosts are gone."""
    repository = source(tmp_path / "repo", "fromgit", "1.1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        git(repository, *words)
    uv("add", "--frozen", f"git+file://{repository}", "--tag", "v1", cwd=project)
    url = server.put("/elsewhere/colours-4.0-py3-none-any.whl", _wheel(tmp_path))
    uv("add", "--frozen", f"colours @ {url}", cwd=project)
    uv("lock", cwd=project)
    download(tmp_path / "D", platforms=["current"])
    shutil.rmtree(repository)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "other cache"))
    server.login = ("nobody", "knows")
    server.requests.clear()
    sync(tmp_path / "D", project=project, configure=str(project))
    side = Far(project, tmp_path / "D")
    done = side.uv("run", "python", "-c", "import fromgit, colours")
    assert done.returncode == 0, done.stderr
    locked = side.uv("sync", "--locked")
    assert (locked.returncode, "Checked 8 packages" in locked.stderr) == (0, True), locked.stderr
    assert server.paths() == []


def _wheel(tmp_path: Path) -> bytes:
    name = next(name for name in files(tmp_path / "shelf") if name.startswith("colours"))
    return (tmp_path / "shelf" / name).read_bytes()


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_mark_leaves_strange_names_alone(tmp_path: Path, end: str) -> None:
    """What other tools take for the end of a line may be in a name that RECORD has."""
    names = ["p/a\u2028b.py", "p/a\x0bb.py", "p/a\x1cb.py", "p/a\x85b.py"]
    rows = [f"{name},sha256=x,1" for name in names]
    venv = tmp_path / ".venv"
    info = venv / "lib/python3.12/site-packages/p-1.0.dist-info"
    info.mkdir(parents=True)
    text = (end or "\n").join([*rows, "p-1.0.dist-info/direct_url.json,sha256=old,3"]) + end
    writers: tuple[Callable[[], None], ...] = (
        lambda: syncing._replace_record(str(info), info.name, "{}"),
        lambda: write_marks(str(venv), "3.12", {"p": {}}),
    )
    for write in writers:
        (info / "RECORD").write_text(text, encoding="utf-8", newline="")
        write()
        lines = (info / "RECORD").read_bytes().decode().split("\n")
        assert lines[: len(rows)] == rows
        assert lines[len(rows)].startswith("p-1.0.dist-info/direct_url.json,sha256=")
        assert lines[len(rows)].endswith(",2")
        assert lines[len(rows) + 1 :] == [""]
