"""A bundle installs itself where there is no network, no Python, no uv, and goes on by plain uv."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .bundles import INSIDE, Far, Near, digest
from .lab.interpreters import Standalone, standalone, uv_environment
from .lab.missing import require
from .lab.orchard import SAYS, plant, served, sums
from .lab.sandbox import USER
from .lab.session import Lab
from .lab.tools import call, uv_program
from .packs import envpack

pytestmark = pytest.mark.xdist_group("bundle")

NAME = "orchard-1.0.run"
SAID = """\
Installed orchard in {there}
  cd {there!r}
  {uv!r} run …
  sh .envpack/restore   # makes .venv again
"""

CELLAR = """\
[project]
name = "cellar"
version = "2.0"
requires-python = ">=3.12"
dependencies = ["humanize==4.9.0", "docopt==0.6.2"]
"""


@pytest.fixture(scope="module")
def nears(lab: Lab, work: Path) -> Callable[[str], Near]:
    """Give the project with every kind of source, and its bundle, for a version of Python."""
    made: dict[str, Near] = {}

    def near(minor: str) -> Near:
        if minor not in made:
            made[minor] = bundled(lab, work / f"bundle-{minor}", minor)
        return made[minor]

    return near


def bundled(lab: Lab, folder: Path, minor: str) -> Near:
    """Plant the project, and bundle it."""
    python: Standalone = require(standalone, minor)
    with served(folder / "served") as url:
        env = uv_environment(lab.managed(minor).install_dir, {})
        project = plant(folder / "project", url, env)
        (project / ".env").write_text("TOKEN=secret\n", encoding="utf-8")
        before = sums(project)
        words = ["bundle", "--python", minor, "--python-archive", str(python.archive), "--json"]
        media = folder / "media"
        media.mkdir()
        told = json.loads(envpack([*words, "-o", str(media / NAME)], env=env, cwd=project))
        assert told["left_out"] == [{"path": ".env", "why": "it may hold secrets"}]
        assert re.fullmatch(r"2\.\d+", told["glibc"])
        assert sums(project) == before
        if minor == "3.12":
            again = folder / "again.run"
            envpack([*words, "-o", str(again)], env=env, cwd=project)
            assert digest(again) == digest(media / NAME), "not the same bytes"
            again.unlink()
    return Near(project, media / NAME, env)


@pytest.fixture(scope="module")
def near(nears: Callable[[str], Near]) -> Near:
    """Give the bundle with Python 3.12."""
    return nears("3.12")


WORKS = """
cd "$2"
uv=$PWD/.envpack/bin/uv
"$uv" run orchard
cd src/orchard
"$uv" run --with humanize python -c 'import humanize'
"$uv" run --all-extras pytest -q -p no:cacheprovider ../..
cd ../../packages
"$uv" sync -q --locked --all-extras
"$uv" tree -q --frozen > /dev/null
"$uv" lock -q --check
"$uv" build -q --all-packages --out-dir /tmp/out
"""


@pytest.mark.parametrize(
    ("minor", "suite", "uid"),
    [("3.9", "trixie", USER), ("3.12", "bookworm", USER), ("3.13", "trixie", None)],
)
def test_one_command_and_plain_uv(
    nears: Callable[[str], Near], tmp_path: Path, minor: str, suite: str, uid: int | None
) -> None:
    """What the lock names works there; the lock is as it was; after a move, all of it again."""
    near = nears(minor)
    far = Far(suite, "std", tmp_path, near.bundle, uid)
    said = far.ok('sh "$1" "p é"')
    there = f"{INSIDE}/p é"
    assert said == SAID.format(there=there, uv=f"{there}/.envpack/bin/uv")
    worked = far.ok(WORKS, "p é")
    assert worked.startswith(SAYS)
    assert "1 passed" in worked
    for name in ("pyproject.toml", "uv.lock"):
        assert digest(tmp_path / "p é" / name) == digest(near.project / name)
    assert not (tmp_path / "p é/.env").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "p é"]
    far.ok('mv "p é" moved')
    assert far.ok(WORKS, "moved").startswith(SAYS)
    far.ok("rm -rf moved/.venv && sh moved/.envpack/restore")
    assert far.ok("cd moved/src && ../.envpack/bin/uv run --locked orchard") == SAYS


def test_an_interpreter_that_does_not_start(nears: Callable[[str], Near], tmp_path: Path) -> None:
    """The loader's own words say which library is missing, and nothing is left."""
    far = Far("trixie", "min", tmp_path, nears("3.9").bundle, None)
    done = far.sh('sh "$1" p')
    assert done.returncode == 1
    assert done.stderr.startswith("error: Python 3.9 does not start here: ")
    assert "libcrypt.so.1: cannot open shared object file" in done.stderr
    assert far.there() == []


def test_an_older_glibc(near: Near, tmp_path: Path) -> None:
    """Both versions are told, before anything is unpacked."""
    far = Far("bullseye", "min", tmp_path, near.bundle, None)
    done = far.sh('sh "$1" p')
    assert done.returncode == 1
    assert done.stderr == (
        "error: this bundle needs glibc 2.36 or newer, and this machine has 2.31\n"
    )
    musl = Far("bookworm", "musl", tmp_path, near.bundle, None).sh('sh "$1" p')
    assert musl.returncode == 1
    assert musl.stderr == (
        "error: this bundle needs glibc 2.36 or newer, and this machine has musl\n"
    )
    assert far.there() == []


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_machine_with_a_c_library_alone(near: Near, tmp_path: Path, suite: str) -> None:
    """What needs no more than that runs: Python, uv, pure packages and members."""
    far = Far(suite, "min", tmp_path, near.bundle, None)
    far.ok('sh "$1" p')
    code = "import cider, crate, docopt, pomace, press; print(press.NAME)"
    script = f"cd p && .envpack/bin/uv run --locked python -W ignore -c '{code}'"
    assert far.ok(script).endswith("press\n")


def test_no_locale_for_the_path(near: Near, tmp_path: Path) -> None:
    """Python 3.12 reads .pth files as the locale says: what to do is said at once."""
    far = Far("bookworm", "std", tmp_path, near.bundle, None)
    done = far.sh('sh "$1" p', locales="/none")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        f"error: the path `{INSIDE}/p` is not ASCII, and this locale is not UTF-8: Python 3.12"
        f" cannot start there; what is in `{INSIDE}/p` stays",
        "hint: set LC_ALL=C.UTF-8, or choose another folder",
    ]


def test_two_beside_each_other(near: Near, tmp_path: Path) -> None:
    """One Python serves both, and goes with the last; --check installs nothing."""
    far = Far("bookworm", "std", tmp_path, near.bundle, USER)
    assert "are what was bundled" in far.ok('sh "$1" --check one')
    assert far.there() == []
    said = far.ok('sh "$1" one > /dev/null && sh "$1" two --install-uv')
    assert said.splitlines()[0] == f"uv is {INSIDE}/home/.local/bin/uv"
    assert far.ok('cd two && "$HOME/.local/bin/uv" run orchard') == SAYS
    assert far.ok("cd one && .envpack/bin/uv run orchard") == SAYS
    (tmp_path / "one/src/orchard/__init__.py").write_text("EDITED = 1\n", encoding="utf-8")
    assert far.ok('sh "$1" one --uninstall').splitlines() == [
        f"Python stays, as `{INSIDE}/two` uses it",
        f"Uninstalled orchard from {INSIDE}/one",
        "These were edited, and stay: `src/orchard/__init__.py`",
    ]
    assert far.ok('cd two && "$HOME/.local/bin/uv" run orchard') == SAYS
    python = f"{INSIDE}/home/.local/share/uv/python/cpython-3.12.1-linux-x86_64-gnu"
    assert far.ok('sh "$1" two --uninstall').splitlines() == [
        f"Removed Python: {python}",
        f"Removed {INSIDE}/home/.local/bin/uv",
        f"Uninstalled orchard from {INSIDE}/two",
    ]
    left = [name for name in far.there() if not name.startswith("home/.local/share/uv/python/.")]
    assert left == ["one"]


def test_different_bundles(nears: Callable[[str], Near], lab: Lab, tmp_path: Path) -> None:
    """Projects that want other versions and other Pythons do not meet, whichever goes first."""
    media, cellar = tmp_path / "media", tmp_path / "cellar"
    for folder in (media, cellar):
        folder.mkdir()
    (cellar / "pyproject.toml").write_text(CELLAR, encoding="utf-8")
    env = uv_environment(lab.managed("3.12").install_dir, {})
    call([uv_program(), "lock"], cwd=cellar, env=env)
    archive = require(standalone, "3.12").archive
    words: list[str | Path] = ["bundle", "-q", "--python", "3.12", "--python-archive", archive]
    envpack([*words, "-o", media / "cellar.run"], env=env, cwd=cellar)
    for minor in ("3.12", "3.13"):
        os.link(nears(minor).bundle, media / f"orchard-{minor}.run")
    far = Far("trixie", "std", tmp_path / "far", media / "cellar.run", USER)
    far.ok('sh /media/orchard-3.12.run one && sh "$1" two && sh /media/orchard-3.13.run three')
    code = 'import humanize, sys; print(humanize.__version__, "%d.%d" % sys.version_info[:2])'
    uses = f"cd $2 && .envpack/bin/uv run --locked $3 python -c '{code}'"
    assert far.ok(uses, "two", "-q") == "4.9.0 3.12\n"
    (newer,) = {far.ok(uses, place, "--extra=fancy").split()[0] for place in ("one", "three")}
    assert newer != "4.9.0"
    said = far.ok("cd three && .envpack/bin/uv run python -V").split()
    assert said[1].startswith("3.13")
    said = far.ok('sh "$1" two --uninstall').splitlines()
    assert said == [
        f"Python stays, as `{INSIDE}/one` uses it",
        f"Uninstalled cellar from {INSIDE}/two",
    ]
    assert far.ok("sh /media/orchard-3.12.run one --uninstall").startswith("Removed Python: ")
    assert far.ok("cd three && .envpack/bin/uv run --locked orchard") == SAYS


def test_edited_sources_stay(near: Near, tmp_path: Path) -> None:
    """A bundle does not overwrite them; what was removed comes back with the next run."""
    far = Far("bookworm", "std", tmp_path, near.bundle, None)
    far.ok('sh "$1" p')
    module = tmp_path / "p/src/orchard/__init__.py"
    module.write_text(module.read_text("utf-8") + "EDITED = 1\n", encoding="utf-8")
    done = far.sh('sh "$1" p')
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == f"error: in `{INSIDE}/p` these were edited: `src/orchard/__init__.py`"
    assert hint == "hint: --sources-to DIR2 puts the bundle's sources there, and leaves these"
    far.ok('sh "$1" p --sources-to fresh')
    assert "EDITED" in module.read_text("utf-8")
    assert "EDITED" not in (tmp_path / "fresh/src/orchard/__init__.py").read_text("utf-8")
