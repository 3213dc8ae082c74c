"""What a bundle asks of its far side, and how that is found out there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from envpack.bundle_floor import promised
from envpack.bundle_tree import END, stub
from envpack.bundled import fitting
from envpack.bundled.placing import Failed


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("py3-none-any", None),
        ("cp312-cp312-linux_x86_64", None),
        ("cp312-cp312-musllinux_1_2_x86_64", None),
        ("cp312-cp312-manylinux_2_28_x86_64", (2, 28)),
        ("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64", (2, 17)),
        ("cp312-cp312-manylinux_2_28_x86_64.manylinux_2_5_x86_64.manylinux1_x86_64", (2, 5)),
        ("cp312-cp312-manylinux2010_x86_64", (2, 12)),
    ],
)
def test_what_a_tag_promises(tag: str, version: tuple[int, int] | None) -> None:
    """The oldest glibc of all its tags (PEP 600)."""
    assert promised(f"a-1-{tag}.whl") == version


def script(folder: Path, *, glibc: str = "", python: int = 0) -> Path:
    """Write a bundle that holds nothing, and asks for something."""
    machine = os.uname().machine
    target = {
        "platform": "this one",
        "system": "linux",
        "machine": machine,
        "python": "3.12",
        "needs": {"glibc": glibc, "python": python},
    }
    path = folder / "x.run"
    path.write_text(stub("x", "1", [target], 0), encoding="utf-8")
    return path


def ran(path: Path, folder: Path, programs: dict[str, str]) -> tuple[int, str]:
    """Run a bundle where some programs say something of the machine."""
    there = folder / "programs"
    there.mkdir()
    for name, text in programs.items():
        (there / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (there / name).chmod(0o755)
    done = subprocess.run(
        ["sh", str(path), str(folder / "there")],
        env={"PATH": f"{there}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (folder / "there").exists()
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "programs",
    [
        {"getconf": "echo glibc 2.31"},
        {"getconf": "exit 1", "ldd": "echo 'ldd (Debian GLIBC 2.31-13+deb11u11) 2.31'; echo more"},
        {"getconf": "exit 1", "ldd": "echo 'ldd (GNU libc) 2.9'"},
    ],
)
def test_an_older_glibc_is_refused(tmp_path: Path, programs: dict[str, str]) -> None:
    """Before anything is unpacked, in one sentence with both versions."""
    version = " ".join(programs.values()).replace("'", " ").replace(";", " ")
    version = "2.9" if "2.9" in version else "2.31"
    code, said = ran(script(tmp_path, glibc="2.36"), tmp_path, programs)
    assert code == 1
    assert said == (
        f"error: this bundle needs glibc 2.36 or newer, and this machine has {version}\n"
    )


@pytest.mark.parametrize("here", ["2.36", "2.100", "3.1"])
def test_a_newer_glibc_is_not(tmp_path: Path, here: str) -> None:
    """Versions are compared as numbers; then it says that it holds nothing."""
    path = script(tmp_path, glibc="2.36")
    code, said = ran(path, tmp_path, {"getconf": f"echo glibc {here}"})
    assert (code, said) == (1, f"error: `{path}` is damaged, and nothing was installed\n")


def test_another_machine_is_refused(tmp_path: Path) -> None:
    """Before anything else is asked."""
    code, said = ran(script(tmp_path), tmp_path, {"uname": "echo SunOS"})
    assert code == 1
    assert said == "error: this bundle is for this one, and this machine is SunOS SunOS\n"


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    """With what there is and what it takes, if `df` is there to ask."""
    lines = "echo Filesystem; echo /dev/disk 100 50 2048 50% /"
    path = script(tmp_path, python=5 << 20)
    code, said = ran(path, tmp_path, {"df": lines})
    assert code == 1
    assert said == (f"error: the disk of `{tmp_path}` has 2 MiB free, and to unpack takes 5\n")


def test_the_end_is_where_it_is_said(tmp_path: Path) -> None:
    """One line alone is the mark behind which the archive begins."""
    text = script(tmp_path).read_text("utf-8")
    assert text.endswith(f"\n{END}\n")
    assert text.count(f"\n{END}\n") == 1
    assert "@" not in text.replace('"$@"', "")


def test_glibc_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`envpack unbundle` asks Python, and knows nothing of other C libraries."""
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.9"))
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(Failed, match=r"needs glibc 2\.17 or newer, and this machine has 2\.9"):
        fitting.check_glibc("2.17")
    fitting.check_glibc("2.9")
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    fitting.check_glibc("2.17")


class Room(NamedTuple):
    """What `shutil.disk_usage` tells."""

    total: int
    free: int


class Disk(NamedTuple):
    """What statvfs(3) tells."""

    f_flag: int


def test_room_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to one disk counts together; a folder that is not there yet is its parent's."""
    disk = Room(total=100 << 20, free=10 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk)
    here, there = str(tmp_path), str(tmp_path / "not/yet")
    fitting.check_space([(here, 4 << 20), (there, 5 << 20)])
    with pytest.raises(Failed, match="has 10 MiB free, and the project takes 12"):
        fitting.check_space([(here, 6 << 20), (there, 5 << 20)])


def test_noexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which nothing runs is refused."""
    monkeypatch.setattr("os.statvfs", lambda _: Disk(os.ST_NOEXEC))
    with pytest.raises(Failed, match="it is mounted noexec"):
        fitting.check_runs([str(tmp_path / "p")])
