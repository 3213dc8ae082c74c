"""The far side of a bundle: what is owned, taken back, repaired, and never lost."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envpack.bundled.install import Installer
from envpack.bundled.owned import Owned
from envpack.bundled.placing import MANIFEST, OWN, Failed, place, read_manifest
from envpack.bundling import bundle
from envpack.cli import run
from envpack.uv import Uv
from tests.index_server import IndexServer
from tests.plum import uv


@pytest.fixture
def there(bundled: Path, tmp_path: Path) -> Path:
    """Give the folder where it was installed."""
    folder = tmp_path / "there"
    assert run(["unbundle", str(bundled), str(folder)]) == 0
    return folder


@pytest.mark.smoke
def test_uninstall_leaves_nothing(bundled: Path, there: Path, tmp_path: Path) -> None:
    """DIR is gone, with what Python wrote beside the sources."""
    (there / "__pycache__").mkdir()
    (there / "__pycache__/main.cpython-312.pyc").write_bytes(b"")
    before = {path.name for path in tmp_path.iterdir()} - {"there"}
    assert run(["unbundle", str(bundled), str(there), "--uninstall"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == before


def test_uninstall_leaves_what_is_somebody_s(
    bundled: Path, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Edited sources and other files stay, and are named; all else goes."""
    (there / "main.py").write_text("print('mine')\n", encoding="utf-8")
    (there / "notes.txt").write_text("mine", encoding="utf-8")
    capsys.readouterr()
    assert run(["unbundle", str(bundled), str(there), "--uninstall"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"Uninstalled plum from {there}",
        "These were edited, and stay: `main.py`",
    ]
    assert sorted(path.name for path in there.iterdir()) == ["main.py", "notes.txt"]


def test_uninstall_stays_in_its_folder(bundled: Path, there: Path, tmp_path: Path) -> None:
    """A record that somebody else wrote names files of others in vain."""
    others = [tmp_path / "others/a", tmp_path / "others/b", tmp_path / "others/c"]
    others[0].parent.mkdir()
    for path in others:
        path.write_text("mine\n", "utf-8")
    (there / "way").symlink_to(tmp_path / "others")
    (there / "built.txt").write_text("made\n", "utf-8")
    record = there / OWN / "installed.json"
    told = json.loads(record.read_text("utf-8"))
    told["made"] = ["../others/a", str(others[1]), "way/c", "built.txt"]
    record.write_text(json.dumps(told), "utf-8")
    assert run(["unbundle", "--uninstall", str(bundled), str(there)]) == 0
    assert [path.exists() for path in others] == [True, True, True]
    assert sorted(path.name for path in there.iterdir()) == ["way"]


def test_uninstall_gives_settings_back(plum: Path, tmp_path: Path) -> None:
    """A uv.toml that was merged is the project's own again, where something stays to use it."""
    (plum / "uv.toml").write_text('link-mode = "copy"\n', encoding="utf-8")
    out, there = str(tmp_path / "p.run"), tmp_path / "there"
    bundle(out, python=False, uv=False)
    assert run(["unbundle", out, str(there)]) == 0
    (there / "main.py").write_text("print('mine')\n", encoding="utf-8")
    assert run(["unbundle", out, str(there), "--uninstall"]) == 0
    assert sorted(path.name for path in there.iterdir()) == ["main.py", "uv.toml"]
    assert (there / "uv.toml").read_text("utf-8") == 'link-mode = "copy"\n'


@pytest.mark.parametrize("name", ["there", "elsewhere"])
def test_nothing_to_uninstall(
    bundled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A folder of something else is not touched."""
    folder = tmp_path / name
    if name == "elsewhere":
        folder.mkdir()
        (folder / "main.py").write_text("mine", encoding="utf-8")
    assert run(["unbundle", str(bundled), str(folder), "--uninstall"]) == 1
    assert capsys.readouterr().err == f"error: `{folder}` holds no project of a bundle\n"
    assert folder.exists() == (name == "elsewhere")


def test_again_makes_it_whole(bundled: Path, there: Path) -> None:
    """Whatever is missing or broken in .venv and .envpack, and in the sources that are gone."""
    site = next((there / ".venv/lib").glob("*/site-packages"))
    (site / "left.py").write_text("x", encoding="utf-8")
    (there / ".venv/bin/python").unlink()
    (there / OWN / "pylock.toml").write_text("broken", encoding="utf-8")
    (there / "main.py").unlink()
    (there / "uv.toml").unlink()
    assert run(["unbundle", str(bundled), str(there)]) == 0
    assert uv(there, "run", "--locked", "main.py") == "plum\n"
    assert not list(there.rglob("left.py"))
    assert sorted(path.name for path in there.iterdir()) == sorted(
        [".envpack", ".venv", "bin", "main.py", "pyproject.toml", "uv.lock", "uv.toml"]
    )


def test_restore_needs_no_bundle(bundled: Path, there: Path, tmp_path: Path) -> None:
    """DIR makes its .venv again by itself, also after it was moved, unless it is damaged."""
    bundled.unlink()
    shutil.rmtree(there / ".venv")
    there.rename(moved := tmp_path / "moved é")
    env = {**os.environ, "PATH": f"{Path(Uv.find().path).parent}:{os.environ['PATH']}"}
    words = ["sh", OWN + "/restore"]
    done = subprocess.run(words, cwd=moved, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"Restored plum in {moved}\n"), done.stderr
    assert uv(moved, "run", "--locked", "main.py") == "plum\n"
    (moved / OWN / "pylock.toml").write_text("broken", encoding="utf-8")
    done = subprocess.run(words, cwd=moved, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == (
        "error: `.envpack/pylock.toml` is not the file that was bundled\n"
        "hint: run the bundle again\n"
    )


def test_what_killed_runs_leave(bundled: Path, there: Path, tmp_path: Path) -> None:
    """A folder that was put aside comes back, and what no living run owns goes."""
    left = [".there.17.part", f".there.{os.getpid()}.part", f".there.{'0f' * 8}.part"]
    others = [".there.other.part", ".there.part", ".this.17.part", ".there.19.part"]
    for name in (*left, *others):
        (tmp_path / name / "tree").mkdir(parents=True)
    (tmp_path / ".there.19.part/unlocked").touch()  # where a shell could not hold it
    living = tmp_path / ".there.18.part"
    living.mkdir()
    (there / OWN).rename(there / f"{OWN}.old")
    (there / ".venv").rename(there / ".venv.part")
    with locked(living):
        assert run(["unbundle", str(bundled), str(there)]) == 0
        assert uv(there, "run", "--locked", "main.py") == "plum\n"
        stay = sorted([*others, living.name])
        assert sorted(path.name for path in tmp_path.glob(".t*")) == stay
        assert not [path.name for path in there.iterdir() if path.name.endswith((".old", ".part"))]
        for name in left:
            (tmp_path / name / "tree").mkdir(parents=True)
        assert subprocess.run(["sh", bundled, there], check=False).returncode == 0
        assert sorted(path.name for path in tmp_path.glob(".t*")) == stay
    assert subprocess.run(["sh", bundled, there], check=False).returncode == 0
    assert sorted(path.name for path in tmp_path.glob(".t*")) == sorted(others)


LET_IT_END = "hint: let it end, and try again\n"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder as a living run does."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def started(bundled: Path, there: Path, *words: str) -> subprocess.Popen[str]:
    """Start the bundle's own script."""
    command = ["sh", str(bundled), str(there), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("fresh", [True, False])
def test_two_at_once_into_one_folder(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fresh: bool
) -> None:
    """One installs, and those that come meanwhile are refused in a sentence, at any moment."""
    there = tmp_path / "there"
    if not fresh:
        assert run(["unbundle", str(bundled), str(there)]) == 0
    refused = f"error: another run is at work in `{there}`\n{LET_IT_END}"
    seen: list[tuple[int, str]] = []
    fill = Installer.fill

    def meanwhile(installer: Installer) -> None:
        if not seen:
            seen.append((0, ""))
            for words in ([], ["--uninstall"]):
                with started(bundled, there, *words) as other:
                    _, err = other.communicate()
                seen.append((other.returncode, err))
        fill(installer)

    monkeypatch.setattr(Installer, "fill", meanwhile)
    assert run(["unbundle", str(bundled), str(there)]) == 0
    assert seen[1:] == [(1, refused), (1, refused)]
    assert uv(there, "run", "--locked", "main.py") == "plum\n"
    assert not list(tmp_path.glob(".there.*"))


def test_many_at_once_into_one_folder(bundled: Path, tmp_path: Path) -> None:
    """At least one installs, the others are refused in that sentence, and it runs."""
    there = tmp_path / "there"
    processes = [started(bundled, there) for _ in range(3)]
    ended = [(process, process.communicate()[1]) for process in processes]
    told = {err for process, err in ended if process.returncode}
    assert told <= {
        f"error: another run is at work in `{there}`\nhint: let it end, and try again\n"
    }
    assert any(process.returncode == 0 for process in processes)
    assert uv(there, "run", "--locked", "main.py") == "plum\n"
    assert not list(tmp_path.glob(".there.*"))


def test_one_that_came_just_now(bundled: Path, tmp_path: Path) -> None:
    """A folder that was not there when this run looked is not its own, whatever is in it."""
    there, tree = tmp_path / "there", tmp_path / "tree"
    assert run(["unbundle", str(bundled), str(there)]) == 0
    shutil.copytree(there, tree, symlinks=True)
    with pytest.raises(Failed, match=r"^another run is at work in `.*there`$"):
        place(str(tree), str(there), read_manifest(str(tree)), None, held=False)


@pytest.mark.parametrize("shell", [["sh"], ["dash"], ["bash", "--posix"], ["busybox", "sh"]])
def test_without_the_program_flock(bundled: Path, tmp_path: Path, shell: list[str]) -> None:
    """A shell that can hold nothing is not swept; its Python holds and sweeps in its place."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"no {shell[0]} here")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in USED:
        (programs / name).symlink_to(shutil.which(name) or name)
    (programs / PYTHON_NAME).symlink_to(sys.executable)
    (tmp_path / ".there.17.part").mkdir()
    (tmp_path / ".there.19.part").mkdir()
    (tmp_path / ".there.19.part/unlocked").touch()
    path = shutil.which(shell[0]) or ""
    env = {**os.environ, "PATH": f"{programs}:{Path(Uv.find().path).parent}"}
    words = [path, *shell[1:], str(bundled), str(tmp_path / "there")]
    if shell[0] != "busybox":  # whose programs are its own
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert [path.name for path in tmp_path.glob(".there.*")] == [".there.19.part"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.glob(".there.*")] == [".there.19.part"]


PYTHON_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
USED = ("mkdir", "rmdir", "mv", "rm", "tar", "gzip", "chmod", "df", "uname", "cat", "sha256sum")


def test_two_bundles_sign_one_python(tmp_path: Path) -> None:
    """Neither forgets the other, though both write into one file."""
    place = tmp_path / "pythons/cpython"
    place.mkdir(parents=True)
    owners = []
    for number in range(8):
        (tmp_path / f"{number}" / OWN).mkdir(parents=True)
        owner = Owned(str(tmp_path / f"{number}"))
        owner.told["python"] = {"dir": str(place.parent), "key": place.name}
        owners.append(owner)
    for _ in range(10):
        threads = [threading.Thread(target=owner.claim) for owner in owners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        users = json.loads((place / ".envpack.json").read_text("utf-8"))["users"]
        assert sorted(users) == sorted(owner.told["id"] for owner in owners)
        (place / ".envpack.json").unlink()


def test_another_platform(
    bundled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Said when no more than the manifest is unpacked; to verify a bundle, any machine will do."""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setattr("envpack.bundled.install.check_tree", lambda *_: pytest.fail("unpacked"))
    assert run(["unbundle", str(bundled), str(tmp_path / "there")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: this bundle is for ")
    assert said.endswith(", and this machine is linux-riscv64\n")
    assert not (tmp_path / "there").exists()
    monkeypatch.undo()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert run(["unbundle", str(bundled), "--check"]) == 0


def test_where_there_is_a_network(project: Path, tmp_path: Path, server: IndexServer) -> None:
    """One variable, and the same folder takes everything from the index."""
    out, there = str(tmp_path / "demo.run"), tmp_path / "there"
    bundle(out, project=project, python=False, uv=False)
    assert run(["unbundle", out, str(there)]) == 0
    env = {**os.environ, "UV_OFFLINE": "0", "UV_CACHE_DIR": str(tmp_path / "fresh")}
    server.requests.clear()
    words = [Uv.find().path, "sync", "-q", "--locked", "--reinstall"]
    done = subprocess.run(words, cwd=there, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(path.endswith("/plain-1.0-py3-none-any.whl") for path in server.paths())


def test_a_bundle_of_another_envpack(
    plum: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is not understood is not touched; nothing is left."""
    monkeypatch.setattr("envpack.bundle_tree.SCHEMA", "envpack.bundle/7")
    monkeypatch.setattr("envpack.bundle_tree.VERSION", "7.0")
    bundle(str(tmp_path / "p.tar"), project=plum, python=False, uv=False)
    monkeypatch.undo()
    before = sorted(tmp_path.iterdir())
    assert run(["unbundle", str(tmp_path / "p.tar"), str(tmp_path / "there")]) == 1
    assert capsys.readouterr().err == (
        "error: the bundle was made by another envpack, 7.0: its schema is `envpack.bundle/7`,"
        " and this one reads `envpack.bundle/1`\n"
        "hint: take the newer of both; a bundle that is a script brings its own: `sh FILE DIR`\n"
    )
    assert sorted(tmp_path.iterdir()) == before


class Home:
    """A home with a bundle's uv beside it, and what programs say that are no uv at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        (self.project / OWN / "bin").mkdir(parents=True)
        self.source = self.uv(self.project / OWN / "bin/uv", "0.13.8")
        self.there = folder / "home/.local/bin/uv"

    def uv(self, path: Path, version: str) -> Path:
        """Write a program that tells a version as uv does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'uv {version} (abc)'\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def install(self, *, replace: bool = False) -> tuple[str | None, str]:
        """Do as --install-uv and --replace-uv do."""
        owned = Owned(str(self.project))
        home = str(self.folder / "home")
        path, told = owned.install_uv(str(self.source), home, replace=replace)
        return path, told

    def remove(self) -> str:
        """Do as --uninstall does."""
        return str(Owned(str(self.project)).remove_uv())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Give a home without uv."""
    return Home(tmp_path)


def test_uv_where_there_is_none(home: Home) -> None:
    """It is copied, told, and removed again."""
    path = str(home.there)
    assert home.install() == (path, f"uv is {path}")
    assert home.there.read_bytes() == home.source.read_bytes()
    assert home.install() == (path, "")
    assert home.remove() == f"Removed {path}"
    assert not home.there.exists()


def test_uv_where_there_is_an_older_one(home: Home) -> None:
    """It takes its place until it is uninstalled, also if it was installed twice."""
    home.uv(home.there, "0.9.30")
    path = str(home.there)
    assert home.install() == (path, f"uv 0.9.30 was {path}, and is 0.13.8 now")
    home.uv(home.source, "0.13.10")
    assert home.install() == (path, f"uv 0.13.8 was {path}, and is 0.13.10 now")
    assert home.remove() == f"{path} is what it was before"
    assert "0.9.30" in home.there.read_text("utf-8")


@pytest.mark.parametrize(
    ("version", "what"),
    [("0.14.0", "a newer uv 0.14.0"), ("?", "a uv that does not tell its version")],
)
def test_uv_where_there_is_a_newer_one(home: Home, version: str, what: str) -> None:
    """It is left, and how to replace it is told."""
    home.uv(home.there, version)
    path = str(home.there)
    told = f"{path} is {what}, and is left; --replace-uv replaces it by 0.13.8"
    assert home.install() == (None, told)
    assert version in home.there.read_text("utf-8")
    assert home.install(replace=True)[0] == path
    assert "0.13.8" in home.there.read_text("utf-8")
    home.uv(home.there, "0.15.0")
    assert home.remove() == f"{path} is another uv by now, and is left"


def test_uv_of_the_same_version(home: Home) -> None:
    """Another build of it is not this bundle's, so it stays for ever."""
    path = home.uv(home.there, "0.13.8")
    path.write_text(path.read_text("utf-8") + "# other\n", encoding="utf-8")
    assert home.install() == (str(home.there), f"uv 0.13.8 was there: {home.there}")
    assert home.remove() == ""
    assert home.there.exists()


class Pythons:
    """A directory of Pythons, and bundles that use them."""

    key = "cpython-3.12.1-linux-x86_64-gnu"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "python" / self.key

    def install(self, name: str) -> Path:
        """Do as an install of a bundle does."""
        project = self.folder / name
        (project / OWN).mkdir(parents=True, exist_ok=True)
        owned = Owned(str(project))
        owned.intend(str(self.place.parent), self.key)
        self.place.mkdir(parents=True, exist_ok=True)
        owned.claim()
        return project

    def release(self, project: Path) -> tuple[bool, str]:
        """Do as an uninstall does, and say whether the Python is to be removed."""
        unused, told = Owned(str(project)).release()
        shutil.rmtree(project, ignore_errors=True)
        return unused == (str(self.place.parent), self.key), told


@pytest.fixture
def pythons(tmp_path: Path) -> Pythons:
    """Give a directory that is not there yet."""
    return Pythons(tmp_path)


def test_python_goes_with_its_last_bundle(pythons: Pythons) -> None:
    """As long as another one uses it, it stays, and that one is named."""
    one, two = pythons.install("one"), pythons.install("two")
    assert pythons.release(one) == (False, f"Python stays, as `{two}` uses it")
    assert pythons.release(two) == (True, "")


def test_python_that_was_there_stays(pythons: Pythons) -> None:
    """No bundle installed it."""
    pythons.place.mkdir(parents=True)
    assert pythons.release(pythons.install("one")) == (False, "")


def test_python_of_a_project_that_moved(pythons: Pythons) -> None:
    """Whoever cannot be found may use it still; installed again there, it is known again."""
    one, two = pythons.install("one"), pythons.install("two")
    two.rename(moved := pythons.folder / "moved")
    told = f"Python stays: `{two}` used it, and may have moved; it is `{pythons.place}`"
    assert pythons.release(one) == (False, told)
    pythons.install("moved")
    users = json.loads((pythons.place / ".envpack.json").read_text("utf-8"))["users"]
    assert list(users.values()) == [str(moved)]
    assert pythons.release(moved) == (True, "")


STATE_SCHEMA = "envpack.installed/1"
OTHERS = (
    "",
    "[]",
    "[" * 100_000,
    "\0",
    '{"schema": 1}',
    f'{{"schema": "{STATE_SCHEMA}"}}',
    f'{{"schema": "{STATE_SCHEMA}", "id": 1}}',
    f'{{"schema": "{STATE_SCHEMA}", "id": "1", "made": "/"}}',
    f'{{"schema": "{STATE_SCHEMA}", "id": "1", "made": [["/"]]}}',
    f'{{"schema": "{STATE_SCHEMA}", "id": "1", "python": "/"}}',
    f'{{"schema": "{STATE_SCHEMA}", "id": "1", "python": {{"dir": "/"}}}}',
    f'{{"schema": "{STATE_SCHEMA}", "id": "1", "uv": {{"path": 7, "sha256": ""}}}}',
)


@pytest.mark.parametrize("text", OTHERS, ids=range(len(OTHERS)))
def test_what_nobody_here_wrote(pythons: Pythons, home: Home, text: str) -> None:
    """A record that is damaged is none: a Python or a uv that it names is not touched."""
    path = Path(Owned(str(home.project)).path)
    path.write_text(text, "utf-8")
    assert home.remove() == ""
    assert Owned(str(home.project)).told.keys() == {"schema", "id", "folder"}
    path.unlink()
    os.mkfifo(path)
    assert Owned(str(home.project)).told.keys() == {"schema", "id", "folder"}
    project = pythons.install("a")
    (pythons.place / ".envpack.json").write_text(text.replace("installed", "python"), "utf-8")
    assert pythons.release(project) == (False, "")


def test_python_after_a_killed_run(pythons: Pythons) -> None:
    """It was installed, and not signed yet: it is the bundle's all the same."""
    project = pythons.install("one")
    (pythons.place / ".envpack.json").unlink()
    pythons.install("one")
    assert pythons.release(project) == (True, "")


def test_a_newer_bundle_knows_what_the_older_owned(
    bundled: Path, there: Path, plum: Path, tmp_path: Path
) -> None:
    """The record goes from one to the next."""
    before = json.loads((there / OWN / "installed.json").read_text("utf-8"))
    (plum / "main.py").write_text("print('newer')\n", encoding="utf-8")
    bundle(str(tmp_path / "n.run"), project=plum, python=False, uv=False)
    assert run(["unbundle", str(tmp_path / "n.run"), str(there)]) == 0
    assert json.loads((there / OWN / "installed.json").read_text("utf-8")) == before
    assert (there / OWN / MANIFEST).is_file()
    del bundled
