"""Archives with another Python than the environment was made on, and with none."""

import json
from pathlib import Path

import pytest

from .lab.session import Lab
from .packs import pack_project, unpack

FOLDER = "/opt/my env"
LINES = """\
import json, sys, site, subprocess, multiprocessing
import numpy, pandas
frame = pandas.DataFrame({"x": numpy.arange(3)})
child = subprocess.run([sys.executable, "-c", "import numpy, sys; print(sys.prefix)"],
                       capture_output=True, text=True)
print(json.dumps([
    sys.prefix, sys.executable, int(frame.x.sum()), child.stdout.strip(), site.ENABLE_USER_SITE,
    [p for p in sys.path if p.endswith("-packages")],
]))
"""


@pytest.fixture(scope="module")
def bare(lab: Lab, work: Path) -> Path:
    """Project b on 3.13 without its Python, unpacked."""
    folder = work / "no-python"
    folder.mkdir()
    report = pack_project(lab.project("b", "3.13"), folder / "env.tar.gz", "--no-python")
    assert report["interpreter"]["packed"] is False
    assert report["libraries"]["missing"] == []
    return unpack(folder / "env.tar.gz", folder / "unpacked")


@pytest.mark.xdist_group("python-3.13")
def test_debians_python_runs_it(lab: Lab, bare: Path) -> None:
    """The machine's own Python takes the packed packages for its only ones, read-only, as a user.

    Debian's looks for packages elsewhere than others do.
    """
    sandbox = lab.sandbox("trixie", "python")
    done = sandbox.run(
        [f"{FOLDER}/bin/python", "-c", LINES], binds={FOLDER: bare}, uid=1000, home="/home/user"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        FOLDER,
        f"{FOLDER}/bin/python",
        3,
        FOLDER,
        False,
        [f"{FOLDER}/lib/python3.13/site-packages"],
    ]
    script = sandbox.run([f"{FOLDER}/bin/black", "--version"], binds={FOLDER: bare})
    assert (script.returncode, script.stdout[:6]) == (0, "black,"), script.stderr


@pytest.mark.xdist_group("python-3.13")
def test_a_named_python_runs_it(lab: Lab, work: Path) -> None:
    """A Python that is not on PATH is found by --target-python, and -I does not lose it."""
    folder = work / "target-python"
    folder.mkdir()
    python = lab.managed("3.13")
    inside = "/opt/company/bin/python3.13"
    pack_project(
        lab.project("b", "3.13"), folder / "env.tar.gz", "--no-python", "--target-python", inside
    )
    bare = unpack(folder / "env.tar.gz", folder / "unpacked")
    binds = {FOLDER: bare, "/opt/company": python.prefix}
    for options in ([], ["-I"]):
        done = lab.sandbox().run([f"{FOLDER}/bin/python", *options, "-c", LINES], binds=binds)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[:4] == [FOLDER, f"{FOLDER}/bin/python", 3, FOLDER]


@pytest.mark.xdist_group("python-3.13")
def test_without_any_it_says_so(lab: Lab, bare: Path) -> None:
    """Where there is no Python one sentence says what is needed, from a script too."""
    for program in ("python", "black"):
        done = lab.sandbox().run([f"{FOLDER}/bin/{program}", "-V"], binds={FOLDER: bare})
        assert (done.returncode, done.stdout) == (127, "")
        assert done.stderr == (
            f"{FOLDER}/bin/python: this environment needs CPython 3.13, which is not on PATH\n"
        )


@pytest.mark.xdist_group("python-3.12")
def test_another_python_goes_in(lab: Lab, work: Path) -> None:
    """An environment that uv made on its own Python runs on the company's, far from both."""
    own = lab.pyenv("3.12")
    folder = work / "other-python"
    folder.mkdir()
    project = lab.project("b", "3.12")
    options = ("--bundle-libs", "all", "--exclude", "*/_tkinter*", "--strict")
    report = pack_project(project, folder / "env.tar.gz", "--python", str(own.prefix), *options)
    assert report["interpreter"]["version"] == own.version
    assert report["interpreter"]["managed"] is False
    other = unpack(folder / "env.tar.gz", folder / "unpacked")
    binds = {FOLDER: other}
    done = lab.sandbox().run([f"{FOLDER}/bin/python", "-c", LINES], binds=binds)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[:4] == [FOLDER, f"{FOLDER}/bin/python", 3, FOLDER]
    loaded = "import ssl, sqlite3, _ctypes; print(ssl.OPENSSL_VERSION)"
    done = lab.sandbox().run([f"{FOLDER}/bin/python", "-c", loaded], binds=binds)
    assert done.returncode == 0, done.stderr
