"""Programs and libraries of others that tests are made or judged by; without one a test skips."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import lief
else:

    class _Lief:
        """LIEF, imported where it is asked: its wheels want libstdc++, which a machine may lack."""

        def __getattr__(self, name: str) -> Any:
            reason = "no LIEF on this machine (it wants libstdc++.so.6), which judges ELF files"
            return getattr(pytest.importorskip("lief", reason=reason, exc_type=ImportError), name)

    lief = _Lief()

__all__ = ["git", "lief", "needed"]


def needed(program: str, what: str) -> str:
    """Return the path of a program; skip, saying what is not checked without it."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no `{program}` on this machine, so not checked: {what}")
    return found


def git(folder: Path, *words: str) -> str:
    """Run git in a folder as somebody, and return what it says."""
    settings = ("user.name=a", "user.email=a@example.org", "protocol.file.allow=always")
    options = [word for setting in settings for word in ("-c", setting)]
    command = [needed("git", "checkouts"), *options, *words]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
