"""Projects that real uv syncs from the package index, for each kind of environment.

`a` is made of editable distributions of three build backends, `b` of well-known packages, `c`
has no project, `d` is `c` with links into uv's cache instead of files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .interpreters import Managed, uv_environment
from .shop import write_shop
from .tools import call, uv_program

PLAIN = """\
[project]
name = "science"
version = "1.0"
requires-python = ">=3.9"
dependencies = ["black", "ipykernel", "numpy", "pandas", "requests"]

[tool.uv]
package = false
"""


@dataclass(frozen=True)
class Project:
    """A synced environment: where it is and what it must offer.

    `root` is the project's folder (for `c` and `d` the folder of the environment), `base` the
    folder it was made in, which holds everything of it.
    """

    kind: str
    base: Path
    root: Path
    env: Path
    python: Managed
    scripts: tuple[str, ...]
    gui_scripts: tuple[str, ...]
    imports: tuple[str, ...]

    @property
    def site_packages(self) -> Path:
        """Return the environment's site-packages."""
        return self.env / f"lib/python{self.python.minor}/site-packages"

    @property
    def executable(self) -> Path:
        """Return the environment's interpreter, a link."""
        return self.env / "bin/python"


def _uv(python: Managed, cwd: Path, arguments: Sequence[str]) -> None:
    """Run uv in a folder with the lab's interpreters and cache."""
    call([uv_program(), *arguments], cwd=cwd, env=uv_environment(python.install_dir))


def editable(base: Path, python: Managed) -> Project:
    """Make kind `a`: the workspace of `write_shop`, all of it editable."""
    root = write_shop(base)
    _uv(python, root, ["sync", "--all-packages", "--python", python.minor])
    return Project(
        kind="a",
        base=base,
        root=root,
        env=root / ".venv",
        python=python,
        scripts=("shop",),
        gui_scripts=("shop-gui",),
        imports=("shop", "shop_core", "shop_tools", "shop_util"),
    )


def science(base: Path, python: Managed) -> Project:
    """Make kind `b`: numpy, pandas, requests, ipykernel and black, as this minor gets them."""
    root = base / "science"
    root.mkdir(parents=True)
    (root / "pyproject.toml").write_text(PLAIN, encoding="utf-8")
    _uv(python, root, ["sync", "--python", python.minor])
    return Project(
        kind="b",
        base=base,
        root=root,
        env=root / ".venv",
        python=python,
        scripts=("black", "f2py", "ipython", "jupyter-kernel"),
        gui_scripts=(),
        imports=("black", "ipykernel", "numpy", "pandas", "requests", "zmq"),
    )


def loose(base: Path, python: Managed) -> Project:
    """Make kind `c`: an environment without a project, rich and six installed into it."""
    return _without_project("c", base, python, ())


def symlinked(base: Path, python: Managed) -> Project:
    """Make kind `d`: like `c`, its files being symbolic links into uv's cache."""
    return _without_project("d", base, python, ("--link-mode", "symlink"))


def _without_project(kind: str, base: Path, python: Managed, options: tuple[str, ...]) -> Project:
    """Make an environment by `uv venv` and `uv pip install`."""
    base.mkdir(parents=True, exist_ok=True)
    env = base / "loose env"
    _uv(python, base, ["venv", "--no-project", "--python", python.minor, str(env)])
    install = ["pip", "install", "--python", str(env / "bin/python"), *options, "rich", "six"]
    _uv(python, base, install)
    return Project(
        kind=kind,
        base=base,
        root=env,
        env=env,
        python=python,
        scripts=("markdown-it", "pygmentize"),
        gui_scripts=(),
        imports=("pygments", "rich", "six"),
    )


MAKERS: dict[str, Callable[[Path, Managed], Project]] = {
    "a": editable,
    "b": science,
    "c": loose,
    "d": symlinked,
}


def make(kind: str, base: Path, python: Managed) -> Project:
    """Make a project of a kind inside the folder `base`, which the caller chooses."""
    return MAKERS[kind](base, python)
