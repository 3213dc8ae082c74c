"""Own builds of Python with `--bundle-libs all`: where there is the C library alone, all runs."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .lab.apt import SUITES
from .lab.interpreters import uv_environment
from .lab.sandbox import USER
from .lab.session import Lab
from .lab.tools import call, uv_program
from .packs import envpack, unpack

FOLDER = "/opt/my env"
PACKAGES = ("numpy", "pandas", "requests", "black")
WANT_X = frozenset({"_tkinter"})

USE = """\
import json, sys, warnings
warnings.simplefilter("ignore")
import importlib
wrong = {}
for name in sys.argv[1].split(","):
    try:
        importlib.import_module(name)
    except BaseException as error:
        wrong[name] = repr(error)
import numpy, pandas, requests, black
print(json.dumps({
    "wrong": wrong,
    "solved": [round(float(x), 6) for x in numpy.linalg.solve([[3, 1], [1, 2]], [9, 8])],
    "sum": int(pandas.DataFrame({"x": [1, 2, 3]}).groupby("x").x.sum().sum()),
    "url": requests.Request("GET", "https://example.org", params={"a": "b c"}).prepare().url,
    "black": black.format_str("x = {  'a':1 }", mode=black.Mode()),
    "maps": open("/proc/self/maps").read(),
}))
"""


@dataclass(frozen=True)
class Own:
    """An environment on pyenv's Python, packed and unpacked, and what its base can import."""

    minor: str
    report: dict[str, Any]
    unpacked: Path
    modules: tuple[str, ...]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(minor, marks=pytest.mark.xdist_group(f"python-{minor}"))
        for minor in ("3.12", "3.13")
    ],
)
def own(request: pytest.FixtureRequest, lab: Lab, work: Path) -> Own:
    """Pack numpy, pandas, requests and black on an own build with all of its libraries."""
    minor = str(request.param)
    base = lab.pyenv(minor)
    folder = work / f"own-{minor}"
    folder.mkdir()
    env = uv_environment(lab.work / "no-pythons")
    del env["UV_MANAGED_PYTHON"]
    venv = folder / ".venv"
    words: list[str | Path] = [uv_program(), "venv", "--no-project", "-q", "--python"]
    call([*words, base.executable, venv], env=env)
    words = [uv_program(), "pip", "install", "-q", "--python", venv / "bin/python"]
    call([*words, *PACKAGES], env=env)
    archive = folder / "env.tar.gz"
    words = ["pack", venv, "-o", archive, "--json", "--bundle-libs", "all"]
    clean = uv_environment(lab.work / "no-pythons")
    report = json.loads(envpack(words, env=clean, cwd=folder))
    modules = _importable(base.prefix, minor, base.executable)
    return Own(minor, report, unpack(archive, folder / "unpacked"), modules)


def _importable(prefix: Path, minor: str, executable: Path) -> tuple[str, ...]:
    """Return the extension modules of the base's standard library that the base can import."""
    dynload = prefix / f"lib/python{minor}/lib-dynload"
    names = sorted({path.name.split(".")[0] for path in dynload.glob("*.so")})
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1].split(','):\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError: continue\n"
        "    print(name)\n"
    )
    clean = {"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath}
    told = call([executable, "-I", "-W", "ignore", "-c", code, ",".join(names)], env=clean)
    return tuple(told.split())


@pytest.mark.parametrize("suite", [suite for suite in SUITES if suite != "bullseye"])
def test_the_c_library_is_enough(lab: Lab, own: Own, suite: str) -> None:
    """Every extension module that wants no X, and all four packages, in a root with libc alone."""
    assert own.report["libraries"]["missing"] == []
    modules = [name for name in own.modules if name not in WANT_X]
    assert {"_ssl", "_sqlite3", "_ctypes", "_lzma", "_bz2", "readline", "_curses"} <= set(modules)
    done = lab.sandbox(suite, "min").run(
        [f"{FOLDER}/bin/python", "-c", USE, ",".join(modules)],
        binds={FOLDER: own.unpacked},
        env={"LD_LIBRARY_PATH": "/nowhere"},
        uid=USER,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == {}
    assert found["solved"] == [2.0, 3.0]
    assert found["sum"] == 6
    assert found["url"] == "https://example.org/?a=b+c"
    assert found["black"] == 'x = {"a": 1}\n'
    script = lab.sandbox(suite, "min").run(
        [f"{FOLDER}/bin/black", "-q", "-"], binds={FOLDER: own.unpacked}, stdin="x  =  1\n"
    )
    assert (script.returncode, script.stdout) == (0, "x = 1\n"), script.stderr


def test_nothing_carried_is_the_hosts(lab: Lab, own: Own) -> None:
    """Where the machine has libgcc_s, libstdc++, libz and libcrypt too, the pack's are loaded."""
    modules = [name for name in own.modules if name not in WANT_X]
    done = lab.sandbox("bookworm", "std").run(
        [f"{FOLDER}/bin/python", "-c", USE, ",".join(modules)], binds={FOLDER: own.unpacked}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == {}
    lines = [line.split(maxsplit=5) for line in found["maps"].splitlines()]
    paths = {line[5] for line in lines if len(line) == 6 and line[5].startswith("/")}
    libraries = {path for path in paths if ".so" in path}
    inside = {path for path in libraries if path.startswith(f"{FOLDER}/")}
    assert {f"{FOLDER}/lib/libstdc++.so.6", f"{FOLDER}/lib/libz.so.1"} <= inside
    of_the_c_library = {
        "libc",
        "libm",
        "libdl",
        "libpthread",
        "librt",
        "libutil",
        "ld-linux-x86-64",
    }
    of_the_c_library |= {"libresolv", "libnss_files", "libnss_dns", "libnsl"}
    foreign = {Path(path).name.split(".so")[0].split("-2")[0] for path in libraries - inside}
    assert foreign <= of_the_c_library


def test_tkinter_where_x_is(lab: Lab, own: Own) -> None:
    """_tkinter wants X, which stays with the machine; its Tcl scripts came along."""
    assert "_tkinter" in own.modules
    code = "import tkinter; print(tkinter.Tcl().eval('info library'))"
    done = lab.sandbox("bookworm", "x11").run(
        [f"{FOLDER}/bin/python", "-c", code], binds={FOLDER: own.unpacked}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{FOLDER}/")
    bare = lab.sandbox("bookworm", "min").run(
        [f"{FOLDER}/bin/python", "-c", "import _tkinter"], binds={FOLDER: own.unpacked}
    )
    assert "libXft.so.2: cannot open shared object file" in bare.stderr
