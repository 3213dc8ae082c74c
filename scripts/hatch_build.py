"""Puts the commit that envpack is built of beside its version: `envpack --version` tells it.

git itself is not needed: what it keeps is read (gitrepository-layout(5)). An sdist carries the file
on, so that a wheel made of it has the same.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "commit.txt"
HASH = re.compile(r"[0-9a-f]{40,64}")


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the file to what is built, and writes nothing into the checkout."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file, if there is a commit to tell of."""
        del version
        commit = commit_of(Path(self.root))
        if commit is None:
            return
        handle, self._path = tempfile.mkstemp(prefix="envpack-commit-")
        with open(handle, "w", encoding="ascii") as file:
            file.write(commit + "\n")
        os.chmod(self._path, 0o644)
        place = f"src/envpack/{FILE}" if self.target_name == "sdist" else f"envpack/{FILE}"
        build_data["force_include"][self._path] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what `initialize` wrote."""
        del version, build_data, artifact_path
        path = getattr(self, "_path", None)
        if path is not None:
            os.unlink(path)


def commit_of(root: Path) -> str | None:
    """Return the commit that is checked out at `root`, None if that is no checkout of git's."""
    git = root / ".git"
    try:
        if git.is_file():  # of a worktree or a submodule: it names the folder
            git = root / git.read_text("utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref:"):
            return head if HASH.fullmatch(head) else None
        name = head.removeprefix("ref:").strip()
        shared = git / "commondir"
        common = git / shared.read_text("utf-8").strip() if shared.is_file() else git
        if (common / name).is_file():
            return (common / name).read_text("utf-8").strip()
        packed = (common / "packed-refs").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
