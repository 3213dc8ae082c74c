"""What one test session made so far: every machine once, or the reason it is missing."""

from dataclasses import dataclass, field
from pathlib import Path

from .interpreters import Managed, Own, Standalone, managed, pyenv, standalone
from .missing import require
from .projects import Project, make
from .roots import root
from .sandbox import Sandbox


@dataclass
class Lab:
    """The machines of a session. A missing one skips the test, or fails it when required.

    `work` is a folder on the file system of the cache, so that uv links files from its cache.
    """

    work: Path
    _managed: dict[str, Managed] = field(default_factory=dict)
    _projects: dict[tuple[str, str], Project] = field(default_factory=dict)

    def sandbox(self, suite: str = "bookworm", kind: str = "std") -> Sandbox:
        """Return a sandbox over the root of a suite and kind."""
        return Sandbox(require(root, suite, kind))

    def standalone(self, minor: str) -> Standalone:
        """Return the raw standalone interpreter of a minor version."""
        return require(standalone, minor)

    def pyenv(self, minor: str) -> Own:
        """Return this machine's own build of a minor version."""
        return require(pyenv, minor)

    def managed(self, minor: str) -> Managed:
        """Return the interpreter of a minor version as uv installed it for this session."""
        if minor not in self._managed:
            self._managed.update(require(managed, self.work / "uv-python", (minor,)))
        return self._managed[minor]

    def project(self, kind: str, minor: str) -> Project:
        """Return this session's project of a kind (`a` to `d`); tests only read it."""
        if (kind, minor) not in self._projects:
            base = self.work / f"project-{kind}-{minor}"
            self._projects[kind, minor] = require(make, kind, base, self.managed(minor))
        return self._projects[kind, minor]
