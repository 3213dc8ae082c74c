"""Linux on another processor: Debian's arm64 packages, run by qemu, and an arm64 CPython.

binfmt_misc of a user namespace (Linux 6.7) starts qemu for every arm64 program, `#!` and children
of children included; the machine itself stays as it is.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .apt import download, unpack
from .cache import build_once
from .interpreters import archive_tree
from .missing import MissingMachine
from .roots import RECIPE, STD, Root, applets, lay_out
from .sandbox import Sandbox
from .tools import tool

SUITE = "trixie"
MINOR = "3.13"
QEMU = "qemu-aarch64"
LIBRARIES = (
    "libbz2-1.0",
    "libc-bin",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libncursesw6",
    "libreadline8t64",
    "libsqlite3-0",
    "libssl3t64",
    "libtinfo6",
    "libuuid1",
    "libzstd1",
)
"""What Debian's Python links, and python-build-standalone carries."""

PYTHON = ("python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib")
MAGIC = r"\x7fELF\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
MASK = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
REGISTER = """
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
printf %s ":qemu-aarch64:M::$1:$2:$3:PF" > /proc/sys/fs/binfmt_misc/register
shift 3
exec "$@"
"""
"""`F`: qemu is opened now, and need not be in the root. `P`: busybox gets its argv[0]."""


@dataclass(frozen=True)
class Arm64:
    """A machine of another processor."""

    root: Root
    qemu: Path

    def run(
        self,
        argv: Sequence[str],
        *,
        binds: Mapping[str, Path],
        writable: Mapping[str, Path],
        env: Mapping[str, str],
        cwd: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there; the arguments are those of `Sandbox.run`."""
        command = Sandbox(self.root).command(argv, binds=binds, writable=writable, env=env, cwd=cwd)
        words = [tool("unshare"), "--map-root-user", "--mount", "sh", "-euc", REGISTER, "sh"]
        words += [MAGIC, MASK, os.fspath(self.qemu)]
        return subprocess.run(
            [*words, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=600,
            check=False,
        )


def arm64() -> Arm64:
    """Return the machine; raises MissingMachine where the kernel has no binfmt_misc for it."""
    qemu = build_once(f"qemu-{SUITE}-{RECIPE}", _qemu) / "usr/bin" / QEMU
    path = build_once(f"root-{SUITE}-arm64-{RECIPE}", lambda to: _root(to, qemu))
    machine = Arm64(Root(SUITE, "arm64", path), qemu)
    done = machine.run(["uname", "-m"], binds={}, writable={}, env={}, cwd="/")
    if done.stdout != "aarch64\n":
        raise MissingMachine(f"no program of arm64 can be run here: {done.stderr[-400:]}")
    return machine


def _qemu(to: Path) -> None:
    with TemporaryDirectory(dir=to) as folder:
        download(SUITE, ["qemu-user"], Path(folder))  # bookworm's unpacks at a sixth of the speed
        unpack(Path(folder).glob("*.deb"), to)
    for path in (to / "usr/bin").iterdir():
        if path.name != QEMU:
            path.unlink()


def _root(to: Path, qemu: Path) -> None:
    with TemporaryDirectory() as folder:
        download(SUITE, [*STD, *LIBRARIES], Path(folder), arch="arm64")
        lay_out(sorted(Path(folder).glob("*.deb")), to)
    applets(to, emulator=[os.fspath(qemu)])


def arm64_python() -> Path:
    """Return an archive of Debian's arm64 Python in the shape of python-build-standalone's."""
    folder = build_once(f"arm64-python-{MINOR}-{RECIPE}", _python)
    return next(folder.glob("cpython-*.tar.gz"))


def _python(to: Path) -> None:
    with TemporaryDirectory(dir=to) as scratch:
        debs, unpacked, python = (Path(scratch, name) for name in ("debs", "all", "python"))
        debs.mkdir()
        unpacked.mkdir()
        download(SUITE, PYTHON, debs, arch="arm64")
        unpack(debs.glob("*.deb"), unpacked)
        version = next(debs.glob("python3*.deb")).name.split("_")[1].split("-")[0]
        for name in ("bin", "lib", f"include/python{MINOR}"):
            (python / name).mkdir(parents=True)
        (unpacked / f"usr/bin/python{MINOR}").rename(python / f"bin/python{MINOR}")
        for name in ("python", "python3"):
            (python / "bin" / name).symlink_to(f"python{MINOR}")
        library = python / f"lib/python{MINOR}"
        (unpacked / f"usr/lib/python{MINOR}").rename(library)
        for path in library.rglob("*"):
            if path.is_symlink() and not path.exists():  # into /etc
                path.unlink()
        header = python / f"include/python{MINOR}/patchlevel.h"
        header.write_text(f'#define PY_VERSION "{version}"\n', encoding="utf-8")
        name = f"cpython-{version}+20250612-aarch64-unknown-linux-gnu-install_only.tar.gz"
        archive_tree(python, to / name)
