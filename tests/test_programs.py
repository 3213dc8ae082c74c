"""Interpreters and uv in a download's folder: fetched by the real uv, kept, found again."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path

import pytest

from envpack.downloading import download
from envpack.errors import ProjectFault
from envpack.platforms import Python, Target, platforms_named
from envpack.programs import bring_pythons, bring_uvs, install_python, python_key, uv_triple
from envpack.python_archive import archives_in
from envpack.uv import Uv
from envpack.wheelhouse import Record
from tests.shop import MINOR, files
from tests.test_python_archive import company_archive

NEXT = f"3.{sys.version_info[1] + 1}"
LINUX = f"cpython-{MINOR}.4-linux-x86_64-gnu"
WINDOWS = f"cpython-{MINOR}.4-windows-x86_64-none"
NEWER = f"cpython-{NEXT}.1-linux-x86_64-gnu"
SYSCONFIG = b"""\
# system configuration generated and used by the sysconfig module
build_time_vars = {}
"""
KEYS = {
    "linux": f"cpython-{MINOR}-linux-x86_64-gnu",
    "windows": f"cpython-{MINOR}-windows-x86_64-none",
    "win32": f"cpython-{MINOR}-windows-x86-none",
    "macos": f"cpython-{MINOR}-macos-aarch64-none",
    "musllinux_1_2_x86_64": f"cpython-{MINOR}-linux-x86_64-musl",
    "aarch64-unknown-linux-gnu": f"cpython-{MINOR}-linux-aarch64-gnu",
}


def targets(*words: str, python: str = MINOR) -> list[Target]:
    """Return targets of one Python."""
    return [Target(platform, Python(python)) for platform in platforms_named(words) or ()]


def archive(path: Path, executable: str, minor: str) -> str:
    """Write an interpreter's archive in uv's shape, of nothing but a script; return its sha256."""
    members = {
        f"lib/python{minor}/_sysconfigdata__linux_x86_64-linux-gnu.py": SYSCONFIG,
        "Lib/os.py": b"",  # where Windows has it
        executable: b"#!/bin/sh\nexit 1\n",
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, text in members.items():
            member = tarfile.TarInfo(f"python/{name}")
            member.size, member.mode = len(text), 0o755
            tar.addfile(member, io.BytesIO(text))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of archives, the only ones that uv knows of; nothing else has it installed."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    listed = {}
    for key in (LINUX, WINDOWS, NEWER):
        _, version, system, arch, libc = key.split("-")
        major, minor, patch = map(int, version.split("."))
        name = f"cpython-{version}%2B20240107-{arch}-{system}-{libc}-install_only.tar.gz"
        windows = system == "windows"
        program = "python.exe" if windows else f"bin/python{major}.{minor}"
        listed[key] = {
            "name": "cpython",
            "arch": {"family": arch, "variant": None},
            "os": system,
            "libc": libc,
            "major": major,
            "minor": minor,
            "patch": patch,
            "prerelease": "",
            "url": (folder / name).as_uri(),
            "sha256": archive(folder / name.replace("%2B", "+"), program, f"{major}.{minor}"),
            "variant": None,
            "build": "20240107",
        }
        listed[key]["url"] = (folder / name.replace("%2B", "+")).as_uri()
    (folder / "downloads.json").write_text(json.dumps(listed), encoding="utf-8")
    url = (folder / "downloads.json").as_uri()
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", url)
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "installed"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_BIN", "0")
    return folder


@pytest.mark.parametrize("word", KEYS)
def test_uvs_names(word: str) -> None:
    """As `uv python list --all-platforms --only-downloads` has them."""
    (target,) = targets(word)
    assert python_key(*target) == KEYS[word]


def test_free_threaded() -> None:
    """uv writes it after the version."""
    (target,) = targets("linux", python="3.13")
    assert python_key(target.platform, Python("3.13", free_threaded=True)) == (
        "cpython-3.13+freethreaded-linux-x86_64-gnu"
    )


def test_one_for_each_platform(mirror: Path, tmp_path: Path) -> None:
    """The pristine archives, under the names by which uv finds them; the second time none."""
    uv, folder = Uv.find(), tmp_path / "D"
    wanted = targets("linux", "windows")
    first = bring_pythons(uv, str(folder), wanted, None)
    assert [file.name for file in first.files] == [LINUX, WINDOWS]
    assert first.fetched == 2
    assert files(folder) == sorted(file.path for file in first.files)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in mirror.iterdir()}
    for file in first.files:
        assert file.sha256 in sums.values()
        assert Path(file.path).name.startswith(f"{file.sha256[:9]}-cpython-{MINOR}.4-")
    assert not (tmp_path / "installed").exists()
    again = bring_pythons(uv, str(folder), wanted, Record({}, first.files))
    assert (again.files, again.fetched) == (first.files, 0)


def test_a_damaged_one_is_fetched_again(mirror: Path, tmp_path: Path) -> None:
    """What is there is not enough, it must be right."""
    del mirror
    uv, folder = Uv.find(), tmp_path / "D"
    first = bring_pythons(uv, str(folder), targets("linux"), None)
    (folder / first.files[0].path).write_bytes(b"")
    again = bring_pythons(uv, str(folder), targets("linux"), Record({}, first.files))
    assert (again.files, again.fetched) == (first.files, 1)


def test_one_that_uv_does_not_have(mirror: Path, tmp_path: Path) -> None:
    """It is named, and nothing unfinished stays."""
    del mirror
    with pytest.raises(
        ProjectFault, match=re.escape(f"`cpython-{MINOR}-macos-aarch64-none`")
    ) as caught:
        bring_pythons(Uv.find(), str(tmp_path / "D"), targets("macos"), None)
    assert "UV_PYTHON_INSTALL_MIRROR" in (caught.value.hint or "")
    assert files(tmp_path / "D") == []


def test_installed_without_a_network(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest that serves, from the folder alone, into uv's own directory."""
    uv, folder = Uv.find(), tmp_path / "D"
    wanted = [*targets("linux", "windows"), *targets("linux", python=NEXT)]
    record = Record({}, bring_pythons(uv, str(folder), wanted, None).files)
    for path in mirror.glob("*.tar.gz"):
        path.unlink()
    monkeypatch.setenv("UV_OFFLINE", "1")
    platform = targets("linux")[0].platform
    there = (uv, str(folder), record, platform)
    assert install_python(*there, "3.99", "") is None
    assert install_python(*there, None, f"<{MINOR}") is None
    assert not (tmp_path / "installed").exists()
    assert install_python(*there, None, f">=3.8,<{NEXT}") == f"{MINOR}.4"
    assert install_python(*there, None, ">=3.8") == f"{NEXT}.1"
    assert (tmp_path / "installed" / LINUX / f"bin/python{MINOR}").is_file()
    assert (tmp_path / "installed" / NEWER / f"bin/python{NEXT}").is_file()


def test_a_company_s_own(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that is given comes instead of uv's, and is what uv installs there, offline."""
    del mirror
    uv, folder = Uv.find(), tmp_path / "D é"
    path = company_archive(tmp_path / "acme python.tar.gz", f"{MINOR}.77")
    given, wanted = archives_in([str(path)]), targets("linux", "windows")
    first = bring_pythons(uv, str(folder), wanted, None, given)
    key = f"cpython-{MINOR}.77-linux-x86_64-gnu"
    assert ([file.name for file in first.files], first.fetched) == ([key, WINDOWS], 2)
    assert (folder / "python/acme python.tar.gz").read_bytes() == path.read_bytes()
    record = Record({}, first.files)
    again = bring_pythons(uv, str(folder), wanted, record, given)
    assert (again.files, again.fetched) == (first.files, 0)
    later = bring_pythons(uv, str(folder), wanted, record)
    assert (later.files, later.fetched) == (first.files, 0)
    path.unlink()
    monkeypatch.setenv("UV_PYTHON_CACHE_DIR", str(tmp_path / "kept"))
    platform = wanted[0].platform
    assert install_python(uv, str(folder), record, platform, MINOR, "") == f"{MINOR}.77"
    assert (tmp_path / "installed" / key / f"bin/python{MINOR}").is_file()
    assert not (tmp_path / "kept").exists()


def test_what_is_not_given(project: Path, mirror: Path, tmp_path: Path) -> None:
    """Without `--with-python` uv fetches nothing: what is missing is named before anything else."""
    del project, mirror
    path = company_archive(tmp_path / "acme.tar.gz", f"{MINOR}.77")
    with pytest.raises(ProjectFault, match=f"is `cpython-{MINOR}-windows-x86_64-none`"):
        download(tmp_path / "D", platforms=["linux,windows"], python_archives=[path])
    assert not (tmp_path / "D").exists()
    report = download(tmp_path / "D", platforms=["linux"], python_archives=[path])
    (own,) = (file for file in report.files if file.role == "python")
    assert (own.path, own.origin.path) == ("python/acme.tar.gz", "acme.tar.gz")
    assert download(tmp_path / "D", platforms=["linux"]).fetched == 0
    report = download(tmp_path / "D", platforms=["windows"], with_python=True)
    assert [file.name for file in report.files if file.role == "python"] == [own.name, WINDOWS]


@pytest.mark.parametrize(
    ("word", "triple"),
    [
        ("linux", "x86_64-unknown-linux-musl"),
        ("musllinux_1_2_aarch64", "aarch64-unknown-linux-musl"),
        ("macos", "aarch64-apple-darwin"),
        ("windows", "x86_64-pc-windows-msvc"),
        ("win32", "i686-pc-windows-msvc"),
    ],
)
def test_the_uv_of_a_platform(word: str, triple: str) -> None:
    """On Linux the static one, whatever the C library."""
    assert uv_triple(targets(word)[0].platform) == triple


def test_uv_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One executable for each platform, by uv's own name of it, once."""
    asked = []

    def static_uv(_uv: Uv, triple: str, into: str, version: str) -> str:
        asked.append(triple)
        path = Path(into) / ("uv.exe" if "windows" in triple else "uv")
        path.write_text(f"{triple} {version}")
        return str(path)

    monkeypatch.setattr(Uv, "static_uv", static_uv)
    uv, folder = Uv.find(), str(tmp_path)
    platforms = [target.platform for target in targets("linux", "musllinux_1_2_x86_64", "windows")]
    first = bring_uvs(uv, folder, platforms, None)
    assert [file.path for file in first.files] == [
        "uv/uv-x86_64-unknown-linux-musl",
        "uv/uv-x86_64-pc-windows-msvc.exe",
    ]
    assert files(tmp_path) == sorted(file.path for file in first.files)
    assert asked == ["x86_64-unknown-linux-musl", "x86_64-pc-windows-msvc"]
    again = bring_uvs(uv, folder, platforms, Record({}, first.files))
    assert (again.files, again.fetched, len(asked)) == (first.files, 0, 2)


def test_of_a_whole_download(project: Path, mirror: Path, tmp_path: Path) -> None:
    """They are in envpack.json, a later run without the words keeps them, `--prune` does not."""
    del project, mirror
    folder = tmp_path / "D"
    report = download(folder, platforms=["linux"], with_python=True)
    assert [file.name for file in report.files if file.role == "python"] == [LINUX]
    report = download(folder, platforms=["linux"])
    assert [file.name for file in report.files if file.role == "python"] == [LINUX]
    assert report.fetched == 0
    report = download(folder, platforms=["linux"], prune=True)
    assert [name.split("/")[0] for name in report.removed] == ["python"]
    assert not [file for file in report.files if file.role == "python"]
