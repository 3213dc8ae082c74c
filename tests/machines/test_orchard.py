"""A project with every kind of source: downloaded here, synced where there is no network."""

import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .far import Far
from .lab.interpreters import Standalone, downloads_json, standalone, uv_environment
from .lab.missing import require
from .lab.orchard import SAYS, plant, served, sums
from .lab.session import Lab
from .lab.tools import call, downloading, uv_program
from .packs import envpack

MINOR = "3.12"


@dataclass(frozen=True)
class Near:
    """This side: the project and its download, which tests only read, and uv's variables."""

    folder: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def near(lab: Lab, work: Path) -> Iterator[Near]:
    """Give the locked project and its download, with Python and uv."""
    folder = work / "orchard"
    python: Standalone = require(standalone, MINOR)
    with served(folder / "served") as url:
        listed = folder / "downloads.json"
        listed.write_text(downloads_json([python]), encoding="utf-8")
        known = {"UV_PYTHON_DOWNLOADS_JSON_URL": listed.as_uri()}
        env = uv_environment(lab.managed(MINOR).install_dir, known)
        project = plant(folder / "project", url, env)
        before = sums(project)
        words = ["download", "-o", str(folder / "dists"), "--python", MINOR, "--with-build-deps"]
        words += ["--all-extras", "--with-python", "--with-uv"]
        envpack(words, env=env, cwd=project)
        assert sums(project) == before
        yield Near(folder, env)


@pytest.fixture
def far(near: Near, tmp_path: Path) -> Far:
    """Give the other side, with copies of both."""
    folder = tmp_path / "the other é"
    folder.mkdir()
    for name in ("project", "dists"):
        shutil.copytree(near.folder / name, folder / name)
    listed = near.environment["UV_PYTHON_DOWNLOADS_JSON_URL"]
    return Far.at(folder, tmp_path / "home", {"UV_PYTHON_DOWNLOADS_JSON_URL": listed})


def works(far: Far) -> None:
    """See that plain uv runs, tests, locks and builds the project."""
    assert far.uv("run", "orchard") == SAYS
    assert far.uv("run", "--locked", "--all-extras", "python", "-c", "import humanize") == ""
    far.uv("sync", "--locked", "--all-extras")
    assert "1 passed" in far.uv("run", "pytest", "-q", "-p", "no:cacheprovider")
    out = far.folder / "built"
    far.uv("build", "--all-packages", "--out-dir", out)
    assert sorted(path.name for path in out.glob("*.whl")) == [
        "orchard-1.0-py3-none-any.whl",
        "press-0.4-py3-none-any.whl",
    ]
    shutil.rmtree(out)


def test_plain_uv_goes_on_there(far: Far, tmp_path: Path) -> None:
    """Every kind of source is there, the lock is as it was, and after a move all of it again."""
    before = sums(far.project)
    done = far.sync("--configure", "--all-extras")
    assert done.returncode == 0, done.stderr
    works(far)
    assert sums(far.project) == before
    there = far.moved(tmp_path / "moved é")
    done = there.sync("--configure", "--all-extras")
    assert done.returncode == 0, done.stderr
    works(there)
    assert sums(there.project) == before


def test_the_lock_is_forked(near: Near) -> None:
    """One package has several versions, for several Pythons: the project is what it claims."""
    lock = tomllib.loads((near.folder / "project/uv.lock").read_text(encoding="utf-8"))
    names = [package["name"] for package in lock["package"]]
    assert len(lock["resolution-markers"]) > 1
    assert names.count("rpds-py") > 1
    sources = {tuple(sorted(package["source"])) for package in lock["package"]}
    kinds = {"registry", "git", "url", "editable", "directory"}
    assert {key for keys in sources for key in keys} == kinds


@pytest.fixture(scope="module")
def older_uv(near: Near, work: Path) -> Path:
    """Give uv as it was two minor versions ago."""
    version = call([uv_program(), "--version"], env=near.environment).split()[1]
    major, minor = (int(part) for part in version.split(".")[:2])
    place = work / "older-uv"
    words = ["pip", "install", "--no-deps", "--python", sys.executable, "--target", str(place)]
    with downloading("an older uv"):
        call([uv_program(), *words, f"uv<{major}.{minor - 1}"], env=near.environment)
    program = place / "bin/uv"
    told = call([program, "--version"]).split()[1]
    assert re.match(rf"{major}\.{minor - 2}\.", told)
    return program


def test_an_older_uv(far: Far, older_uv: Path) -> None:
    """By its own `pip sync` from pylock.toml, and by `envpack sync`."""
    assert far.sync().returncode == 0
    older = Far(far.folder, {**far.environment, "UV": str(older_uv)})
    older.uv("venv", "V", "--python", MINOR)
    words = ["pip", "sync", "--offline", "--no-config", "--preview", "--python", "V"]
    older.uv(*words, str(far.dists / "pylock.toml"))
    code = "import cider, crate, docopt, orchard, pomace, press; orchard.main()"
    assert call([far.project / "V/bin/python", "-c", code], env=far.environment) == SAYS
    shutil.rmtree(far.project / ".venv")
    done = older.sync("--configure")
    assert done.returncode == 0, done.stderr
    assert older.uv("run", "--locked", "orchard") == SAYS


def test_pip_installs_the_lock(far: Far, near: Near, work: Path) -> None:
    """By `pip install -r pylock.toml`, which pip has from 26 on, and by requirements.txt."""
    place = work / "pip"
    words = ["pip", "install", "--python", sys.executable, "--target", str(place), "pip>=26.1"]
    with downloading("pip 26"):
        call([uv_program(), *words], env=near.environment)
    assert far.sync().returncode == 0
    env = {**far.environment, "PYTHONPATH": str(place)}
    for name in ("pylock.toml", "requirements.txt"):
        far.uv("venv", "--clear", "V", "--python", MINOR)
        program: list[str | Path] = [far.project / "V/bin/python", "-m", "pip"]
        program += ["install", "--no-deps", "-r", name]
        call(far.without_network(program), cwd=far.dists, env=env)
        code = "import orchard; orchard.main()"
        assert call([far.project / "V/bin/python", "-c", code], env=far.environment) == SAYS
