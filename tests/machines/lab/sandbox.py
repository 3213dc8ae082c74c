"""A program run on another machine: its own root, no network, nothing of this one."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .roots import Root
from .tools import tool

USER = 1000
SYSTEM = frozenset({"etc", "usr"})
SPECIAL = frozenset({"dev", "proc", "root", "tmp"})
ISOLATED = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
DEVICES = ("--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm")
TEMP = ("--perms", "1777", "--tmpfs", "/tmp")
HOMES = ("--tmpfs", "/root", "--perms", "0777", "--tmpfs", "/home/user")
AS_USER = ("/usr/bin/busybox", "su", "-p", "-s", "/bin/sh", "-c", 'exec "$@"', "--", "user", "sh")


@dataclass(frozen=True)
class Sandbox:
    """A root file system entered with bwrap: no network, own processes, nothing inherited.

    `/usr` and `/etc` of the root are bound read-only, so the cached root never changes; all
    other folders are empty and new in each run. `/tmp`, `/root` and `/home/user` can be
    written to, all else only with `readonly_root=False` or through `writable`.
    """

    root: Root

    def command(
        self,
        argv: Sequence[str],
        *,
        binds: Mapping[str, Path] | None = None,
        writable: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        uid: int | None = None,
        cwd: str = "/",
        home: str | None = None,
        path: str = "/usr/bin:/bin",
        readonly_root: bool = True,
        dev: bool = True,
    ) -> list[str]:
        """Return the bwrap command of a run; the arguments are those of `run`."""
        if uid not in {None, 0, USER}:
            raise ValueError(f"the roots know the uids 0 and {USER}, not {uid}")
        command = [tool("bwrap"), "--die-with-parent", "--new-session", *self._identity(uid)]
        command += self._tree()
        command += ["--proc", "/proc", *(DEVICES if dev else ())]
        for inside, outside in (binds or {}).items():
            command += ["--ro-bind", os.fspath(outside), inside]
        for inside, outside in (writable or {}).items():
            command += ["--bind", os.fspath(outside), inside]
        if readonly_root:
            command += ["--remount-ro", "/"]
        command += ["--chdir", cwd, "--clearenv", "--setenv", "PATH", path]
        if home is not None:
            command += ["--setenv", "HOME", home]
        for name, value in (env or {}).items():
            command += ["--setenv", name, value]
        return [*command, "--", *(AS_USER if self._switches(uid) else ()), *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        binds: Mapping[str, Path] | None = None,
        writable: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        uid: int | None = None,
        cwd: str = "/",
        home: str | None = None,
        path: str = "/usr/bin:/bin",
        readonly_root: bool = True,
        dev: bool = True,
        stdin: str = "",
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside; its exit code and output are the answer, never an error.

        `binds` and `writable` map a path inside to a file or folder outside, for reading or
        for writing; their mount points are made, except under `/usr` and `/etc`. `uid` 1000 is
        the user `user`: when the tests run as root, files of root stay root's inside; otherwise
        the one user that runs the tests is shown as 1000 and owns its files. `home` None leaves
        HOME unset. Raises `MissingMachine` without bwrap, `subprocess.TimeoutExpired` after
        `timeout` seconds.
        """
        command = self.command(
            argv,
            binds=binds,
            writable=writable,
            env=env,
            uid=uid,
            cwd=cwd,
            home=home,
            path=path,
            readonly_root=readonly_root,
            dev=dev,
        )
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def _switches(self, uid: int | None) -> bool:
        """Tell whether the run starts as real root and becomes `user` by `su`."""
        return uid == USER and os.geteuid() == 0

    def _identity(self, uid: int | None) -> list[str]:
        """Return the flags of the namespaces: a user namespace unless root switches the uid."""
        if self._switches(uid):
            return [
                *ISOLATED,
                "--unshare-cgroup-try",
                *("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
            ]
        if uid is None:
            return ["--unshare-all"]
        return ["--unshare-all", "--unshare-user", "--uid", str(uid), "--gid", str(uid)]

    def _tree(self) -> list[str]:
        """Return the flags that lay out `/`: links, system folders, empty folders."""
        flags: list[str] = []
        for entry in sorted(os.scandir(self.root.path), key=lambda found: found.name):
            inside = f"/{entry.name}"
            if entry.is_symlink():
                flags += ["--symlink", os.readlink(entry.path), inside]
            elif entry.name in SYSTEM:
                flags += ["--ro-bind", entry.path, inside]
            elif entry.name not in SPECIAL:
                flags += ["--dir", inside]
        return [*flags, *HOMES, *TEMP, "--hostname", "elsewhere"]
