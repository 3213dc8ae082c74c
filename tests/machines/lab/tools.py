"""Programs of this machine, and how they are started."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .missing import MissingMachine

KEPT_UV = ("INDEX", "TLS", "CERT", "HTTP", "KEYRING", "INSECURE", "FIND_LINKS", "CONFIG_FILE")
DROPPED = ("UV_", "PYTHON", "PYENV", "CONDA", "VIRTUAL_ENV", "LD_", "PIP_FIND_LINKS")


class CommandFailed(Exception):
    """A program of this machine failed; the text holds its command and last output."""


def tool(name: str) -> str:
    """Return the path of a program; raise `MissingMachine` when it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise MissingMachine(f"`{name}` is not installed")
    return found


def linux_x86_64() -> None:
    """Raise `MissingMachine` unless this is Linux on x86-64."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MissingMachine(
            f"these machines need Linux on x86-64, this is {sys.platform} {platform.machine()}"
        )


def uv_program() -> str:
    """Return the path of uv: from PATH, else from the `uv` package beside this Python."""
    found = shutil.which("uv")
    if found is not None:
        return found
    try:
        from uv import find_uv_bin
    except ImportError:
        raise MissingMachine("`uv` is not installed") from None
    try:
        return str(find_uv_bin())
    except FileNotFoundError as gone:
        raise MissingMachine(f"the `uv` package has no program: {gone}") from gone


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what steers uv and Python, plus `extra`.

    Registry settings of the machine (indexes, certificates, proxies) stay; pyenv's shims
    leave PATH, for uv asks each of them for a version.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(DROPPED)
        or (name.startswith("UV_") and any(part in name for part in KEPT_UV))
    }
    entries = kept.get("PATH", os.defpath).split(os.pathsep)
    kept["PATH"] = os.pathsep.join(e for e in entries if e and "shims" not in Path(e).parts)
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    kept.update(extra or {})
    return kept


def call(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 900,
) -> str:
    """Run a program of this machine and return its stdout; raise `CommandFailed`."""
    command = [os.fspath(part) for part in argv]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=clean_environment() if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(f"`{' '.join(command)}` took over {timeout} s") from late
    if done.returncode != 0:
        tail = (done.stdout + done.stderr)[-2000:]
        raise CommandFailed(f"`{' '.join(command)}` answered {done.returncode}:\n{tail}")
    return done.stdout


@contextmanager
def downloading(what: str) -> Iterator[None]:
    """Turn a failed download into `MissingMachine`, naming what could not be had."""
    try:
        yield
    except CommandFailed as failed:
        raise MissingMachine(f"{what} cannot be downloaded here: {failed}") from failed
