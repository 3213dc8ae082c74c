"""A bundle for Windows installs itself there by `install.cmd`, and goes on by plain uv."""

import json
import os
import shutil
import zipfile
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest

from .bundles import Near
from .lab.interpreters import uv_environment
from .lab.missing import require
from .lab.orchard import SAYS, plant, served, sums
from .lab.session import Lab
from .lab.tools import call, uv_program
from .lab.wine import PYTHON, Windows, windows, windows_python
from .packs import envpack

pytestmark = pytest.mark.xdist_group("windows")
MINOR = "3.12"
UNPACKED = "got/proj (1) é"
"""Where Explorer would unpack it a second time."""

NAME = "orchard-1.0.zip"
KEY = f"cpython-{PYTHON}-windows-x86_64-none"


@pytest.fixture(scope="module")
def near(lab: Lab, work: Path) -> Near:
    """Give the project with every kind of source, and links, and its bundle for Windows."""
    folder = work / "windows"
    archive = require(windows_python)
    with served(folder / "served") as url:
        env = uv_environment(lab.managed(MINOR).install_dir, {})
        project = plant(folder / "project", url, env)
        (project / "docs").mkdir()
        (project / "docs/LICENSE").write_text("free\n", encoding="utf-8")
        (project / "LICENSE").symlink_to("docs/LICENSE")
        (project / "manual").symlink_to("docs")
        (project / "aux.txt").write_text("no such name there\n", encoding="utf-8")
        words = ["bundle", "--platform", "windows", "--python", MINOR, "--json"]
        words += ["--python-archive", str(archive)]
        told = json.loads(envpack([*words, "-o", str(folder / NAME)], env=env, cwd=project))
        assert told["left_out"] == [
            {"path": "aux.txt", "why": "no file on Windows can have this name"}
        ]
    return Near(project, folder / NAME, env)


class Far:
    """A Windows, and what was unpacked there."""

    def __init__(self, machine: Windows, bundle: Path) -> None:
        self.machine = machine
        self.unpacked = machine.drive / UNPACKED
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(self.unpacked)
        for path in self.unpacked.rglob("*"):
            if path.is_file():
                path.chmod(0o444)  # as from a disc

    def run(self, *words: str, cwd: str = "work", path: str = "") -> CompletedProcess[str]:
        """Start a program in a folder; `path` is on PATH."""
        (self.machine.drive / cwd).mkdir(parents=True, exist_ok=True)
        return self.machine.run(words, cwd=cwd, env={"WINEPATH": path})

    def install(self, *words: str, path: str = "") -> CompletedProcess[str]:
        """Start install.cmd by its whole path, as a double click does."""
        opener = "C:\\" + UNPACKED.replace("/", "\\") + "\\install.cmd"
        return self.run(opener, *words, path=path)


@pytest.fixture
def far(near: Near, tmp_path: Path) -> Far:
    """Give a new Windows with the unpacked bundle."""
    return Far(require(windows, tmp_path / "windows"), near.bundle)


def ok(done: CompletedProcess[str]) -> str:
    """Return what a program that must do said."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.replace("\r\n", "\n")


def test_one_command_and_plain_uv(near: Near, far: Far) -> None:
    """What the lock names works there, and after a move, offline, by plain uv alone."""
    (far.machine.drive / "work").mkdir()
    said = ok(far.run("cmd", "/c", "install.cmd", "..\\..\\work\\My Dir é\\", cwd=UNPACKED))
    assert said.splitlines() == [
        "Installed orchard in C:\\work\\My Dir é",
        '  cd /d "C:\\work\\My Dir é"',
        "  .envpack\\bin\\uv.exe run …",
    ]
    place = far.machine.drive / "work/My Dir é"
    assert sums(place) == sums(near.project)
    assert [path.name for path in place.parent.iterdir()] == ["My Dir é"]
    assert not list((far.machine.drive / "users/root/AppData/Local/Temp").glob("envpack-*"))
    assert (place / "LICENSE").read_text("utf-8") == "free\n"
    assert (place / "manual/LICENSE").read_text("utf-8") == "free\n"
    uv = uv_of("work/My Dir é")
    assert ok(far.run(uv, "run", "orchard", cwd="work/My Dir é")) == SAYS
    place.rename(place.with_name("moved"))
    assert ok(far.run(uv_of("work/moved"), "run", "orchard", cwd="work/moved")) == SAYS
    works(far, "work/moved")


def uv_of(place: str) -> str:
    """Return the path of uv in a folder of drive C:."""
    return "C:\\" + place.replace("/", "\\") + "\\.envpack\\bin\\uv.exe"


def works(far: Far, place: str) -> None:
    """Try what people do with uv."""
    uv = uv_of(place)
    pytest_words = ["run", "--all-extras", "pytest", "-q", "-p", "no:cacheprovider", ".."]
    assert "1 passed" in ok(far.run(uv, *pytest_words, cwd=f"{place}/src"))
    ok(far.run(uv, "sync", "-q", "--locked", "--all-extras", cwd=place))
    ok(far.run(uv, "lock", "-q", "--check", cwd=place))
    assert "press" in ok(far.run(uv, "tree", "-q", "--frozen", cwd=place))


def test_by_a_double_click(far: Far) -> None:
    """It asks for the folder, has one to offer, and waits so that its words can be read."""
    said = ok(far.install())
    assert "Folder [C:\\users\\root\\orchard]: " in said
    assert "Installed orchard in C:\\users\\root\\orchard\n" in said
    assert said.endswith("Press any key to continue... ")
    assert (far.machine.drive / "users/root/orchard/.venv/Scripts/orchard.exe").is_file()


def test_again(far: Far) -> None:
    """What was removed comes back; edited sources stop it, copies of links too."""
    ok(far.install("p"))
    place = far.machine.drive / "work/p"
    shutil.rmtree(place / ".venv")
    ok(far.install("p"))
    assert ok(far.run(".envpack\\bin\\uv.exe", "run", "orchard", cwd="work/p")) == SAYS
    (place / "LICENSE").write_text("not free\n", encoding="utf-8")
    done = far.install("p")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: in `C:\\work\\p` these were edited: `LICENSE`",
        "hint: --sources-to DIR2 puts the bundle's sources there, and leaves these",
    ]
    ok(far.install("p", "--sources-to", "fresh"))
    assert (far.machine.drive / "work/fresh/LICENSE").read_text("utf-8") == "free\n"


def test_away_again(far: Far) -> None:
    """All goes but what was edited, in copies of links too; a uv that was there comes back."""
    home = far.machine.drive / "users/root"
    uv = home / ".local/bin/uv.exe"
    uv.parent.mkdir(parents=True)
    uv.write_text("no uv\n", encoding="utf-8")
    said = ok(far.install("p", "--install-uv"))
    assert "is a uv that does not tell its version, and is left" in said
    assert uv.read_text("utf-8") == "no uv\n"
    assert "--replace-uv " in ok(far.install("--help"))
    said = ok(far.install("p", "--replace-uv"))
    assert said.startswith("uv ? was C:\\users\\root\\.local\\bin\\uv.exe, and is ")
    assert (
        ok(far.run("C:\\users\\root\\.local\\bin\\uv.exe", "run", "orchard", cwd="work/p")) == SAYS
    )
    place = far.machine.drive / "work/p"
    (place / "manual/LICENSE").write_text("not free\n", encoding="utf-8")
    said = ok(far.install("--uninstall", "p"))
    removed, back, *rest = said.splitlines()
    assert removed.startswith("Removed Python: ")
    assert KEY in removed
    assert back == "C:\\users\\root\\.local\\bin\\uv.exe is what it was before"
    assert rest == [
        "Uninstalled orchard from C:\\work\\p",
        "These were edited, and stay: `manual/LICENSE`",
    ]
    assert [path for path in place.rglob("*") if path.is_file()] == [place / "manual/LICENSE"]
    assert uv.read_text("utf-8") == "no uv\n"
    assert not (home / "AppData/Roaming/uv/python" / KEY).exists()


def test_a_changed_byte(far: Far) -> None:
    """It is refused by name before anything is installed, in whatever file it is."""
    bundle = far.unpacked / "bundle"
    python = next(bundle.glob(".envpack/python/*.tar.gz"))
    for path in (
        next(bundle.glob(".envpack/wheels/*.whl")),
        bundle / "src/orchard/__init__.py",
        bundle / ".envpack/bundle.json",
        python,
    ):
        data = path.read_bytes()
        path.chmod(0o644)
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        done = far.install("p")
        path.write_bytes(data)
        *_, said = done.stderr.splitlines()
        assert said.startswith("error: "), done.stderr
        if path == python:  # it is what uv did not unpack
            assert done.returncode == 1
        else:
            assert done.returncode == 3
            assert path.name in said
        assert not list((far.machine.drive / "work").iterdir())
    assert "are what was bundled" in ok(far.install("--check"))
    assert not (far.machine.drive / "users/root/AppData/Roaming/uv/python").exists()


def test_not_the_whole_zip(far: Far) -> None:
    """Explorer opens a zip as a folder, and starts what is in it alone."""
    alone = far.machine.drive / "alone"
    alone.mkdir()
    shutil.copyfile(far.unpacked / "install.cmd", alone / "install.cmd")
    done = far.run("cmd", "/c", "install.cmd", "p", cwd="alone")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: this is not the whole bundle",
        "hint: unpack all of the zip, and run install.cmd in the folder that it becomes",
    ]


def test_a_missing_file_and_a_long_path(far: Far) -> None:
    """Both are told; nothing is left."""
    (far.unpacked / "bundle/src/orchard/__init__.py").unlink()
    done = far.install("x" * 190)
    assert done.returncode == 3
    warning, hint, error, way_out = done.stderr.splitlines()
    assert warning.startswith("warning: `C:\\work\\xxx")
    assert warning.endswith("characters, and this Windows takes 259")
    assert hint == "hint: choose a shorter DIR, or allow long paths (LongPathsEnabled)"
    assert error == "error: `src/orchard/__init__.py` is missing"
    assert way_out == "hint: unpack all of the zip"
    assert not list((far.machine.drive / "work").iterdir())


PLUM = """\
[project]
name = "plum"
version = "1"
requires-python = ">=3.12"

[tool.uv]
package = false
"""


def test_a_python_of_their_own(near: Near, tmp_path: Path) -> None:
    """A bundle without Python takes the one that is there, and says so if there is none."""
    project = tmp_path / "plum"
    project.mkdir()
    (project / "pyproject.toml").write_text(PLUM, encoding="utf-8")
    (project / "main.py").write_text("print('plum')\n", encoding="utf-8")
    call([uv_program(), "lock", "-q"], cwd=project, env=near.environment)
    words = ["bundle", "-q", "--platform", "windows", "--python", MINOR, "--no-python"]
    bundle = tmp_path / "plum.zip"
    envpack([*words, "-o", str(bundle)], env=near.environment, cwd=project)
    far = Far(require(windows, tmp_path / "windows"), bundle)
    none = far.install("p")
    assert none.returncode != 0
    assert "No interpreter found for Python 3.12" in none.stderr
    run(["tar", "-xf", require(windows_python), "-C", far.machine.drive], check=True)
    ok(far.install("p", path="C:\\python"))
    assert ok(far.run(uv_of("work/p"), "run", "main.py", cwd="work/p")) == "plum\n"


def test_usage(far: Far) -> None:
    """Words that it does not know, and help, have the exit codes of every program."""
    assert "--sources-to DIR" in ok(far.install("--help"))
    assert far.install("p", "--nothing").returncode == 2
    assert os.listdir(far.machine.drive / "work") == []
