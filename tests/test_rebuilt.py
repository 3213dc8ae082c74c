"""Wheels made again of an environment: by the real uv installed, patched, made and installed."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

from envpack import laying
from envpack.errors import EditableFault, EnvironmentFault, ProjectFault, SourceFault, UsageError
from envpack.rebuilt import Installed, _urlsafe, installed_in
from tests.index_server import IndexServer
from tests.shelf import sdist, source, wheel
from tests.shop import MINOR, files, uv
from tests.test_layout import dists, resolved

layout = partial(laying.layout, python=False, uv=False, seeds=False, platforms=["current"])
SITE = f"lib/python{MINOR}/site-packages"


def full(folder: Path) -> Path:
    """Write a wheel with all that a wheel can have."""
    path = wheel(folder, "full", "1.0")
    data = "full-1.0.data"
    extra = {
        "full_package/__init__.py": "name = 'full'\n",
        "full-1.0.dist-info/entry_points.txt": "[console_scripts]\nfull-cli = full_package:main\n",
        f"{data}/scripts/full-script": "#!python\nimport full; print('script', full.version)\n",
        f"{data}/scripts/full-shell": "#!/bin/sh\necho shell\n",
        f"{data}/data/share/full/data.txt": "data\n",
        f"{data}/headers/full.h": "#define FULL 1\n",
    }
    with zipfile.ZipFile(path, "a") as archive:
        record = archive.read("full-1.0.dist-info/RECORD").decode()
        for name, text in extra.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if "/scripts/" in name else 0o100644) << 16
            archive.writestr(info, text)
    again = path.with_suffix(".new")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w") as new:
        for each in old.infolist():
            if not each.filename.endswith("/RECORD"):
                new.writestr(each, old.read(each))
        rows = "".join(
            f"{name},sha256={_urlsafe(text.encode())},{len(text)}\n" for name, text in extra.items()
        )
        new.writestr("full-1.0.dist-info/RECORD", rows + record)
    again.rename(path)
    return path


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An environment with two distributions, in a path with a blank."""
    paths = [full(tmp_path / "dist"), wheel(tmp_path / "dist", "plain", "1.0")]
    root = tmp_path / "an env"
    uv("venv", "--python", sys.executable, str(root), cwd=tmp_path)
    install(root, *paths)
    return root


def install(root: Path, *paths: Path) -> None:
    """Install wheels, and nothing else."""
    words = ["pip", "install", "--offline", "--no-index", "--no-deps", "--link-mode", "copy"]
    uv(*words, "--python", str(root), *map(str, paths), cwd=root.parent)


def tree(root: Path) -> dict[str, bytes]:
    """Return what was installed, but for what names the place or the installer."""
    own = {"RECORD", "direct_url.json", "uv_cache.json", "INSTALLER", "REQUESTED"}
    found = {}
    for top in (SITE, "bin", "share", "include"):
        for name in files(root / top):
            if Path(name).name not in own and not name.startswith(("_virtualenv", "python")):
                data = (root / top / name).read_bytes()
                found[f"{top}/{name}"] = data.replace(bytes(root), b"<root>")
    return {name: data for name, data in found.items() if "activate" not in name}


def rebuilt(root: Path, into: Path) -> dict[str, Installed]:
    """Make all wheels of an environment."""
    into.mkdir(exist_ok=True)
    _, found = installed_in(str(root))
    for one in found:
        one.write(str(into / one.file))
    return {one.name: one for one in found}


@pytest.mark.smoke
def test_an_environment_comes_back(env: Path, tmp_path: Path) -> None:
    """Wheels made of it install to the very same files, scripts, data and headers included."""
    found = rebuilt(env, tmp_path / "W")
    assert [one.file for one in found.values()] == [
        "full-1.0-0installed-py3-none-any.whl",
        "plain-1.0-0installed-py3-none-any.whl",
    ]
    with zipfile.ZipFile(tmp_path / "W" / found["full"].file) as archive:
        names = archive.namelist()
        assert archive.read("full-1.0.data/scripts/full-script").startswith(b"#!python\nimport")
        rows = csv.reader(archive.read("full-1.0.dist-info/RECORD").decode().splitlines())
    assert sorted(row[0] for row in rows) == sorted(names)
    assert "full-1.0.data/scripts/full-cli" not in names
    assert {"full-1.0.data/headers/full.h", "full-1.0.data/data/share/full/data.txt"} <= set(names)
    uv("venv", "--python", sys.executable, str(tmp_path / "other env"), cwd=tmp_path)
    install(tmp_path / "other env", *sorted((tmp_path / "W").iterdir()))
    assert tree(tmp_path / "other env") == tree(env)
    said = subprocess.run([tmp_path / "other env/bin/full-script"], capture_output=True, check=True)
    assert said.stdout == b"script 1.0\n"


def test_the_same_bytes(env: Path, tmp_path: Path) -> None:
    """The same environment gives the same wheels."""
    for name in ("one", "two"):
        rebuilt(env, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_patches_travel(env: Path, tmp_path: Path) -> None:
    """What was changed, added and removed by hand is so in the wheel, which says it."""
    site = env / SITE
    (site / "full_package/__init__.py").write_text("name = 'patched'\n")
    (site / "full_package/added.py").write_text("new = True\n")
    (site / "full_package/__pycache__").mkdir()
    (site / "full_package/__pycache__/added.pyc").write_bytes(b"")
    (site / "plain.py").unlink()
    found = rebuilt(env, tmp_path / "W")
    assert found["full"].patched == ("full_package/__init__.py", "full_package/added.py")
    assert found["plain"].patched == ("plain.py",)
    assert found["full"].file.startswith("full-1.0-1patched")
    with zipfile.ZipFile(tmp_path / "W" / found["full"].file) as archive:
        assert archive.read("full_package/__init__.py") == b"name = 'patched'\n"
        assert "full_package/added.py" in archive.namelist()
        assert not [name for name in archive.namelist() if name.endswith(".pyc")]


def test_secrets_stay_home(env: Path, tmp_path: Path) -> None:
    """Keys that were added to a package are in no wheel, nor is a login of its metadata."""
    package = env / SITE / "full_package"
    (package / ".git").mkdir()
    for name in (".env", "server.key", ".git/config"):
        (package / name).write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n", encoding="utf-8")
    metadata = env / SITE / "full-1.0.dist-info" / "METADATA"
    with metadata.open("a", encoding="utf-8") as file:
        file.write("Requires-Dist: x @ https://me:hunter2@example.org/x.whl\n")
    found = rebuilt(env, tmp_path / "W")
    assert {"full_package/.env", "full_package/server.key"} <= set(found["full"].patched)
    with zipfile.ZipFile(tmp_path / "W" / found["full"].file) as archive:
        assert not any(b"hunter2" in archive.read(name) for name in archive.namelist())
        assert b"https://example.org/x.whl" in archive.read("full-1.0.dist-info/METADATA")


def test_in_a_layout(env: Path, server: IndexServer, tmp_path: Path) -> None:
    """Patched wheels win over the index's of the same version; unpatched ones stand back."""
    del server
    (env / SITE / "plain.py").write_text("version = 'patched'\n")
    uv("pip", "install", "--python", str(env), "tool", cwd=tmp_path)
    (tmp_path / "r.txt").write_text("plain\ntool\n")
    folder = tmp_path / "L"
    report = layout(folder, requirements=[tmp_path / "r.txt"], environments=[env])
    plain, patched = sorted(name for name in dists(folder) if name.startswith("plain"))[::-1]
    assert plain == "plain-1.0-py3-none-any.whl"
    assert report.patched == (f"packages/{patched}",)
    assert [name for name in dists(folder) if name.startswith(("tool", "full"))] == [
        "full-1.0-0installed-py3-none-any.whl",
        "tool-6.0-py3-none-any.whl",
    ]
    assert resolved(folder, "plain") == "plain==1.0\n"
    venv = tmp_path / "venv"
    uv("venv", "--python", sys.executable, str(venv), cwd=tmp_path)
    words = ["--config-file", str(folder / "uv.toml"), "--no-cache", "--python", str(venv)]
    uv("pip", "install", *words, "--default-index", (folder / "simple").as_uri(), "plain", cwd=venv)
    assert (venv / SITE / "plain.py").read_text() == "version = 'patched'\n"
    again = layout(
        folder, requirements=[tmp_path / "r.txt"], environments=[env], update=True, build=True
    )
    assert (again.added, again.built) == ((), 0)


def test_editables_are_refused(tmp_path: Path) -> None:
    """They are links to sources; the way out is said."""
    root = tmp_path / "env"
    uv("venv", "--python", sys.executable, str(root), cwd=tmp_path)
    project = source(tmp_path / "linked", "linked", "1.0")
    words = ["pip", "install", "--offline", "--python", str(root), "-e", str(project)]
    uv(*words, cwd=tmp_path)
    with pytest.raises(EditableFault, match="`linked` is installed editable") as caught:
        installed_in(str(root))
    assert caught.value.hint == "`uv sync --no-editable`, or `uv build --wheel` and `--wheel FILE`"


def test_what_is_no_environment(env: Path, tmp_path: Path) -> None:
    """No folder, and a distribution without RECORD."""
    with pytest.raises(EnvironmentFault, match="no environment at"):
        installed_in(str(tmp_path / "gone"))
    (env / SITE / "plain-1.0.dist-info/RECORD").unlink()
    with pytest.raises(SourceFault, match="`plain` has no RECORD"):
        installed_in(str(env))


def test_wheels_that_are_here(server: IndexServer, tmp_path: Path) -> None:
    """A file and a folder of them go in as they are; another file of the name does not."""
    del server
    one = wheel(tmp_path / "one", "mine", "1.0")
    wheel(tmp_path / "many", "mine", "2.0")
    sdist(tmp_path / "many", "older", "0.5")
    (tmp_path / "many/notes.txt").write_text("no distribution\n")
    folder = tmp_path / "L"
    report = layout(folder, wheels=[one, tmp_path / "many"], pythons=[MINOR])
    assert dists(folder) == [
        "mine-1.0-py3-none-any.whl",
        "mine-2.0-py3-none-any.whl",
        "older-0.5.tar.gz",
    ]
    assert report.inputs == ("mine-1.0-py3-none-any.whl", "many")
    again = layout(folder, wheels=[one, tmp_path / "many"], update=True)
    assert again.added == ()
    other = wheel(tmp_path / "other", "mine", "1.0", requires=["plain"])
    with pytest.raises(ProjectFault, match=r"another file `mine-1\.0-py3-none-any\.whl` is in"):
        layout(folder, wheels=[other], update=True)
    with pytest.raises(UsageError, match="no wheel or sdist at"):
        layout(folder, wheels=[tmp_path / "gone.whl"], update=True)
    bad = other.rename(other.with_name("nothing.whl"))
    with pytest.raises(UsageError, match=r"`nothing\.whl` is no name of a wheel or an sdist"):
        layout(folder, wheels=[bad], update=True)
