"""A layout where there is no network, no Python, no uv: every command of uv for projects."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from .lab.interpreters import Standalone, downloads_json, standalone, uv_environment
from .lab.missing import require
from .lab.orchard import sums
from .lab.roots import root
from .lab.sandbox import USER, Sandbox
from .lab.session import Lab
from .lab.tools import call, uv_program
from .packs import envpack

MINORS = ("3.12", "3.13")
SITE = "/srv/the site é"
OLD = "rich==13.7.0\n"
PROJECT = """\
[project]
name = "orchard"
version = "1.0"
requires-python = ">=3.12"
dependencies = ["numpy", "rich", "colorama; sys_platform == 'win32'"]
scripts = { orchard = "orchard:main" }

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
MODULE = """\
import sys

import numpy
import rich


def main():
    print(int(numpy.arange(7).sum()), rich.__name__, "%d.%d" % sys.version_info[:2])
"""
SCRIPT = """\
# /// script
# requires-python = ">=3.12"
# dependencies = ["rich"]
# ///
import sys
from importlib.metadata import version

print("script", version("rich"), "%d.%d" % sys.version_info[:2])
"""


@dataclass(frozen=True)
class Near:
    """This side: a project locked against the public index, layouts of it, uv's variables."""

    folder: Path
    environment: dict[str, str]
    versions: dict[str, str]

    @property
    def project(self) -> Path:
        """The project."""
        return self.folder / "project"

    @property
    def layout(self) -> Path:
        """The layout, a folder."""
        return self.folder / "site"


@pytest.fixture(scope="module")
def pythons() -> list[Standalone]:
    """Give the interpreters that uv can fetch."""
    return [require(standalone, minor) for minor in MINORS]


@pytest.fixture(scope="module")
def near(lab: Lab, pythons: list[Standalone], work: Path) -> Near:
    """Give the project and its layout."""
    folder = work / "layout"
    source = folder / "project/src/orchard"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text(MODULE, encoding="utf-8")
    (folder / "project/pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "old.txt").write_text(OLD, encoding="utf-8")
    (folder / "downloads.json").write_text(downloads_json(pythons), encoding="utf-8")
    env = uv_environment(
        lab.managed(MINORS[0]).install_dir,
        {"UV_PYTHON_DOWNLOADS_JSON_URL": (folder / "downloads.json").as_uri()},
    )
    call([uv_program(), "lock"], cwd=folder / "project", env=env)
    before = sums(folder / "project")
    words: list[str | Path] = ["layout", "--json", "-o", folder / "site", "-r", folder / "old.txt"]
    words += ["--project", folder / "project", "--python", ",".join(MINORS)]
    told = json.loads(envpack(words, env=env, cwd=folder))
    assert told["lacking"] == []
    assert sums(folder / "project") == before
    words = ["layout", "--json", "--project", folder / "project", "--no-seed"]
    for one in pythons:
        words += ["--python", one.minor, "--python-archive", one.archive]
    for name in ("site.tar.gz", "site.zip"):
        envpack([*words, "-o", folder / name], env=env, cwd=folder)
    record = json.loads((folder / "site/envpack.json").read_text("utf-8"))
    versions = {file["name"]: file["version"] for file in record["files"]}
    return Near(folder, env, versions)


class Far:
    """A machine without network, Python and uv, and a home of it that lasts."""

    def __init__(self, suite: str, home: Path, layout: Path, uid: int | None = None) -> None:
        self.sandbox = Sandbox(require(root, suite, "std"))
        self.home = home
        self.layout = layout
        self.uid = uid
        home.mkdir(exist_ok=True)
        home.chmod(0o777)

    def ok(self, script: str, *words: str, at: str = SITE, **binds: Path) -> str:
        """Run a script whose $1 is the layout, at `at`, and which must do; return its stdout."""
        done = self.sandbox.run(
            ["sh", "-euc", script, "sh", at, *words],
            binds={at: self.layout, **{f"/{name}": path for name, path in binds.items()}},
            writable={"/home/user": self.home},
            env={"LANG": "C.UTF-8"},
            home="/home/user",
            uid=self.uid,
            cwd="/home/user",
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


WORKS = """
python=$2 old=$3
ln -sfn "$1" /tmp/link
uv=/tmp/link/bin/uv
"$uv" python list --only-installed | sed 's/ .*//'
"$uv" init -q --python "$python" fruit
cd fruit
"$uv" add -q numpy rich
"$uv" run -q python -c 'import numpy, sys; print(int(numpy.arange(5).sum()), sys.base_prefix)'
"$uv" add -q "rich==$old"
"$uv" run -q python -c 'import importlib.metadata as m; print("older", m.version("rich"))'
"$uv" remove -q rich
"$uv" add -q rich
"$uv" lock -q --upgrade
"$uv" run -q python -c 'import importlib.metadata as m; print("newer", m.version("rich"))'
"$uv" run -q --with hatchling python -c 'import hatchling; print("with")'
"$uv" build -q
ls dist/*.whl
cd ..
"$uv" run -q --python "$python" script.py
"$uv" venv -q --seed --python "$python" v
v/bin/python -m pip --version | cut -d' ' -f1,5-
"$uv" pip install -q --python v "rich==$old"
v/bin/python -c 'import rich; print("pip", rich.__name__)'
"$uv" tool install -q hatchling
.local/bin/hatchling version --help | head -1 | cut -d' ' -f1,2
"$1/bin/uvx" -q --from pygments pygmentize -V | cut -d' ' -f1,2
cp -r /project orchard
cd orchard
"$uv" sync -q --python "$python"
.venv/bin/orchard
"$uv" sync -q --locked --python "$python"
"$uv" build -q --wheel
ls dist
"""


def said(near: Near, python: str, at: str) -> list[str]:
    """Return what all of it prints with one Python."""
    full = {minor: require(standalone, minor).version for minor in MINORS}
    new, key = near.versions, f"cpython-{full[python]}-linux-x86_64-gnu"
    return [
        *(f"cpython-{full[minor]}-linux-x86_64-gnu" for minor in reversed(MINORS)),
        f"10 {at}/python/{key}",
        "older 13.7.0",
        f"newer {new['rich']}",
        "with",
        "dist/fruit-0.1.0-py3-none-any.whl",
        f"script {new['rich']} {python}",
        f"pip (python {python})",
        "pip rich",
        "usage: hatchling",
        f"Pygments version {new['pygments']}".rpartition(" ")[0],
        f"21 rich {python}",
        "orchard-1.0-py3-none-any.whl",
    ]


@pytest.mark.parametrize(
    ("suite", "python", "uid"), [("bookworm", "3.12", USER), ("trixie", "3.13", None)]
)
def test_every_command(
    near: Near, tmp_path: Path, suite: str, python: str, uid: int | None
) -> None:
    """In a path with a blank and an é, read-only, through a link; then under another name."""
    far = Far(suite, tmp_path / "home", near.layout, uid)
    (far.home / "script.py").write_text(SCRIPT, encoding="utf-8")
    out = far.ok(WORKS, python, "13.7.0", project=near.project)
    assert out.splitlines() == said(near, python, "/tmp/link")
    again = """
    cd fruit
    "$1/bin/uv" run -q python -c 'import numpy, rich, sys; print(sys.base_prefix)'
    cd ../orchard
    "$1/bin/uv" run -q orchard
    """
    out = far.ok(again, at="/opt/renamed")
    assert out.splitlines()[0].startswith("/opt/renamed/python/cpython-")
    assert out.splitlines()[1].startswith("21 rich 3.")
