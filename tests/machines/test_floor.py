"""The floor that is told is the floor: above it a pack runs, below it the named file fails."""

import json
import os
from pathlib import Path

import pytest

from .lab.interpreters import uv_environment
from .lab.sandbox import Sandbox
from .lab.session import Lab
from .lab.tools import call, tool, uv_program
from .packs import envpack, unpack

FOLDER = "/opt/my env"
LOAD = """\
import ctypes, os
answer = ctypes.CDLL(os.path.join(os.path.dirname(__file__), "libnewer.so")).answer()
"""
# What came with glibc 2.38 and with GCC 13, called through a shared library of a package.
STRLCPY = """\
#include <stddef.h>
size_t strlcpy(char *to, const char *from, size_t size);
int answer(void) { char to[8]; return (int)strlcpy(to, "answer", sizeof to); }
"""
IOSTREAM = """\
void _ZSt21ios_base_library_initv(void);
int answer(void) { _ZSt21ios_base_library_initv(); return 6; }
"""


def make(lab: Lab, folder: Path, source: str, library: str) -> None:
    """Pack an environment on the real 3.9 with a library that was linked against trixie's."""
    folder.mkdir()
    python = lab.managed("3.9")
    env = uv_environment(python.install_dir)
    venv = folder / ".venv"
    call([uv_program(), "venv", "--no-project", "-q", "--python", "3.9", venv], env=env)
    package = venv / "lib/python3.9/site-packages/newer"
    package.mkdir()
    (package / "__init__.py").write_text(LOAD)
    (folder / "newer.c").write_text(source)
    there = lab.sandbox("trixie").root.path
    linked = next(path for path in there.rglob(library) if path.is_file())
    target = package / "libnewer.so"
    flags: list[str | Path] = ["-shared", "-fPIC", "-fno-builtin", "-o", target, folder / "newer.c"]
    words: list[str | Path] = [tool("gcc"), *flags, linked]
    call(words, env={"PATH": os.environ["PATH"]})
    envpack(["pack", venv, "-o", folder / "env.tar.gz", "--json"], env=env, cwd=folder)
    unpack(folder / "env.tar.gz", folder / "unpacked")


def imported(sandbox: Sandbox, folder: Path) -> tuple[int, str]:
    """Import the package; return the exit code, and the answer or the last line of the error."""
    code = "import newer; print(newer.answer)"
    done = sandbox.run(
        [f"{FOLDER}/bin/python", "-c", code],
        binds={FOLDER: folder / "unpacked"},
    )
    lines = (done.stdout or done.stderr).strip().splitlines()
    return done.returncode, lines[-1]


FILE = "lib/python3.9/site-packages/newer/libnewer.so"


@pytest.mark.xdist_group("python-3.9")
@pytest.mark.parametrize(
    ("source", "library", "kind", "sentence"),
    [
        (STRLCPY, "libc.so.6", ("glibc", "2.38", "GLIBC_2.38"), "glibc 2.38 or newer: Debian 13"),
        (
            IOSTREAM,
            "libstdc++.so.6",
            ("glibcxx", "3.4.32", "GLIBCXX_3.4.32"),
            "libstdc++ of GCC 13.2 or newer (GLIBCXX_3.4.32)",
        ),
    ],
    ids=["glibc", "libstdc++"],
)
def test_a_newer_library(
    lab: Lab, work: Path, source: str, library: str, kind: tuple[str, str, str], sentence: str
) -> None:
    """The report and the manifest name version and file; the loader below it names the same."""
    name, version, symbol = kind
    folder = work / f"floor-{name}"
    make(lab, folder, source, library)
    manifest = json.loads((folder / "unpacked/share/envpack/manifest.json").read_text())
    libraries = manifest["libraries"]
    assert libraries[name] == {"version": version, "file": FILE}
    assert [line for line in libraries["floor"] if line.startswith(sentence)]
    assert imported(lab.sandbox("trixie"), folder) == (0, "6")
    code, error = imported(lab.sandbox("bookworm"), folder)
    assert code == 1
    assert f"version `{symbol}' not found (required by {FOLDER}/{FILE})" in error


@pytest.mark.xdist_group("python-3.12")
def test_an_own_python(lab: Lab, work: Path) -> None:
    """pyenv's Python asks for this machine's glibc, and fails on an older one by that file."""
    folder = work / "floor-own"
    folder.mkdir()
    base = lab.pyenv("3.12")
    env = uv_environment(lab.work / "no-pythons")
    del env["UV_MANAGED_PYTHON"]
    venv = folder / ".venv"
    words: list[str | Path] = [uv_program(), "venv", "--no-project", "-q", "--python"]
    call([*words, base.executable, venv], env=env)
    clean = uv_environment(lab.work / "no-pythons")
    envpack(["pack", venv, "-o", folder / "env.tar.gz", "--json"], env=clean, cwd=folder)
    place = unpack(folder / "env.tar.gz", folder / "unpacked")
    manifest = json.loads((place / "share/envpack/manifest.json").read_text())
    floor = manifest["libraries"]["glibc"]
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print('loaded')"
    run = [f"{FOLDER}/bin/python", "-c", code, f"{FOLDER}/{floor['file']}"]
    above = lab.sandbox("bookworm").run(run, binds={FOLDER: place})
    assert (above.returncode, above.stdout) == (0, "loaded\n"), above.stderr
    # A Python that runs there loads the one file that is named.
    old = lab.managed("3.9")
    binds = {FOLDER: place, "/opt/old": old.prefix}
    run = ["/opt/old/bin/python3.9", "-c", code, f"{FOLDER}/{floor['file']}"]
    below = lab.sandbox("bullseye").run(run, binds=binds)
    assert below.returncode == 1
    assert f"version `GLIBC_{floor['version']}' not found (required by" in below.stderr
    assert floor["file"] in below.stderr
