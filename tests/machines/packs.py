"""Packs of the lab's projects: made once a session by the command line, unpacked once."""

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .lab.interpreters import uv_environment
from .lab.projects import Project
from .lab.session import Lab
from .lab.tools import call, tool, uv_program


@dataclass(frozen=True)
class Pack:
    """One pack: the report, the archive, and the folder it was unpacked to by tar."""

    project: Project
    report: dict[str, Any]
    archive: Path
    unpacked: Path


def source_path() -> str:
    """Return the PYTHONPATH with which another process has this envpack and what it needs."""
    spec = importlib.util.find_spec("envpack")
    assert spec is not None
    assert spec.origin is not None
    source = str(Path(spec.origin).parents[1])
    return os.pathsep.join([source, *(path for path in sys.path if path)])


def envpack(
    arguments: Sequence[str | Path],
    *,
    env: dict[str, str],
    cwd: Path,
    before: Sequence[str | Path] = (),
) -> str:
    """Run the command line, behind the words `before`, in a process and return its stdout."""
    path = os.pathsep.join([str(Path(uv_program()).parent), env["PATH"]])
    program = [sys.executable, "-c", "from envpack.cli import main; main()"]
    return call(
        [*before, *program, *arguments],
        env={**env, "PYTHONPATH": source_path(), "PATH": path},
        cwd=cwd,
    )


def pack_project(project: Project, out: Path, *options: str) -> dict[str, Any]:
    """Pack a project's environment as its user would; return the report."""
    env = uv_environment(project.python.install_dir)
    words: list[str | Path] = ["pack", project.env, "-o", out, "--json", *options]
    report: dict[str, Any] = json.loads(envpack(words, env=env, cwd=project.root))
    return report


def found_in(report: dict[str, Any]) -> list[str]:
    """Return what `--strict` has against a pack, but for libraries that the host must have."""
    return [text for text in report["findings"] if "which is left to the other" not in text]


@dataclass
class Packs:
    """The packs of a session; tests only read them."""

    lab: Lab
    _made: dict[tuple[str, str], Pack] = field(default_factory=dict)

    def of(self, kind: str, minor: str) -> Pack:
        """Return the pack of a kind of project on an interpreter."""
        if (kind, minor) not in self._made:
            project = self.lab.project(kind, minor)
            folder = self.lab.work / f"pack-{kind}-{minor}"
            folder.mkdir()
            archive = folder / "env.tar.gz"
            report = pack_project(project, archive)
            unpacked = folder / "unpacked"
            unpack(archive, unpacked)
            self._made[kind, minor] = Pack(project, report, archive, unpacked)
        return self._made[kind, minor]


def unpack(archive: Path, to: Path) -> Path:
    """Unpack a tar.gz with the machine's own tar."""
    to.mkdir()
    call([tool("tar"), "-xzf", archive, "-C", to])
    to.chmod(0o755)
    return to


def tree_digest(root: Path) -> dict[str, tuple[str, int, int]]:
    """Return content, mode and mtime of everything below a folder, to see that none changed."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            status = path.lstat()
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = "folder"
            mtime = 0 if path.is_dir() and not path.is_symlink() else status.st_mtime_ns
            found[str(path.relative_to(root))] = (content, status.st_mode, mtime)
    return found
