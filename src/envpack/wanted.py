"""What a download's folder is to hold: now, or now and after what earlier runs were asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envpack.lock import Scope
from envpack.platforms import Python, Target, platforms_named, pythons_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Targets, the Pythons wanted for every platform, extras and groups, and what else comes.

    `python` is uv's interpreters, `python_archives` those that the user gives.
    """

    targets: tuple[Target, ...]
    every: tuple[Python, ...]
    scope: Scope
    sdists: bool
    build_deps: bool
    python: bool
    python_archives: bool
    uv: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as envpack.json keeps it."""
        return {
            "targets": [[str(t.platform), str(t.python)] for t in self.targets],
            "every_platform": [str(python) for python in self.every],
            "scope": self.scope.to_json(),
            "sdists": self.sdists,
            "build_deps": self.build_deps,
            "with_python": self.python,
            "python_archives": self.python_archives,
            "with_uv": self.uv,
        }

    def joined(self, about: Mapping[str, Any]) -> Wanted:
        """Return what is wanted now and what an earlier run wanted, as envpack.json kept it."""
        pairs = [
            Target(platform, python)
            for words in about["targets"]
            for platform in platforms_named([words[0]]) or ()
            for python in pythons_named([words[1]])
        ]
        every = pythons_named(about["every_platform"])
        return Wanted(
            targets=tuple(dict.fromkeys([*pairs, *self.targets])),
            every=tuple(dict.fromkeys([*every, *self.every])),
            scope=self.scope.joined(Scope.from_json(about["scope"])),
            sdists=self.sdists or bool(about["sdists"]),
            build_deps=self.build_deps or bool(about["build_deps"]),
            python=self.python or bool(about.get("with_python")),
            python_archives=self.python_archives or bool(about.get("python_archives")),
            uv=self.uv or bool(about.get("with_uv")),
        )
