"""The machines that a layout is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envpack.choice import targets_of
from envpack.layout_files import platforms_of
from envpack.layout_record import Layout
from envpack.lock import LockFile, supported_environments
from envpack.platforms import Platform, Python, Target, platforms_named, pythons_named


@dataclass(frozen=True, slots=True)
class Grid:
    """The machines a layout is for: every platform with every Python.

    `platforms` is None for all of each lock; `every` are the Pythons whose every wheel is wanted.
    """

    platforms: tuple[Platform, ...] | None
    pythons: tuple[Python, ...]
    every: tuple[Python, ...]

    @classmethod
    def of(
        cls,
        named: tuple[Platform, ...] | None,
        pythons: Sequence[Python],
        base: Layout | None,
        old: Layout | None,
    ) -> Grid:
        """Return what is named now, joined with what the layout `base` is for."""
        every = tuple(pythons) if named is None else ()
        if base is not None:
            every = (*pythons_named(base.about["every_platform"]), *every)
            pythons = (*pythons_of(base), *pythons)
            if named is not None:
                named = (*platforms_of(base), *named)
        elif named == () and old is not None:
            named = platforms_of(old)
        if named == ():
            named = platforms_named(["current"])
        platforms = None if named is None else tuple(dict.fromkeys(named))
        return cls(platforms, tuple(dict.fromkeys(pythons)), tuple(dict.fromkeys(every)))

    def targets(self, lock: LockFile | None) -> tuple[Target, ...]:
        """Return the combinations to choose for."""
        return targets_of(self.platforms, self.pythons, supported_environments(lock))

    @property
    def pairs(self) -> list[list[str]]:
        """The combinations in words, as the record keeps them."""
        return [[str(target.platform), str(target.python)] for target in self.targets(None)]


def pythons_of(layout: Layout) -> tuple[Python, ...]:
    """Return the Pythons that a layout is for."""
    return pythons_named(dict.fromkeys(python for _, python in layout.about["targets"]))
