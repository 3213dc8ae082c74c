"""What was put into a layout, as a value; words for it are the command line's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envpack.acquired import Lacking

_SCHEMA = "envpack.layout-report/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutReport:
    """What a layout holds now, and what this run did. Sizes are in bytes."""

    output: str
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    pythons: tuple[str, ...]
    packages: int
    files: int
    fetched: int
    built: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    patched: tuple[str, ...]
    lacking: tuple[Lacking, ...]
    warnings: tuple[str, ...]
    size: int

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document of the schema `envpack.layout-report/1`."""
        return {
            "schema": _SCHEMA,
            "output": self.output,
            "inputs": list(self.inputs),
            "targets": list(self.targets),
            "pythons": list(self.pythons),
            "packages": self.packages,
            "files": self.files,
            "fetched": self.fetched,
            "built": self.built,
            "added": list(self.added),
            "removed": list(self.removed),
            "patched": list(self.patched),
            "lacking": [lack.to_json() for lack in self.lacking],
            "warnings": list(self.warnings),
            "size": self.size,
        }
