"""`download` from PyPI and `sync` where there is no network, no Python, and another home."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .far import UV, Far
from .lab.interpreters import Standalone, downloads_json, standalone, uv_environment
from .lab.missing import require
from .lab.orchard import sums
from .lab.session import Lab
from .lab.tools import call, tool, uv_program
from .packs import envpack, source_path

MINOR = "3.12"
PLATFORMS = ("current", "windows", "aarch64-unknown-linux-gnu")
PROJECT = f"""\
[project]
name = "orchard"
version = "1.0"
requires-python = "=={MINOR}.*"
dependencies = ["humanize", "markupsafe", "colorama; sys_platform == 'win32'"]

[project.scripts]
orchard = "orchard:main"

[dependency-groups]
dev = ["iniconfig"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
MODULE = """\
import humanize
import markupsafe._speedups


def main():
    print(humanize.intcomma(12345))
"""


@pytest.fixture(scope="module")
def python() -> Standalone:
    """Give the interpreter that uv can fetch."""
    return require(standalone, MINOR)


@pytest.fixture(scope="module")
def near(lab: Lab, python: Standalone, work: Path) -> Path:
    """Give a folder with a locked project and its download for three platforms."""
    folder = work / "near"
    project = folder / "project"
    source = project / "src/orchard"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text(MODULE, encoding="utf-8")
    (project / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "downloads.json").write_text(downloads_json([python]), encoding="utf-8")
    env = uv_environment(
        lab.managed(MINOR).install_dir,
        {"UV_PYTHON_DOWNLOADS_JSON_URL": (folder / "downloads.json").as_uri()},
    )
    call([uv_program(), "lock"], cwd=project, env=env)
    before = sums(project)
    words: list[str | Path] = ["download", "--json", "--with-build-deps", "-o"]
    envpack([*words, folder / "dists", "--with-python", "--with-uv"], env=env, cwd=project)
    given: list[str | Path] = ["--python-archive", python.archive, "--with-uv"]
    envpack([*words, folder / "given", *given], env=env, cwd=project)
    others = [*words, folder / "others", f"--platform={','.join(PLATFORMS)}"]
    assert json.loads(envpack(others, env=env, cwd=project))["lacking"] == []
    assert sums(project) == before
    return folder


@pytest.fixture
def far(near: Path, tmp_path: Path) -> Far:
    """Give the other side: another path, an empty home and cache, and no Python that fits."""
    folder = tmp_path / "the other é"
    folder.mkdir()
    for name in ("project", "dists", "given", "others"):
        shutil.copytree(near / name, folder / name)
    known = {"UV_PYTHON_DOWNLOADS_JSON_URL": (near / "downloads.json").as_uri()}
    return Far.at(folder, tmp_path / "home", known)


def test_sync_where_there_is_no_network(far: Far) -> None:
    """Python, uv and packages come from the folder; plain uv goes on; the lock is the same."""
    before = sums(far.project)
    done = far.sync("--configure")
    assert done.returncode == 0, done.stderr
    answer = "import sys; print(sys.base_prefix)"
    there = far.uv("run", "--locked", "python", "-c", answer).strip()
    assert there.startswith(far.environment["HOME"])
    assert far.uv("run", "orchard") == "12,345\n"
    far.uv("sync", "--locked")
    far.uv("build", "--wheel")
    assert sums(far.project) == before
    again = far.sync()
    assert again.returncode == 0, again.stderr
    assert "Installed Python" not in again.stderr


def test_a_company_s_python(far: Far) -> None:
    """An archive that was given is installed, though uv's list of downloads does not know it."""
    del far.environment["UV_PYTHON_DOWNLOADS_JSON_URL"]
    done = far.sync(folder=far.folder / "given")
    assert done.returncode == 0, done.stderr
    assert far.uv("run", "--offline", "--locked", "orchard") == "12,345\n"
    installed = Path(far.environment["HOME"], ".local/share/uv/python")
    assert any(path.name.endswith("-linux-x86_64-gnu") for path in installed.iterdir())


def test_no_python_there_and_none_brought(far: Far) -> None:
    """Said in one sentence, before anything is made."""
    folder = far.folder / "others"
    done = far.sync(folder=folder)
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    start = f"error: there is no Python here for the project, and none in `{folder}` (uv: "
    assert error.startswith(start)
    assert hint == "hint: `envpack download --with-python` brings one"
    assert not (far.project / ".venv").exists()


def test_after_both_were_moved(far: Far, tmp_path: Path) -> None:
    """What uv was told is relative; the environment's links are the environment's to make anew."""
    assert far.sync("--configure").returncode == 0
    moved = far.moved(tmp_path / "moved")
    assert moved.uv("run", "--locked", "orchard") == "12,345\n"
    done = moved.sync()
    assert done.returncode == 0, done.stderr
    assert moved.uv("run", "--locked", "orchard") == "12,345\n"


def test_after_the_download_was_moved(far: Far, tmp_path: Path) -> None:
    """uv refuses what it was told; another sync tells it the new place."""
    assert far.sync("--configure").returncode == 0
    far.dists.rename(tmp_path / "elsewhere")
    (far.folder / "dists").symlink_to(tmp_path / "gone")
    far.environment["UV"] = str(tmp_path / "elsewhere" / UV)
    done = far.sync("--configure", folder=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    said = (far.project / "uv.toml").read_text(encoding="utf-8")
    assert str(tmp_path / "elsewhere/wheels") in said


def test_a_changed_wheel_is_refused_by_name(far: Far) -> None:
    """Before anything is installed."""
    (wheel,) = (far.dists / "wheels").glob("humanize-*.whl")
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"x")
    done = far.sync()
    assert done.returncode == 3
    assert wheel.name in done.stderr
    assert not (far.project / ".venv").exists()


@pytest.mark.parametrize(
    ("platform", "suffix"),
    [("x86_64-pc-windows-msvc", "win_amd64.pyd"), ("aarch64-manylinux_2_28", "aarch64")],
)
def test_other_platforms_install_from_it(far: Far, platform: str, suffix: str) -> None:
    """By uv alone, into a folder: the wheels are those of that platform."""
    assert far.sync().returncode == 0
    words = ["pip", "sync", "--offline", "--no-config", "--preview-features", "pylock"]
    words += ["--python", ".venv/bin/python", "--python-platform", platform, "--target", "T"]
    far.uv(*words, str(far.folder / "others/pylock.toml"))
    (module,) = (path.name for path in (far.project / "T/markupsafe").glob("_speedups.c*-*"))
    assert suffix in module
    assert (far.project / "T/colorama").is_dir() == ("windows" in platform)


def test_pip_installs_from_it(far: Far) -> None:
    """By requirements.txt with hashes, without an index."""
    assert far.sync().returncode == 0
    interpreter = far.uv("python", "find", "--system", MINOR).strip()
    call([interpreter, "-m", "venv", far.folder / "v"], env=far.environment)
    words: list[str | Path] = [far.folder / "v/bin/pip", "install", "-r", "requirements.txt"]
    call(far.without_network(words), cwd=far.dists, env=far.environment)
    done = call([far.folder / "v/bin/orchard"], env=far.environment)
    assert done == "12,345\n"


def test_a_full_disk(project: Path, shelf: Path) -> None:
    """One sentence; what is there stays, and there is no lock of what is not."""
    del project
    wheel = shelf / "plain-1.0-py3-none-any.whl"
    script = (
        "cd /mnt && mkdir D && dd if=/dev/zero of=fill bs=4096 count=$1 status=none; "
        'shift; "$@"; code=$?; find D -type f | sort >&2; exit $code'
    )
    program = [sys.executable, "-c", "from envpack.cli import main; main()", "download"]
    words = [*program, "-q", "--project", os.getcwd(), "--platform", "windows", "-o", "/mnt/D"]
    told = []
    for blocks in range(20, 60, 4):
        bwrap = [require(tool, "bwrap"), "--dev-bind", "/", "/", "--size", "262144"]
        done = subprocess.run(
            [*bwrap, "--tmpfs", "/mnt", "sh", "-c", script, "sh", str(blocks), *words],
            env={**os.environ, "PYTHONPATH": source_path()},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = done.stderr.splitlines()
        assert "D/pylock.toml" not in lines or done.returncode == 0
        if done.returncode:
            assert "Traceback" not in done.stderr
            told.append(lines[0])
    assert told
    assert all(line.startswith("error: ") and "No space left" in line for line in told), told
    assert wheel.is_file()
