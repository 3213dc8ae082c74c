"""A bundle as a zip: what is in it, and that it installs from wherever it was unpacked."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from envpack.bundle_zip import TREE, openers, without_impossible
from envpack.bundled import install as install_py
from envpack.bundled import unzipped, windows
from envpack.bundled.placing import Failed, differing
from envpack.bundling import bundle
from envpack.cli import run
from envpack.errors import ProjectFault
from envpack.sources import Sources
from tests.plum import uv


@pytest.fixture
def zipped(plum: Path, tmp_path: Path) -> Path:
    """Give a bundle for this machine and Windows, without Python and uv, which both have."""
    out = tmp_path / "plum.zip"
    bundle(str(out), project=plum, platforms=("current", "windows"), python=False, uv=False, jobs=2)
    return out


@pytest.fixture
def unpacked(zipped: Path, tmp_path: Path) -> Path:
    """Give the folder that a program makes of it which knows no modes."""
    folder = tmp_path / "un packed é"
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(folder)
    return folder


def install(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Start what install.cmd starts."""
    opener = folder / "install.cmd"
    line = next(
        x for x in opener.read_text("ascii").splitlines() if x.startswith('set "_manifest=')
    )
    installer = folder / TREE / ".envpack/unzipped.py"
    command = [sys.executable, "-I", "-B", "-X", "utf8", str(installer), str(opener)]
    command += [line[15:-1], *words]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)


def test_what_is_in_it(zipped: Path, plum: Path, tmp_path: Path) -> None:
    """Two files beside one folder, no links; batch files have the line ends of Windows."""
    with zipfile.ZipFile(zipped) as archive:
        names = archive.namelist()
        assert names[:2] == ["install.cmd", "install.ps1"]
        assert all(name.startswith(f"{TREE}/") for name in names[2:])
        assert f"{TREE}/bin/tool" in names
        assert f"{TREE}/bin/link" not in names
        text = archive.read("install.cmd")
        assert text.isascii()
        assert b"@" not in text.replace(b"@echo off", b"")
        assert text.count(b"\n") == text.count(b"\r\n") > 50
        manifest = json.loads(archive.read(f"{TREE}/.envpack/bundle.json"))
    assert manifest["files"]["bin/link"] == {"link": "tool"}
    assert manifest["files"]["bin/tool"]["executable"] is True
    again = tmp_path / "again.zip"
    bundle(str(again), project=plum, platforms=("current", "windows"), python=False, uv=False)
    assert again.read_bytes() == zipped.read_bytes()


def test_its_name(plum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle for Windows is a zip if nothing is said."""
    assert run(["bundle", "--platform", "windows", "--no-python", "--no-uv", "-q"]) == 0
    assert capsys.readouterr().out == f"{plum / 'plum-2.0.zip'}\n"


def test_by_envpack(zipped: Path, tmp_path: Path) -> None:
    """`envpack unbundle` installs it, modes and links as they were."""
    there = tmp_path / "there"
    assert run(["unbundle", str(zipped), str(there)]) == 0
    assert uv(there, "run", "--locked", "main.py") == "plum\n"
    assert stat.S_IMODE((there / "bin/tool").stat().st_mode) == 0o755
    assert os.readlink(there / "bin/link") == "tool"
    assert not (there / "install.cmd").exists()


def test_unpacked_by_others(unpacked: Path, tmp_path: Path) -> None:
    """From a folder without modes and links; the folder stays, what is there besides stays out."""
    (unpacked / TREE / "Thumbs.db").write_text("x", encoding="utf-8")
    before = sorted(unpacked.rglob("*"))
    done = install(unpacked, "there")
    assert done.returncode == 0, done.stderr
    there = tmp_path / "there"
    assert done.stdout.splitlines()[0] == f"Installed plum in {there}"
    assert uv(there, "run", "--locked", "main.py") == "plum\n"
    assert stat.S_IMODE((there / "bin/tool").stat().st_mode) == 0o755
    assert os.readlink(there / "bin/link") == "tool"
    assert not (there / "Thumbs.db").exists()
    assert sorted(unpacked.rglob("*")) == before
    shutil.rmtree(there / ".venv")
    assert install(unpacked, "there").returncode == 0
    assert uv(there, "run", "--locked", "main.py") == "plum\n"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("name", ["main.py", ".envpack/bundle.json", ".envpack/pylock.toml"])
@pytest.mark.parametrize("words", [["there"], ["--check"]])
def test_changed(unpacked: Path, tmp_path: Path, name: str, words: list[str]) -> None:
    """A file that is not what was bundled is named, and nothing is installed."""
    path = unpacked / TREE / name
    data = path.read_bytes()
    for changed in (bytes([data[9] ^ 1]), b"\0", b"\xff"):  # the latter two are no JSON
        path.write_bytes(data[:9] + changed + data[10:])
        done = install(unpacked, *words)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == f"error: `{name}` is not the file that was bundled\n"
    assert not (tmp_path / "there").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_no_manifest(unpacked: Path) -> None:
    """A zip that was unpacked in part is told of as such."""
    (unpacked / TREE / ".envpack/bundle.json").unlink()
    done = install(unpacked, "there")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "error: `.envpack/bundle.json` is missing\nhint: unpack all of the zip\n"
    )


def test_a_changed_opener(unpacked: Path) -> None:
    """The manifest knows what starts it."""
    opener = unpacked / "install.cmd"
    opener.write_bytes(opener.read_bytes().replace(b"--no-registry", b"--no-registrx"))
    done = install(unpacked, "there")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "error: `install.cmd` is not the file that was bundled\n"


@pytest.mark.parametrize("words", [["p", "--install-uv"], ["--install-uv", "p"]])
def test_options_before_and_behind(words: list[str]) -> None:
    """DIR may stand anywhere."""
    chosen = install_py.parsed(["tree", *words, "--python-dir", "q"])
    assert (chosen.tree, chosen.target, chosen.python_dir) == ("tree", "p", "q")
    assert install_py.parsed(["tree", "--check"]).target is None


def test_checked(unpacked: Path) -> None:
    """--check needs no DIR, and installs nothing."""
    done = install(unpacked, "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" files are what was bundled\n")


def test_names_that_windows_lacks() -> None:
    """They stay home, each with its reason; what only resembles one travels."""
    names = ("a:b", "aux", "com1.txt", "console.py", "dir /x", "end.", "Read.me", "read.me")
    left = without_impossible(Sources("/", names, (("con/x", "y"), ("nul1", "y")), ()))
    assert left.files == ("console.py", "Read.me")
    assert left.links == (("nul1", "y"),)
    impossible = "no file on Windows can have this name"
    assert dict(left.left_out) == {
        **dict.fromkeys(("a:b", "aux", "com1.txt", "con/x", "dir /x", "end."), impossible),
        "read.me": "on Windows it is the same name as `Read.me`",
    }


@pytest.mark.parametrize("name", ["plüm", "100%", "a&b", 'a"b'])
def test_names_that_batch_files_lack(name: str) -> None:
    """What would be read as something else is refused."""
    target = {"system": "windows", "machine": "x86_64", "platform": "p", "python": "3.12"}
    with pytest.raises(ProjectFault, match="a batch file of Windows cannot hold the name"):
        openers(name, None, [target], "0" * 64)


def test_machines_of_windows() -> None:
    """Each finds its own Python, or that of a machine whose programs it runs."""
    one = {"system": "windows", "platform": "p", "python": "3.12"}
    targets = [{**one, "machine": "i686"}, {**one, "machine": "x86_64"}]
    text = openers("plum", None, targets, "0" * 64)["install.cmd"].decode()
    assert [line for line in text.splitlines() if line.startswith('if "%_machine%"')] == [
        'if "%_machine%"=="AMD64" goto x86_64',
        'if "%_machine%"=="ARM64" goto x86_64',
        'if "%_machine%"=="x86" goto i686',
    ]
    assert openers("plum", None, [{**targets[0], "system": "linux"}], "0" * 64) == {}


def test_links_as_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not everybody may make links there are copies, which count as the links."""
    monkeypatch.setattr(windows, "WINDOWS", True)
    monkeypatch.setattr("envpack.bundled.placing.WINDOWS", True)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"x")
    sha = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    files = {
        "a": {"link": "b"},
        "b": {"link": "d/file"},
        "c": {"link": "d"},
        "d/file": {"sha256": sha, "size": 1},
        "d/loop": {"link": "../d"},
        "d/out": {"link": "../../x"},
        "gone": {"link": "nothing"},
    }
    windows.make_links(str(tmp_path), files)
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert made == ["a", "b", "c", "c/file", "d", "d/file"]
    assert differing(str(tmp_path), files) == ["d/loop", "d/out", "gone"]
    assert list(windows.with_copies(files)) == ["a", "b", "c/file", "d/file", "d/loop/file"]
    (tmp_path / "a").write_bytes(b"y")
    assert differing(str(tmp_path), files) == ["a", "d/loop", "d/out", "gone"]


def test_the_longest_path(tmp_path: Path) -> None:
    """What packages bring counts too."""
    wheel = tmp_path / ".envpack/wheels/w.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("w/" + "long" * 20 + ".py", "")
    manifest = {"root": ".", "files": {".envpack/wheels/w.whl": {}, "main.py": {}}}
    assert unzipped.longest_path(str(tmp_path), "/to", manifest) == (
        f"/to/.venv/Lib/site-packages/w/{'long' * 20}.py"
    )


def test_no_folder_above(tmp_path: Path) -> None:
    """It is not made on the way."""
    with pytest.raises(Failed, match="does not exist"), unzipped.beside(str(tmp_path / "no/there")):
        pass
