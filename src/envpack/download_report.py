"""What a download did, as a value; words for it are the command line's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envpack.acquired import Lacking
from envpack.wheelhouse import Stored

_SCHEMA = "envpack.download/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadReport:
    """What is in the folder now, and what this run did."""

    folder: str
    project: str
    targets: tuple[str, ...]
    files: tuple[Stored, ...]
    fetched: int
    built: int
    removed: tuple[str, ...]
    lacking: tuple[Lacking, ...]
    warnings: tuple[str, ...]
    size: int
    resolved: bool

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document of the schema `envpack.download/1`."""
        return {
            "schema": _SCHEMA,
            "folder": self.folder,
            "project": self.project,
            "targets": list(self.targets),
            "files": [
                {"path": f.path, "name": f.name, "version": f.version, "size": f.size}
                for f in self.files
            ],
            "fetched": self.fetched,
            "built": self.built,
            "removed": list(self.removed),
            "lacking": [lack.to_json() for lack in self.lacking],
            "warnings": list(self.warnings),
            "size": self.size,
            "resolved": self.resolved,
        }
