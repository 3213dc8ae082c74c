"""The wrappers of a layout: they find their own folder, and set what is not set."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envpack.layout_files import texts
from envpack.layout_record import Layout
from envpack.platforms import platforms_named
from envpack.programs import uv_triple
from envpack.wheelhouse import Stored

PROGRAM = """\
#!/bin/sh
printf '%s\\n' "${UV_CONFIG_FILE-}" "${UV_PYTHON_INSTALL_DIR-}" "${UV_PYTHON_CACHE_DIR-}" "$*"
"""
Run = Callable[..., list[str]]


def layout(*words: str) -> Layout:
    """Return a layout with uv for some platforms."""
    platforms = platforms_named(words) or ()
    names = [f"uv-{uv_triple(each)}" for each in platforms]
    ends = {name: ".exe" if "windows" in name else "" for name in names}
    files = [Stored(f"libexec/{n}{ends[n]}", n, "0.9", "0" * 64, 1, role="uv") for n in names]
    about = {"targets": [[str(each), "3.12"] for each in platforms], "every_platform": []}
    return Layout(about=about, inputs=(), files=tuple(files), facts={})


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A layout whose uv tells what it was given."""
    made = layout("linux", "macos", "aarch64-unknown-linux-gnu", "x86_64-apple-darwin")
    root = tmp_path / "the site é"
    for name, text in texts(made).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.data, encoding="utf-8")
        path.chmod(0o755 if text.executable else 0o644)
    for file in made.files:
        path = root / file.path
        path.parent.mkdir(exist_ok=True)
        path.write_text(PROGRAM)
        path.chmod(0o755)
    (root / "python/archives").mkdir(parents=True)
    (root / "python/cpython-3.12.1-linux-x86_64-gnu").mkdir()
    return root


@pytest.fixture(params=["sh", "dash", "busybox", "bash"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a wrapper by one of the shells, and return what uv was given."""
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"not installed: {request.param}")
    words = [shell, "sh"] if request.param == "busybox" else [shell]

    def run(path: str | Path, *args: str, cwd: Path = tmp_path, **env: str) -> list[str]:
        done = subprocess.run(
            [*words, path, *args],
            cwd=cwd,
            env={"PATH": "/usr/bin:/bin", "CDPATH": "/", **env},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    return run


def found(root: Path | str, *args: str) -> list[str]:
    """Return what uv of a layout is given."""
    places = ("uv.toml", "python", "python/archives")
    return [*(f"{root}/{place}" for place in places), " ".join(args)]


def test_it_finds_itself(site: Path, tmp_path: Path, run: Run) -> None:
    """By an absolute and a relative path, from its own folder, and through links to it."""
    assert run(site / "bin/uv", "a", "b c") == found(site, "a", "b c")
    assert run("the site é/bin/uv") == found(site)
    assert run("uv", cwd=site / "bin") == found(site)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/one").symlink_to("../the site é/bin/uv")
    (tmp_path / "links/two").symlink_to("one")
    assert run(tmp_path / "links/two") == found(site)


def test_a_link_to_the_folder_stays(site: Path, tmp_path: Path, run: Run) -> None:
    """A link such as `current` is what uv is told of, so that it may lead elsewhere next month."""
    (tmp_path / "current").symlink_to(site)
    assert run(tmp_path / "current/bin/uv") == found(tmp_path / "current")


def test_what_is_set_stays(site: Path, run: Run) -> None:
    """Also an empty word."""
    given = {"UV_CONFIG_FILE": "mine", "UV_PYTHON_INSTALL_DIR": "", "UV_PYTHON_CACHE_DIR": "c"}
    assert run(site / "bin/uv", **given) == ["mine", "", "c", ""]


@pytest.mark.parametrize(
    "words",
    [
        ("python", "install", "3.12"),
        ("-q", "python", "upgrade"),
        ("python", "-v", "uninstall"),
        ("--directory", "run", "python", "--color", "never", "install"),
        ("--directory=run", "python", "install"),
    ],
)
def test_what_uv_installs_is_the_user_s(site: Path, run: Run, words: tuple[str, ...]) -> None:
    """The layout's Pythons are not where `uv python install` writes."""
    assert run(site / "bin/uv", *words)[1] == ""


@pytest.mark.parametrize(
    "words",
    [
        ("python", "list"),
        ("run", "python", "install"),
        ("pip", "install", "python"),
        ("--project", "python", "run", "install"),
    ],
)
def test_all_else_sees_the_pythons(site: Path, run: Run, words: tuple[str, ...]) -> None:
    """Words of other commands are not taken for it."""
    assert run(site / "bin/uv", *words)[1] == f"{site}/python"


def test_without_pythons(site: Path, run: Run) -> None:
    """Then nothing is said of them; archives alone are no place to install to."""
    shutil.rmtree(site / "python/cpython-3.12.1-linux-x86_64-gnu")
    assert run(site / "bin/uv")[1:3] == ["", f"{site}/python/archives"]
    shutil.rmtree(site / "python")
    assert run(site / "bin/uv")[1:3] == ["", ""]


def test_uvx(site: Path, run: Run) -> None:
    """It is `uv tool run`."""
    assert run(site / "bin/uvx", "ruff", "check") == found(site, "tool", "run", "ruff", "check")


def test_another_machine(tmp_path: Path) -> None:
    """Said in a sentence."""
    text = texts(layout("riscv64-unknown-linux"))["bin/uv"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uv").write_text(text.data)
    done = subprocess.run(["sh", tmp_path / "bin/uv"], capture_output=True, text=True, check=False)
    machine = f"{platform.system()} {platform.machine()}"
    assert (done.returncode, done.stderr) == (1, f"error: this folder has no uv for {machine}\n")


def test_for_windows() -> None:
    """Lines end as cmd wants them; there is nothing for systems whose uv is not there."""
    made = texts(layout("windows", "win_arm64"))
    assert [name for name in made if name.startswith("bin/")] == [
        "bin/uv.cmd",
        "bin/uvx.cmd",
        "bin/uv.ps1",
        "bin/uvx.ps1",
    ]
    text = made["bin/uv.cmd"].data
    assert text.count("\n") == text.count("\r\n") > 10
    assert 'if /i "%machine%"=="ARM64" set "program=uv-aarch64-pc-windows-msvc.exe"\r\n' in text
    assert "'AMD64' = 'uv-x86_64-pc-windows-msvc.exe'\r\n" in made["bin/uv.ps1"].data


def test_no_text_has_a_mark_left() -> None:
    """Every place of a template is filled."""
    for words in (("linux",), ("windows",), ("linux", "windows", "macos")):
        for name, text in texts(layout(*words)).items():
            assert not re.search(r"@[A-Z]+@", text.data), name
