"""The one place where envpack starts a program."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from envpack.errors import ToolFault

BUILDS = 0o022
"""The umask of programs whose files become members of an archive."""


def finished(
    command: Sequence[str],
    env: Mapping[str, str],
    data: bytes | None = None,
    *,
    hint: str | None = None,
    umask: int = -1,
) -> tuple[int, bytes, bytes]:
    """Run a program to its end and return its exit code, stdout and stderr.

    `umask` is the program's, this process's own with -1; a build that takes modes from its files
    gives the same wheel for everybody with `BUILDS`.
    It gets a session of its own, so that an interrupt ends what it started too. Raises ToolFault,
    with `hint`, if it cannot be started.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
            umask=umask,
        )
    except OSError as error:
        raise ToolFault(f"cannot run `{command[0]}`: {error.strerror}", hint=hint) from error
    with process:
        try:
            out, err = process.communicate(data)
        except BaseException:
            _kill(process)
            raise
    return process.returncode, out, err


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
