"""What a pack did, as data: printed by the command line, returned by the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from envpack.interpreter import Interpreter
from envpack.libraries import Libraries
from envpack.manifest import (
    describe_editable,
    describe_interpreter,
    describe_left_out,
    describe_libraries,
)
from envpack.model import Clash, Editable, EditableForm, Leak, LeftOut, Package

SCHEMA = "envpack.pack/1"


@dataclass(frozen=True, slots=True)
class PackReport:
    """The result of one pack, or of a dry run of one.

    `size` is the sum of the members' bytes, `output_size` that of what was written (0 for a dry
    run); `digest` identifies the content whatever the format, and is empty for a dry run, as are
    `edits` and `leaks`. `outside` pairs links that left the environment with their targets,
    `secrets` tells of files that hold any, `usage` is what to type for the destination that was
    asked for. `finds_python` is None where the archive has a Python, else the path of the one that
    it looks for first, or "".
    """

    environment: str
    output: str
    format: str
    dry_run: bool
    interpreter: Interpreter
    packages: tuple[Package, ...]
    editables: tuple[Editable, ...]
    files: int
    size: int
    output_size: int
    digest: str
    edited: int
    edits: Counter[str]
    left_out: Collection[LeftOut]
    clashes: tuple[Clash, ...]
    outside: tuple[tuple[str, str], ...]
    libraries: Libraries
    scrubbed: tuple[str, ...]
    leaks: tuple[Leak, ...]
    warnings: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    usage: tuple[str, ...] = ()
    finds_python: str | None = None

    @property
    def findings(self) -> tuple[str, ...]:
        """What `--strict` does not accept, a sentence each."""
        copied = [e for e in self.editables if e.form is EditableForm.COPIED]
        harmful = [leak for leak in self.leaks if not leak.harmless]
        return (
            *(f"`{leak.name}` still names `{leak.needle}`" for leak in harmful),
            *(
                f"the editable `{e.name}` was copied, not built" + (f": {e.note}" if e.note else "")
                for e in copied
            ),
            *(f"`{name}` is a link to `{real}`" for name, real in self.outside),
            *self.secrets,
            *(f"`{w.file}` wants `{w.soname}`, found nowhere" for w in self.libraries.missing),
            *(
                f"`{w.file}` wants `{w.soname}`, which is left to the other machine"
                for w in self.libraries.lacking
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report in the schema `envpack.pack/1`."""
        return {
            "schema": SCHEMA,
            "environment": self.environment,
            "output": self.output,
            "format": self.format,
            "dry_run": self.dry_run,
            "platform": str(self.interpreter.target),
            "interpreter": {
                **describe_interpreter(self.interpreter),
                "prefix": self.interpreter.prefix,
                "packed": self.finds_python is None,
            },
            "packages": [{"name": p.name, "version": p.version} for p in self.packages],
            "editables": [describe_editable(editable) for editable in self.editables],
            "files": self.files,
            "size": self.size,
            "output_size": self.output_size,
            "digest": self.digest,
            "edited": self.edited,
            "edits": dict(sorted(self.edits.items())),
            "libraries": describe_libraries(self.libraries),
            "left_out": describe_left_out(self.left_out),
            "clashes": [
                {"name": c.name, "kept": c.kept, "dropped": c.dropped} for c in self.clashes
            ],
            "outside": [{"name": name, "target": real} for name, real in self.outside],
            "scrubbed": list(self.scrubbed),
            "secrets": list(self.secrets),
            "leaks": [
                {"name": k.name, "path": k.needle, "count": k.count, "harmless": k.harmless}
                for k in self.leaks
            ],
            "warnings": list(self.warnings),
            "findings": list(self.findings),
            "usage": list(self.usage),
        }
