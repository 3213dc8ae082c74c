"""The envpack.json of a layout: what it was made of, and the sha256 of all that is in it.

bin/        wrappers that find their own root        libexec/    uv itself
packages/   wheels, their metadata, sdists           simple/     the index of them
python/     interpreters, and archives of them       uv.toml  README.md  envpack.json
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from envpack.errors import ProjectFault
from envpack.foreign import described
from envpack.uv import Uv
from envpack.wheelhouse import WHEELS, Record, Stored, read_record, record_text, schema_of

SCHEMA = "envpack.layout/1"
PACKAGES = "packages"
SIMPLE = "simple"
PYTHONS = "python"
ARCHIVES = "python/archives"
PROGRAMS = "libexec"
SCRIPTS = "bin"
FOLDERS = (PACKAGES, SIMPLE, PYTHONS, ARCHIVES, PROGRAMS, SCRIPTS)


@dataclass(frozen=True, slots=True)
class Made:
    """A file that is no distribution and no program: its content, or the text of a link."""

    sha256: str = ""
    size: int = 0
    executable: bool = False
    link: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as envpack.json has it."""
        return {key: value for key, value in asdict(self).items() if value or key == "size"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the index tells of a distribution file besides its hash; `metadata` is a sha256."""

    requires_python: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """Something the layout was made of; equal `key`s mean that nothing about it is new.

    `kind` is project, requirements, wheel, environment or seed, `files` the paths it brought.
    """

    kind: str
    name: str
    key: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a layout holds. `about` is of the targets, of uv and of envpack."""

    about: Mapping[str, Any]
    inputs: tuple[Input, ...]
    files: tuple[Stored, ...]
    facts: Mapping[str, Facts]
    made: Mapping[str, Made] = field(default_factory=dict)

    @property
    def record(self) -> Record:
        """The distributions and programs as those who read a download's folder take them."""
        return Record(self.about, self.files)

    @property
    def distributions(self) -> tuple[Stored, ...]:
        """The wheels and sdists."""
        return tuple(file for file in self.files if file.path.startswith(f"{PACKAGES}/"))

    def text(self) -> str:
        """Return the text of envpack.json."""
        about = {
            **self.about,
            "inputs": [{**asdict(each), "files": list(each.files)} for each in self.inputs],
            "facts": {path: asdict(facts) for path, facts in sorted(self.facts.items())},
            "made": {path: made.to_json() for path, made in sorted(self.made.items())},
        }
        return record_text(Record(about, self.files), SCHEMA)


def read_layout(folder: str) -> Layout | None:
    """Read the envpack.json of a layout; None if there is none.

    Raises ProjectFault if it is damaged, of a later schema, or of another kind of folder.
    """
    record = read_record(folder, SCHEMA)
    if record is None:
        return None
    about = dict(record.about)
    path = os.path.join(folder, "envpack.json")
    with described(path, "damaged", ProjectFault):
        inputs = [Input(**{**each, "files": tuple(each["files"])}) for each in about.pop("inputs")]
        facts = {path: Facts(**value) for path, value in about.pop("facts").items()}
        made = {path: Made(**value) for path, value in about.pop("made").items()}
        layout = Layout(
            about=about, inputs=tuple(inputs), files=record.files, facts=facts, made=made
        )
        about["targets"], about["every_platform"]
    for name in made:
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise ProjectFault(f"`{path}` is damaged: `{name}`")
    return layout


def read_folder(folder: str) -> tuple[str, str, Record] | None:
    """Read what a download or a layout holds, None if the folder is neither.

    Returns its root, the name of the directory with its wheels, and the record; `folder` may be
    that directory of a layout. Raises ProjectFault as `read_record` does.
    """
    above, name = os.path.split(folder)
    for root in (folder, *([above] if name == PACKAGES else [])):
        if schema_of(root) == SCHEMA:
            layout = read_layout(root)
            return (root, PACKAGES, layout.record) if layout else None
    record = read_record(folder)
    return None if record is None else (folder, WHEELS, record)


def uv_of(root: str, record: Record, triple: str) -> Uv | None:
    """Return a layout's own uv for a machine, None if it has none.

    It gets the interpreters of the layout, but not its uv.toml: a lock that names another index is
    to stay as it is.
    """
    fitting = (file for file in record.files if file.path.startswith(f"{PROGRAMS}/uv-{triple}"))
    program = next(fitting, None)
    if program is None:
        return None
    pythons = os.path.join(root, PYTHONS)
    names = os.listdir(pythons) if os.path.isdir(pythons) else []
    trees = [name for name in names if name.startswith("cpython-")]
    variables = {"UV_CONFIG_FILE": None, **({"UV_PYTHON_INSTALL_DIR": pythons} if trees else {})}
    return Uv(os.path.join(root, *program.path.split("/")), variables)
