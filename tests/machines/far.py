"""The other side: no network, another home, an empty cache, and no Python that fits."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .lab.missing import require
from .lab.tools import call, tool
from .packs import source_path

UV = "uv/uv-x86_64-unknown-linux-musl"


@dataclass(frozen=True)
class Far:
    """A folder with the project and the download, and the variables there."""

    folder: Path
    environment: dict[str, str]
    project: Path = field(init=False)
    dists: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "project", self.folder / "project")
        object.__setattr__(self, "dists", self.folder / "dists")

    @classmethod
    def at(cls, folder: Path, home: Path, extra: Mapping[str, str] | None = None) -> "Far":
        """Return the other side in `folder`, whose user has an empty `home`."""
        home.mkdir()
        environment = {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "UV": str(folder / "dists" / UV),
            **(extra or {}),
        }
        return cls(folder, environment)

    def moved(self, folder: Path) -> "Far":
        """Move everything but the home."""
        self.folder.rename(folder)
        return Far(folder, {**self.environment, "UV": str(folder / "dists" / UV)})

    def without_network(self, words: Sequence[str | Path]) -> list[str | Path]:
        """Return a command that runs in a network namespace of its own."""
        return [require(tool, "bwrap"), "--dev-bind", "/", "/", "--unshare-net", *words]

    def uv(self, *words: str | Path, cwd: Path | None = None) -> str:
        """Run the uv that was brought, in the project."""
        program = self.environment["UV"]
        command = self.without_network([program, *words])
        return call(command, cwd=cwd or self.project, env=self.environment)

    def sync(self, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `envpack sync` there, by this Python, which is not the project's."""
        program = [sys.executable, "-c", "from envpack.cli import main; main()", "sync"]
        program.append(str(folder or self.dists))
        return subprocess.run(
            [os.fspath(word) for word in self.without_network([*program, *words])],
            cwd=self.project,
            env={**self.environment, "PYTHONPATH": source_path()},
            capture_output=True,
            text=True,
            check=False,
        )
