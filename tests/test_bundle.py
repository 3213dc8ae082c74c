"""`bundle` and `unbundle` on this machine: what goes in, what is refused, and that it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from envpack.bundle_tree import END
from envpack.bundled.placing import MANIFEST, OWN, SCHEMA
from envpack.bundling import bundle
from envpack.cli import run
from envpack.errors import ProjectFault
from tests.judges import git
from tests.plum import PYPROJECT, PYTHON, uv
from tests.test_python_archive import company_archive


@pytest.mark.smoke
def test_said(plum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report, whole: what travels, and what stays home and why."""
    assert run(["bundle", "--no-python", "--no-uv", "-o", str(tmp_path / "p.run")]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'p.run'}\n"
    size = f"{(tmp_path / 'p.run').stat().st_size / 1000:.1f} kB"
    lines = said.err.splitlines()
    assert lines[-2].startswith("Bundled plum for ")
    assert re.search(rf": 5 sources, 0 packages, {re.escape(size)} in \d+\.\d s$", lines[-2])
    assert lines[-1] == "  left out `.env`: it may hold secrets"
    assert sorted(path.name for path in plum.iterdir()) == [
        ".env", "bin", "main.py", "pyproject.toml", "uv.lock",
    ]  # fmt: skip


def test_there(bundled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files, modes and links as they were, an environment, and uv offline."""
    there = tmp_path / "there"
    assert run(["unbundle", str(bundled), str(there)]) == 0
    assert f"Installed plum in {there}\n" in capsys.readouterr().err
    assert uv(there, "run", "--locked", "main.py") == "plum\n"
    assert stat.S_IMODE((there / "bin/tool").stat().st_mode) == 0o755
    assert os.readlink(there / "bin/link") == "tool"
    assert "offline = true" in (there / "uv.toml").read_text("utf-8")
    assert not any(path.name.endswith(".part") for path in tmp_path.iterdir())
    (there / ".venv/pyvenv.cfg").unlink()
    assert run(["unbundle", str(bundled), str(there)]) == 0
    assert uv(there, "run", "--locked", "main.py") == "plum\n"


@pytest.mark.smoke
def test_by_its_own_script(bundled: Path, tmp_path: Path) -> None:
    """The same by sh alone."""
    done = subprocess.run(
        ["sh", str(bundled), "a b"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"Installed plum in {tmp_path / 'a b'}"


def test_into_the_working_directory(bundled: Path, tmp_path: Path) -> None:
    """DIR may be `.`, and what is unpacked lies beside it all the same."""
    (tmp_path / "here").mkdir()
    done = subprocess.run(
        ["sh", str(bundled), "."],
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"Installed plum in {tmp_path / 'here'}"
    assert uv(tmp_path / "here", "run", "--locked", "main.py") == "plum\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "plum é", "plum.run"]


def test_a_line_break_in_the_path(
    bundled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused before anything is there: no `.pth` can hold such a path."""
    (tmp_path / "a\nb").mkdir()
    there = tmp_path / "a\nb" / "there"
    assert run(["unbundle", str(bundled), str(there)]) == 1
    assert "has a line break" in capsys.readouterr().err
    command = ["sh", str(bundled), str(there)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "has a line break" in done.stderr) == (1, True)
    assert list((tmp_path / "a\nb").iterdir()) == []


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst", ".tar"])
def test_archives(plum: Path, tmp_path: Path, suffix: str) -> None:
    """A plain archive has one folder at its top, and unbundles too."""
    out = tmp_path / f"plum{suffix}"
    bundle(str(out), project=plum, python=False, uv=False)
    if suffix != ".tar.zst":
        with tarfile.open(out) as archive:
            assert all(name.startswith("plum/") for name in archive.getnames())
    assert run(["unbundle", str(out), str(tmp_path / "there")]) == 0
    assert (tmp_path / "there/main.py").is_file()


def test_same_bytes(bundled: Path, plum: Path, tmp_path: Path) -> None:
    """The same input gives the same bundle."""
    bundle(str(tmp_path / "again.run"), project=plum, python=False, uv=False, jobs=1)
    assert (tmp_path / "again.run").read_bytes() == bundled.read_bytes()


@pytest.mark.parametrize("suffix", [".run", ".tar"])
def test_every_byte_counts(
    bundled: Path, plum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    """A changed byte in any part of the file is refused, and nothing is left."""
    broken = tmp_path / f"broken{suffix}"
    bundle(str(broken), project=plum, python=False, uv=False)
    data = bytearray(broken.read_bytes().rstrip(b"\0"))
    step = max(1, len(data) // 150)
    for position in range(0, len(data), step):
        data[position] ^= 0x20
        broken.write_bytes(data)
        data[position] ^= 0x20
        assert run(["unbundle", str(broken), str(tmp_path / "there")]) in {1, 3}, position
        assert capsys.readouterr().err.startswith("error: ")
    for length in range(0, len(data), step):
        broken.write_bytes(data[:length])
        assert run(["unbundle", str(broken), str(tmp_path / "there")]) in {1, 3}, length
        assert capsys.readouterr().err.startswith("error: ")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "plum é") == [
        broken.name,
        bundled.name,
    ]


def test_logins_stay_home(plum: Path, tmp_path: Path) -> None:
    """Those of uv.toml are taken out; that pyproject.toml has some is said."""
    index = '[[index]]\nname = "own"\nurl = "https://me:secret@example.org/simple"\n'
    (plum / "uv.toml").write_text(index, encoding="utf-8")
    report = bundle(str(tmp_path / "p.run"), python=False, uv=False)
    assert report.warnings == ("the logins in URLs of uv.toml stay home",)
    assert run(["unbundle", str(tmp_path / "p.run"), str(tmp_path / "there")]) == 0
    for name in ("uv.toml", "uv.toml.before-envpack"):
        text = (tmp_path / "there" / name).read_text("utf-8")
        assert "https://example.org/simple" in text
        assert "secret" not in text


def test_a_newer_bundle(plum: Path, bundled: Path, tmp_path: Path) -> None:
    """It replaces sources that nobody edited, removes those it lacks, and keeps other files."""
    there = tmp_path / "there"
    assert run(["unbundle", str(bundled), str(there)]) == 0
    (there / "notes.txt").write_text("mine", encoding="utf-8")
    (plum / "main.py").write_text("print('newer')\n", encoding="utf-8")
    (plum / "bin/tool").unlink()
    (plum / "bin/link").unlink()
    bundle(str(tmp_path / "newer.run"), project=plum, python=False, uv=False)
    assert run(["unbundle", str(tmp_path / "newer.run"), str(there)]) == 0
    assert uv(there, "run", "main.py") == "newer\n"
    assert not (there / "bin").exists()
    assert (there / "notes.txt").read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-o", "{tmp}/p.zip"], 2, "error: a zip is for Windows, and no platform is\n"
         "hint: a `.run` installs itself elsewhere\n"),
        (["--platform", "windows", "-o", "p.run"], 2, "error: a bundle for Windows is a zip\n"
         "hint: name it so: `-o project.zip`\n"),
        (["--platform", "all"], 2, "error: a bundle is for platforms by name\n"),
        (["-o", "{tmp}/no/p.run"], 1, "error: the folder `{tmp}/no` does not exist\n"
         "hint: make it first\n"),
        (["--project", "{tmp}"], 1, "error: `{tmp}` has no pyproject.toml, so it is no project\n"),
        (["--project", "{tmp}/x"], 1,
         "error: there is no folder `{tmp}/x`, so no project is there\n"),
    ],
)  # fmt: skip
def test_refused(
    plum: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    """Bad input gets one sentence, and nothing is written."""
    before = sorted(plum.rglob("*"))
    assert run(["bundle", *(word.format(tmp=tmp_path) for word in words)]) == code
    assert capsys.readouterr().err == said.format(tmp=tmp_path)
    assert sorted(plum.rglob("*")) == before


def test_no_lock(plum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is never made here."""
    (plum / "uv.lock").unlink()
    assert run(["bundle", *("--no-python", "--no-uv")]) == 1
    said = f"error: `{plum}` has no uv.lock\nhint: make it: `uv lock`\n"
    assert capsys.readouterr().err == said
    assert not list(plum.glob("*.run"))


def test_a_dirty_submodule(plum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What travels must be a commit of it."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "lib.py").write_text("x", encoding="utf-8")
    for folder in (library, plum):
        git(folder, "init", "-q")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "all")
    git(plum, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "ext")
    (plum / "ext/more").write_text("x", encoding="utf-8")
    assert run(["bundle", "--no-python", "--no-uv"]) == 1
    assert capsys.readouterr().err == (
        f"error: the submodule `{plum}/ext` was changed since it was committed\n"
        "hint: commit or undo that\n"
    )
    assert not list(plum.glob("*.run"))


def test_a_python_that_cannot_be_unpacked_there(
    plum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """gzip and tar are all that the far side has."""
    archive = company_archive(tmp_path / "python.tar.zst", f"{PYTHON}.9")
    assert run(["bundle", "-q", "--no-uv", "--python-archive", str(archive)]) == 1
    assert capsys.readouterr().err == (
        "error: `python.tar.zst` cannot be unpacked there by gzip and tar\n"
        "hint: a bundle takes a Python as tar.gz or tar\n"
    )
    assert not list(plum.glob("*.run"))


def test_a_stale_lock(plum: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is never locked anew."""
    text = PYPROJECT.format(needs='"nowhere"', more="")
    (plum / "pyproject.toml").write_text(text, encoding="utf-8")
    assert run(["bundle", "--no-python", "--no-uv"]) == 1
    assert "the lock of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("file", "exists and is no project of a bundle"),
        ("folder", "exists and is no project of a bundle"),
        ("another", "holds the project `pear`"),
        ("newer", "was made by another envpack, 9.9: its schema is `envpack.bundle/9`"),
    ],
)
def test_what_is_there(
    bundled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], made: str, said: str
) -> None:
    """It stays as it is."""
    there = tmp_path / "there"
    if made == "file":
        there.write_text("x", encoding="utf-8")
    else:
        (there / OWN).mkdir(parents=True)
        (there / "mine").write_text("x", encoding="utf-8")
    if made in {"another", "newer"}:
        schema = SCHEMA if made == "another" else "envpack.bundle/9"
        told = {"schema": schema, "envpack": "9.9", "project": "pear", "files": {}}
        (there / OWN / MANIFEST).write_text(json.dumps(told), encoding="utf-8")
    before = sorted(there.rglob("*")) if there.is_dir() else []
    assert run(["unbundle", str(bundled), str(there)]) == 1
    assert said in capsys.readouterr().err
    assert (sorted(there.rglob("*")) if there.is_dir() else []) == before


def test_killed_at_any_point(bundled: Path, tmp_path: Path) -> None:
    """DIR is not there, or the next run makes it whole."""
    program = [sys.executable, "-c", "from envpack.cli import main; main()", "unbundle"]
    there = tmp_path / "there"
    chosen = random.Random(4)
    for _ in range(8):
        process = subprocess.Popen(
            [*program, str(bundled), str(there)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chosen.uniform(0.1, 1.2))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if there.exists():
            assert (there / OWN / MANIFEST).is_file()
            assert (there / "main.py").is_file()
    assert run(["unbundle", str(bundled), str(there)]) == 0
    assert uv(there, "run", "--locked", "main.py") == "plum\n"


@pytest.mark.parametrize("left", ["CACHEDIR.TAG", "bin/activate", "pyvenv.cfg"])
def test_half_an_environment_of_a_killed_run(bundled: Path, tmp_path: Path, left: str) -> None:
    """uv writes pyvenv.cfg late, and clears no folder without; here it is made anew."""
    there = tmp_path / "there"
    assert run(["unbundle", str(bundled), str(there)]) == 0
    shutil.rmtree(there / ".venv")
    torn = there / ".venv.part" / left
    torn.parent.mkdir(parents=True)
    torn.write_text("", encoding="utf-8")
    assert run(["unbundle", str(bundled), str(there)]) == 0
    assert not (there / ".venv.part").exists()
    assert uv(there, "run", "--locked", "main.py") == "plum\n"


@pytest.mark.parametrize("suffix", ["run", "tar.zst"])
@pytest.mark.parametrize("data", [b"print('plug')\n", b"print('plum')\n#", b"", None])
def test_sources_that_change_meanwhile(
    plum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, data: bytes | None
) -> None:
    """Refused here and not on the far side: of the same size, longer, empty, gone."""

    def say(_: object, text: str) -> None:
        if text == "Writing the bundle":
            (plum / "main.py").unlink()
            if data is not None:
                (plum / "main.py").write_bytes(data)

    monkeypatch.setattr("envpack.listener.Silent.say", say)
    said = r"^cannot read `.*main\.py`: No such" if data is None else CHANGED
    with pytest.raises(ProjectFault, match=said):
        bundle(str(tmp_path / f"p.{suffix}"), python=False, uv=False)
    assert not list(tmp_path.glob("*p.*"))


CHANGED = r"^`.*main\.py` changed while it was bundled$"


def test_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script or a file that is something else."""
    path = tmp_path / "x.run"
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    assert run(["unbundle", str(path), str(tmp_path / "there")]) == 1
    assert capsys.readouterr().err == f"error: `{path}` is no bundle\n"
    assert run(["unbundle", str(tmp_path / "none"), str(tmp_path / "there")]) == 1
    assert capsys.readouterr().err.startswith(f"error: cannot read `{tmp_path / 'none'}`")


def test_the_script_is_posix(bundled: Path) -> None:
    """dash and busybox read it; it ends before the archive."""
    head, mark, _ = bundled.read_bytes().partition(f"\n{END}\n".encode())
    assert mark
    for shell in (["dash", "-n"], ["busybox", "sh", "-n"], ["bash", "--posix", "-n"]):
        if shutil.which(shell[0]) is None:
            continue
        done = subprocess.run(shell, input=head, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), shell
