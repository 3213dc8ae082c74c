"""The project with every kind of source that uv knows, and the loopback server of two of them.

A workspace whose root is editable (uv_build) with a member (hatchling), a setuptools path
dependency, a git dependency and a URL dependency that the lock names by http, a package that has
nothing but an sdist, compiled ones, one for Windows alone, an extra, a group, and packages that the
lock has in several versions, for several Pythons.
"""

import hashlib
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .tools import call, tool, uv_program

PYTHONS = ">=3.9,<3.14"

ROOT = """\
[project]
name = "orchard"
version = "1.0"
requires-python = "{pythons}"
dependencies = [
    "cider",
    "colorama; sys_platform == 'win32'",
    "crate",
    "docopt==0.6.2",
    "markupsafe",
    "pomace @ {url}/pomace-1.5-py3-none-any.whl",
    "press",
    "rpds-py",
]
optional-dependencies = {{ fancy = ["humanize"] }}
scripts = {{ orchard = "orchard:main" }}

[dependency-groups]
dev = ["pytest"]

[build-system]
requires = ["uv_build>=0.9,<1"]
build-backend = "uv_build"

[tool.uv.workspace]
members = ["packages/*"]

[tool.uv.sources]
cider = {{ git = "{url}/cider.git", tag = "v2" }}
crate = {{ path = "vendor/crate" }}
press = {{ workspace = true }}
"""
MODULE = """\
import cider
import crate
import docopt
import markupsafe._speedups
import pomace
import press
import rpds


def main():
    print(crate.NAME, press.NAME, cider.NAME, pomace.NAME, docopt.__version__)
    print(rpds.HashTrieMap({"apples": 1})["apples"])
"""
SAYS = "crate press cider pomace 0.6.2\n1\n"
TESTS = """\
import orchard


def test_main(capsys):
    orchard.main()
    assert capsys.readouterr().out.startswith("crate press")
"""
MEMBER = """\
[project]
name = "press"
version = "0.4"
requires-python = "{pythons}"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
LOCAL = """\
[project]
name = "{name}"
version = "2.0"

[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[tool.setuptools]
py-modules = ["{name}"]
"""
METADATA = "Metadata-Version: 2.1\nName: pomace\nVersion: 1.5\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: orchard\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


class _Quiet(SimpleHTTPRequestHandler):
    """A server of files that keeps no log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve what the project names by http on the loopback interface; give the URL."""
    _wheel(folder / "pomace-1.5-py3-none-any.whl")
    _repository(folder / "cider.git", folder.parent / "cider")
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def plant(root: Path, url: str, env: Mapping[str, str]) -> Path:
    """Write the project at `root`, lock it with uv, and return `root`."""
    texts = {
        "pyproject.toml": ROOT.format(url=url, pythons=PYTHONS),
        "src/orchard/__init__.py": MODULE,
        "tests/test_orchard.py": TESTS,
        "packages/press/pyproject.toml": MEMBER.format(pythons=PYTHONS),
        "packages/press/src/press/__init__.py": 'NAME = "press"\n',
        "vendor/crate/pyproject.toml": LOCAL.format(name="crate"),
        "vendor/crate/crate.py": 'NAME = "crate"\n',
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    call([uv_program(), "lock"], cwd=root, env=env)
    return root


def sums(root: Path) -> dict[str, str]:
    """Return the sha256 of what nobody may change."""
    names = ("uv.lock", "pyproject.toml")
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}


def _wheel(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pomace.py", 'NAME = "pomace"\n')
        archive.writestr("pomace-1.5.dist-info/METADATA", METADATA)
        archive.writestr("pomace-1.5.dist-info/WHEEL", WHEEL)
        archive.writestr("pomace-1.5.dist-info/RECORD", "")


def _repository(bare: Path, source: Path) -> None:
    """Make a repository with a tag, as a server without git's own protocol has it."""
    source.mkdir()
    (source / "pyproject.toml").write_text(LOCAL.format(name="cider"), encoding="utf-8")
    (source / "cider.py").write_text('NAME = "cider"\n', encoding="utf-8")
    git = [tool("git"), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v2"]):
        call([*git, "-C", source, *words])
    call([*git, "clone", "-q", "--bare", source, bare])
    call([*git, "-C", bare, "update-server-info"])
