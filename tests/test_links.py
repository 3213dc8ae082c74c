"""Links inside an environment: one library stays one file, and a program keeps its place."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from envpack.links import is_library
from envpack.model import Alias, Disk, Inline
from envpack.packing import pack
from envpack.select import Filter
from tests.test_floor import elf
from tests.test_plan import plan_of
from tests.trees import FakeEnvironment, make_environment, write

SITE = "lib/python3.12/site-packages"
BESIDE = '#!/bin/sh\ncat "$(dirname "$(readlink -f "$0")")/data.txt"\necho "$@"\n'


@pytest.fixture
def fake(tmp_path: Path) -> FakeEnvironment:
    """Give an environment with a library of three names."""
    made = make_environment(tmp_path)
    (made.root / "lib/my").mkdir()
    (made.root / "lib/my/libc.so.1.2").write_bytes(elf(["libc.so.6"]))
    (made.root / "lib/my/libc.so.1").symlink_to("libc.so.1.2")
    (made.root / "lib/my/libc.so").symlink_to("libc.so.1")
    return made


def content(fake: FakeEnvironment, name: str) -> object:
    """Return what an entry of the plan is."""
    return next(entry.content for entry in plan_of(fake).entries if entry.name == name)


def test_a_library_is_one_file_at_any_size(fake: FakeEnvironment, tmp_path: Path) -> None:
    """In a tar and a folder its further names are hard links, and nothing is to be said."""
    report = pack(fake.root, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        links = {member.name: member.linkname for member in archive if member.islnk()}
    real = "lib/my/libc.so.1.2"
    assert {n: t for n, t in links.items() if "my" in n} == {
        "lib/my/libc.so": real,
        "lib/my/libc.so.1": real,
    }
    assert report.warnings == ()
    pack(fake.root, tmp_path / "x", format="dir")
    names = ("libc.so", "libc.so.1", "libc.so.1.2")
    assert len({(tmp_path / "x/lib/my" / name).stat().st_ino for name in names}) == 1


@pytest.mark.parametrize("how", [{"format": "zip"}, {"destination": "ray"}, {"links": "copy"}])
def test_where_it_must_be_copied_that_is_said(
    fake: FakeEnvironment, tmp_path: Path, how: dict[str, str]
) -> None:
    """A zip has no hard links, Ray drops them, and one may ask for copies."""
    report = pack(fake.root, tmp_path / ("x.zip" if "format" in how else "x.tar.gz"), **how)  # type: ignore[arg-type]
    said = [line for line in report.warnings if "one library" in line]
    assert said == [
        "`lib/my/libc.so` and `lib/my/libc.so.1.2` are one library here, and two there: what loads"
        " both has it twice; 1 more names are so"
    ]


def test_a_library_in_two_folders(fake: FakeEnvironment, tmp_path: Path) -> None:
    """It is one file where its bytes fit both places; where they do not it is two, and told."""
    (fake.root / "lib/other").mkdir()
    (fake.root / "lib/other/libc.so.1").symlink_to("../my/libc.so.1.2")
    found = content(fake, "lib/other/libc.so.1")
    assert isinstance(found, Alias)
    assert (found.target, found.symlink) == ("lib/my/libc.so.1.2", "../my/libc.so.1.2")
    assert pack(fake.root, tmp_path / "a.tar").warnings == ()
    own = str(fake.root / "lib/my/deps")
    (fake.root / "lib/my/libc.so.1.2").write_bytes(elf(["libc.so.6"], rpath=own))
    assert isinstance(content(fake, "lib/other/libc.so.1"), Disk)
    (said,) = pack(fake.root, tmp_path / "b.tar").warnings
    assert said.startswith("`lib/other/libc.so.1` and `lib/my/libc.so.1.2` are one library here")


def test_a_target_that_comes_later(fake: FakeEnvironment) -> None:
    """A hard link cannot lead to what is not there yet, so it is a copy; a launcher can."""
    fake.install("alpha", "1.0", {"alpha/a.py": "", "../../alpha/libx.so.1": ""})
    fake.install("beta", "1.0", {"beta/b.py": "", "../../beta/libx.so.1": elf(["libc.so.6"])})
    early = fake.root / "lib/alpha/libx.so.1"
    early.unlink()
    early.symlink_to("../beta/libx.so.1")
    plan = plan_of(fake)
    names = [entry.name for entry in plan.entries]
    assert names.index("lib/alpha/libx.so.1") < names.index("lib/beta/libx.so.1")
    assert isinstance(content(fake, "lib/alpha/libx.so.1"), Disk)
    (said,) = plan.warnings
    assert said.startswith("`lib/alpha/libx.so.1` and `lib/beta/libx.so.1` are one library here")


def test_a_target_beside_it_that_comes_later(fake: FakeEnvironment) -> None:
    """Also in one folder, where two distributions put their files."""
    fake.install("alpha", "1.0", {"libx.so.1": ""})
    fake.install("beta", "1.0", {"libx.so.1.2": elf(["libc.so.6"])})
    early = fake.site / "libx.so.1"
    early.unlink()
    early.symlink_to("libx.so.1.2")
    assert isinstance(content(fake, f"{SITE}/libx.so.1"), Disk)


def test_a_program_keeps_its_place(fake: FakeEnvironment, tmp_path: Path) -> None:
    """A link to a script becomes a launcher: by its path, on PATH, through a link, with a blank."""
    write(fake.root / "share/my tool/run", BESIDE, 0o755)
    write(fake.root / "share/my tool/data.txt", "beside\n")
    (fake.root / "bin/tool").symlink_to("../share/my tool/run")
    assert isinstance(content(fake, "bin/tool"), Inline)
    there = tmp_path / "a b"
    pack(fake.root, there, format="dir")
    (tmp_path / "elsewhere").symlink_to(there / "bin/tool")
    for words in ([there / "bin/tool"], ["tool"], [tmp_path / "elsewhere"]):
        path = os.pathsep.join([str(there / "bin"), os.environ["PATH"]])
        done = subprocess.run(
            [*words, "1  2"], capture_output=True, text=True, check=True, env={"PATH": path}
        )
        assert done.stdout == "beside\n1  2\n"


def test_a_native_program_keeps_its_place(fake: FakeEnvironment, tmp_path: Path) -> None:
    """It finds itself where it is, and with it what lies beside it."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("NOT PROVEN HERE: no gcc")
    (tmp_path / "m.c").write_text(
        "#include <stdio.h>\n#include <unistd.h>\nint main(void) { char p[999] = {0};"
        ' if (readlink("/proc/self/exe", p, 998) < 0) return 1; puts(p); return 0; }\n'
    )
    (fake.root / "libexec").mkdir()
    subprocess.run([gcc, "-o", fake.root / "libexec/m", tmp_path / "m.c"], check=True)
    (fake.root / "bin/m").symlink_to("../libexec/m")
    pack(fake.root, tmp_path / "there", format="dir")
    done = subprocess.run([tmp_path / "there/bin/m"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/there/libexec/m\n"


def test_a_link_is_as_executable_as_its_file(fake: FakeEnvironment) -> None:
    """Whatever folder it is in: the modes of two names of one file are one."""
    write(fake.root / "share/libx.so.1", elf(["libc.so.6"]), 0o644)
    (fake.root / "bin/libx.so.1").symlink_to("../share/libx.so.1")
    entries = {entry.name: entry for entry in plan_of(fake).entries}
    link, real = entries["bin/libx.so.1"], entries["share/libx.so.1"]
    assert isinstance(link.content, Alias)
    assert link.executable == real.executable


def test_a_name_is_a_librarys_by_its_last_part() -> None:
    """A folder may be called so too."""
    assert is_library("a/libx.so.1")
    assert not is_library("a.so.d/tool")


@pytest.mark.parametrize(
    ("name", "target", "text"),
    [
        ("bin/tool.py", "share/tool.py", "#!/usr/bin/env python\n"),
        ("bin/data", "share/data", "text\n"),
        (f"{SITE}/pkg/tool", "share/tool", "#!/bin/sh\n"),
        ("bin/libx.so.1", "share/libx.so.1", "#!/bin/sh\n"),
    ],
)
def test_what_is_no_program(fake: FakeEnvironment, name: str, target: str, text: str) -> None:
    """Modules, data, libraries, and what is not called as a program: none is a launcher."""
    write(fake.root / target, text, 0o755)
    (fake.root / name).parent.mkdir(exist_ok=True)
    (fake.root / name).symlink_to(os.path.relpath(fake.root / target, (fake.root / name).parent))
    assert not isinstance(content(fake, name), Inline)


def test_a_target_that_is_left_out(fake: FakeEnvironment) -> None:
    """A launcher would start nothing, so the file is there under the name that is packed."""
    write(fake.root / "share/tool", "#!/bin/sh\n", 0o755)
    (fake.root / "bin/tool").symlink_to("../share/tool")
    plan = plan_of(fake, filters=[Filter(True, "share/tool")])
    (entry,) = (entry for entry in plan.entries if entry.name == "bin/tool")
    assert isinstance(entry.content, Disk)
