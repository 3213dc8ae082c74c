"""What became of a lock's distributions, as values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from envpack.platforms import Target
from envpack.wheelhouse import Listed, Stored


@dataclass(frozen=True, slots=True)
class Lacking:
    """A package that a target will not find a wheel of; `sdist` is the path of what is there."""

    name: str
    version: str
    targets: tuple[Target, ...]
    why: str
    sdist: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as reports have it."""
        return {
            "name": self.name,
            "version": self.version,
            "targets": [str(target) for target in self.targets],
            "why": self.why,
            "sdist": self.sdist or None,
        }


@dataclass(slots=True)
class Acquired:
    """What became of the choices: packages in the lock's order, and what is lacking.

    `notes` are sentences about logins that could not be read.
    """

    packages: tuple[Listed, ...]
    lacking: tuple[Lacking, ...]
    fetched: int = 0
    built: int = 0
    build_packages: tuple[Listed, ...] = ()
    notes: tuple[str, ...] = ()

    def files(self) -> Iterator[Stored]:
        """Yield every file once; what a lock names is not what only builds need."""
        seen: set[str] = set()
        for role, packages in (("", self.packages), ("build", self.build_packages)):
            for package in packages:
                for file in (*package.wheels, *([package.sdist] if package.sdist else [])):
                    if file.path not in seen:
                        seen.add(file.path)
                        yield replace(file, role=role)

    def add_build(self, more: Acquired) -> None:
        """Add what only builds need."""
        known = {(one.name, one.version, str(one.marker)) for one in self.build_packages}
        fresh = [p for p in more.packages if (p.name, p.version, str(p.marker)) not in known]
        self.build_packages = (*self.build_packages, *fresh)
        self.lacking = (*self.lacking, *more.lacking)
        self.fetched += more.fetched
        self.built += more.built
