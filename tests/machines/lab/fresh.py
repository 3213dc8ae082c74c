"""A Debian as it comes, with python3 and python3-pip: what a user has who has nothing else.

Two bases. `slim` is what a container image of Debian holds: the essential packages, apt, mount, and
so libstdc++ and zstd's library. `bare` has neither: Python, pip, a shell, coreutils, tar and gzip.
No git, no uv, no compiler, no ensurepip; pip refuses to install into the system (PEP 668).
"""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .apt import download
from .cache import build_once
from .roots import lay_out
from .tools import call, clean_environment, tool

RECIPE = "2"
SUITES = ("bookworm", "trixie", "sid")
PYTHON = ("python3", "python3-pip")
BARE = (*PYTHON, "dash", "coreutils", "tar", "gzip", "libc-bin")
SLIM = (
    *BARE,
    *("apt", "base-files", "base-passwd", "bash", "bsdutils", "debianutils", "diffutils", "dpkg"),
    *("findutils", "grep", "hostname", "login", "mawk", "mount", "ncurses-base", "ncurses-bin"),
    *("passwd", "perl-base", "sed", "util-linux"),
)
BASES = {"bare": BARE, "slim": SLIM, "git": (*SLIM, "git")}
NETWORK = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs")
SMALL = "/small"
WRITABLE = ("home", "opt", "root", "run", "srv", "tmp", "var/tmp")
SHOWN = ("PIP_", "UV_", "SSL_", "HTTP", "NO_PROXY", "http", "no_proxy", "REQUESTS_CA")
# What a container's root has when it is not privileged: no CAP_SYS_ADMIN, so no mount and unshare.
CONTAINER = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
AS_USER = """\
import os, sys
os.setgroups([]), os.setgid(1000), os.setuid(1000)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def fresh_root(suite: str, base: str) -> Path:
    """Return the root of a suite and base; raise `MissingMachine` when it cannot be made here."""

    def build(to: Path) -> None:
        lay_out(sorted(packages(suite, base).glob("*.deb")), to)
        for name in NETWORK[:-1]:
            (to / name).touch()
        for name in ("etc/ssl/certs", "var/tmp", SMALL[1:]):
            (to / name).mkdir(parents=True, exist_ok=True)

    return build_once(f"fresh-{suite}-{base}-{RECIPE}", build)


def packages(suite: str, base: str) -> Path:
    """Return the folder of the `.deb` files, downloaded once."""
    key = f"debs-fresh-{suite}-{base}-1"
    return build_once(key, lambda to: download(suite, BASES[base], to, closure=True))


@dataclass(frozen=True)
class FreshMachine:
    """A fresh root with this machine's network, as a container's root or as an ordinary user.

    `folder` is the home of who works there, and stays between runs; the root itself cannot be
    written to. `binds` maps further paths inside to paths here, for reading; the folders `hidden`
    are empty. `/small` has room for a megabyte.
    """

    root: Path
    folder: Path
    as_root: bool
    binds: Mapping[str, Path] = field(default_factory=dict)
    hidden: Sequence[str] = ()
    network: bool = True

    @property
    def home(self) -> str:
        """The path of `folder` inside."""
        return "/root" if self.as_root else "/home/user"

    def checkout(self, source: Path, *, git: bool) -> str:
        """Put a checkout of `source`'s last commit into the home; return its path inside."""
        to = self.folder / "envpack"
        if git:
            call([tool("git"), "clone", "--quiet", source, to])
        else:
            to.mkdir()
            packed = subprocess.run(
                [tool("git"), "-C", source, "archive", "HEAD"], capture_output=True, check=True
            )
            subprocess.run([tool("tar"), "-x", "-C", to], input=packed.stdout, check=True)
        return f"{self.home}/envpack"

    def command(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> list[str]:
        """Return the bwrap command that runs a program there, in the home."""
        command = [tool("bwrap"), "--die-with-parent", "--unshare-pid", "--unshare-ipc"]
        command += [] if self.network else ["--unshare-net"]
        command += ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev"]
        command += ["--perms", "1777", "--tmpfs", "/dev/shm"]
        for name in WRITABLE:
            command += ["--perms", "1777", "--tmpfs", f"/{name}"]
        command += ["--perms", "1777", "--size", "1000000", "--tmpfs", SMALL]
        for name in self.hidden:
            command += ["--tmpfs", name]
        command += ["--bind", str(self.folder), self.home]
        for name in NETWORK:
            if os.path.exists(f"/{name}"):
                command += ["--ro-bind", f"/{name}", f"/{name}"]
        for inside, outside in self.binds.items():
            command += ["--ro-bind", str(outside), inside]
        command += ["--cap-drop", "ALL", *_added(CONTAINER)]
        command += ["--chdir", self.home, "--clearenv"]
        shown = {k: v for k, v in clean_environment().items() if k.startswith(SHOWN)}
        shown |= {"HOME": self.home, "PATH": "/usr/bin:/bin", **(env or {})}
        for name, value in shown.items():
            command += ["--setenv", name, value]
        return [*command, "--", *([] if self.as_root else ["python3", "-c", AS_USER]), *argv]

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 3600
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end; the exit code and the output are the answer."""
        if os.geteuid() == 0:
            uid = 0 if self.as_root else 1000
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, uid, uid, follow_symlinks=False)
        return subprocess.run(
            self.command(argv, env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )


def _added(capabilities: Iterable[str]) -> list[str]:
    """Return bwrap's flags that give capabilities back."""
    return [word for name in capabilities for word in ("--cap-add", f"CAP_{name}")]
