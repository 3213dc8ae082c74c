"""What starts or loads here by a path of this machine runs there too, or is named."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .lab.interpreters import Managed, uv_environment
from .lab.sandbox import USER
from .lab.session import Lab
from .lab.tools import call, tool, uv_program
from .packs import envpack, source_path, unpack

PLACE = "/opt/my env é"
LIBRARY = "int foo(void) { return 42; }\n"
MODULE = """\
#include <Python.h>
int foo(void);
static PyObject *call(PyObject *self, PyObject *none) { return PyLong_FromLong(foo()); }
static PyMethodDef methods[] = {{"foo", call, METH_NOARGS, ""}, {0}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "mfoo", "", -1, methods};
PyMODINIT_FUNC PyInit_mfoo(void) { return PyModule_Create(&def); }
"""


class Here:
    """An environment on the managed 3.9, and a folder of libraries that this machine alone has."""

    def __init__(self, python: Managed, root: Path) -> None:
        self.python = python
        self.root = root
        self.env = root / "E"
        self.site = self.env / "lib/python3.9/site-packages"
        self.variables = uv_environment(python.install_dir)
        call([uv_program(), "venv", "-q", "-p", "3.9", self.env], env=self.variables, cwd=root)

    def gcc(self, *words: str | Path) -> None:
        """Compile."""
        call([tool("gcc"), *words], env=self.variables, cwd=self.root)

    def module(self, *words: str) -> Path:
        """Build the module `mfoo`, with libfoo.so.3 in the folder that is returned."""
        folder = self.root / "apps/foo/lib"
        folder.mkdir(parents=True)
        (self.root / "f.c").write_text(LIBRARY)
        (self.root / "m.c").write_text(MODULE)
        library = folder / "libfoo.so.3"
        self.gcc("-shared", "-fPIC", "-Wl,-soname,libfoo.so.3", "-o", library, "f.c")
        headers = f"-I{self.python.prefix}/include/python3.9"
        searched = [word.format(folder=folder) for word in words]
        target = self.site / "mfoo.so"
        self.gcc("-shared", "-fPIC", headers, "-o", target, "m.c", library, *searched)
        return folder

    def pack(self, *options: str, **variables: str) -> dict[str, Any]:
        """Pack and unpack; return the report."""
        out = self.root / "o.tar.gz"
        words: list[str | Path] = ["pack", self.env, "-o", out, "-f", "--json", *options]
        env = {**self.variables, **variables}
        report: dict[str, Any] = json.loads(envpack(words, env=env, cwd=self.root))
        return report

    def strict(self) -> tuple[int, list[str]]:
        """Pack with --strict; return the exit code and the findings."""
        out = self.root / "strict.tar.gz"
        path = os.pathsep.join([str(Path(uv_program()).parent), self.variables["PATH"]])
        done = subprocess.run(
            [sys.executable, "-m", "envpack", "pack", self.env, "-o", out, "--strict", "--json"],
            env={**self.variables, "PYTHONPATH": source_path(), "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not out.exists()
        return done.returncode, json.loads(done.stdout)["findings"]

    def there(self, lab: Lab, *words: str, **variables: str) -> tuple[int, str, str]:
        """Run a command of the archive on a machine without Python, read-only, as a user."""
        to = self.root / "unpacked"
        if to.exists():
            call([tool("rm"), "-rf", to], env=self.variables, cwd=self.root)
        unpack(self.root / "o.tar.gz", to)
        done = lab.sandbox().run(
            [f"{PLACE}/{words[0]}", *words[1:]],
            binds={PLACE: to},
            env=variables,
            uid=USER,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def here(managed_39: Managed, work: Path, tmp_path: Path) -> Here:
    """Give an empty environment, made for one test."""
    root = work / tmp_path.name
    root.mkdir()
    return Here(managed_39, root)


USE = "import mfoo; print(mfoo.foo())"
SEARCHES: dict[str, tuple[tuple[str, ...], Callable[[Path], dict[str, str]]]] = {
    "runpath": (("-Wl,-rpath,{folder}",), lambda _: {}),
    "rpath": (("-Wl,-rpath,{folder}", "-Wl,--disable-new-dtags"), lambda _: {}),
    "LD_LIBRARY_PATH": ((), lambda folder: {"LD_LIBRARY_PATH": str(folder)}),
}


@pytest.mark.parametrize("how", SEARCHES)
def test_a_library_of_a_site_folder(lab: Lab, here: Here, how: str) -> None:
    """An own extension's library is carried, whatever the interpreter's wants do to the floor."""
    words, variables = SEARCHES[how]
    folder = here.module(*words)
    report = here.pack(**variables(folder))
    assert report["libraries"]["carried"] == ["lib/libfoo.so.3"]
    assert [wish["soname"] for wish in report["libraries"]["lacking"]] == ["libcrypt.so.1"]
    assert report["leaks"] == [leak for leak in report["leaks"] if leak["harmless"]]
    assert here.there(lab, "bin/python", "-c", USE) == (0, "42\n", "")
    assert (
        os.fsencode(folder)
        not in (here.root / "unpacked/lib/python3.9/site-packages" / "mfoo.so").read_bytes()
    )


def test_a_folder_that_stays(here: Here) -> None:
    """It is told, and a finding: it may be anybody's there."""
    here.module("-Wl,-rpath,{folder}:/opt/vendor/lib")
    code, findings = here.strict()
    assert code == 3
    assert "`lib/python3.9/site-packages/mfoo.so` still names `/opt/vendor/lib`" in findings
    assert any("wants `libcrypt.so.1`, which is left" in text for text in findings)


def test_a_program_of_another_loader(lab: Lab, here: Here) -> None:
    """A program linked to the loader of a Nix store starts there by the platform's own."""
    store = here.root / "nix/store/0c7qr2-glibc-2.40/lib"
    store.mkdir(parents=True)
    loader = store / "ld-linux-x86-64.so.2"
    loader.write_bytes(Path("/lib64/ld-linux-x86-64.so.2").read_bytes())
    loader.chmod(0o755)
    (here.root / "t.c").write_text("int main(void) { return 42; }\n")
    here.gcc(f"-Wl,--dynamic-linker={loader}", "-o", here.env / "bin/tool", "t.c")
    report = here.pack()
    assert report["edits"]["ELF interpreter"] == 1
    assert here.there(lab, "bin/tool")[0] == 42


def test_a_loader_that_cannot_be_named(here: Here) -> None:
    """Where there is no room for the platform's, the program is named, and a finding."""
    (here.root / "t.c").write_text("int main(void) { return 42; }\n")
    here.gcc("-Wl,--dynamic-linker=/x/ld.so", "-o", here.env / "bin/tool", "t.c")
    code, findings = here.strict()
    assert code == 3
    assert "`bin/tool` still names `/x/ld.so`" in findings


COUNT = "static int n; int bump(void) { return ++n; }\n"
USER_OF_IT = "int bump(void); int use(void) { return bump(); }\n"
TWICE = """\
import ctypes, sys
lib = sys.prefix + "/lib/my/"
print(ctypes.CDLL(lib + "libuse.so").use(), ctypes.CDLL(lib + "libcount.so.1.2").bump())
"""


def test_a_library_of_two_names(lab: Lab, here: Here) -> None:
    """It is in the process once, as here: through its soname and through its file's own name."""
    folder = here.env / "lib/my"
    folder.mkdir()
    (here.root / "c.c").write_text(COUNT)
    (here.root / "u.c").write_text(USER_OF_IT)
    real = folder / "libcount.so.1.2"
    here.gcc("-shared", "-fPIC", "-Wl,-soname,libcount.so.1", "-o", real, "c.c")
    (folder / "libcount.so.1").symlink_to(real.name)
    (folder / "libcount.so").symlink_to("libcount.so.1")
    user = folder / "libuse.so"
    here.gcc("-shared", "-fPIC", "-o", user, "u.c", f"-L{folder}", "-lcount", "-Wl,-rpath,$ORIGIN")
    here.pack("--for", "spark", "--no-compile")
    assert here.there(lab, "bin/python", "-c", TWICE) == (0, "1 2\n", "")


def test_a_program_that_looks_beside_itself(lab: Lab, here: Here) -> None:
    """A link in bin to a program of another folder starts it there, with what lies beside it."""
    folder = here.env / "share/my tool"
    folder.mkdir(parents=True)
    script = folder / "run"
    script.write_text(
        f"#!{here.env}/bin/python\n"
        "import os; print(open(os.path.dirname(os.path.realpath(__file__)) + '/data').read())\n"
    )
    script.chmod(0o755)
    (folder / "data").write_text("beside")
    (here.env / "bin/tool").symlink_to("../share/my tool/run")
    here.pack()
    assert here.there(lab, "bin/tool") == (0, "beside\n", "")


ZONES = """\
import os, time, zoneinfo
from datetime import datetime
print(datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset())
print(time.strftime("%Z", time.localtime(1782864000)), os.path.exists("/usr/share/zoneinfo"))
"""


def test_time_zones_where_there_are_none(lab: Lab, here: Here) -> None:
    """With --bundle-libs all zoneinfo and the C library have those of this machine."""
    report = here.pack("--bundle-libs", "all")
    assert report["libraries"]["time_zones"]["count"] > 300
    code = ("bin/python", "-c", ZONES)
    zone = {"TZ": "America/New_York"}
    assert here.there(lab, *code, **zone) == (0, "2:00:00\nEDT False\n", "")
    here.pack()
    done = here.there(lab, *code, **zone)
    assert "No time zone found with key Europe/Berlin" in done[2]


def test_code_of_a_pth(lab: Lab, here: Here) -> None:
    """A folder that only code puts on sys.path is there, before site-packages as it was."""
    folder = here.root / "my code"
    folder.mkdir()
    (folder / "only.py").write_text("V = 'here'\n")
    (folder / "twin.py").write_text("V = 'first'\n")
    (here.site / "twin.py").write_text("V = 'site'\n")
    line = f"import sys; sys.path.insert(0, '{folder}')\n"
    (here.site / "code.pth").write_text(line)
    here.pack()
    words = "import only, twin; print(only.V, twin.V)"
    assert here.there(lab, "bin/python", "-c", words) == (0, "here first\n", "")


def test_packages_of_the_user_site(lab: Lab, here: Here, tmp_path: Path) -> None:
    """What an environment with system site-packages sees of its user goes along."""
    here.env.joinpath("pyvenv.cfg").write_text(
        here.env.joinpath("pyvenv.cfg")
        .read_text()
        .replace("site-packages = false", "site-packages = true")
    )
    site = tmp_path / "lib/python3.9/site-packages"
    uv = [uv_program(), "pip", "install", "-q"]
    call([*uv, "--python", here.env, "--target", site, "six"], env=here.variables, cwd=here.root)
    report = here.pack(PYTHONUSERBASE=str(tmp_path))
    assert any("user site" in line for line in report["warnings"])
    code = "import six; print(six.moves.range(1))"
    assert here.there(lab, "bin/python", "-c", code) == (0, "range(0, 1)\n", "")
