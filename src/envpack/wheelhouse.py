"""The folder that `download` fills and `sync` reads: distributions, and what they are.

    wheels/           sdists/           python/           uv/
    pylock.toml       PEP 751, relative paths, the sha256 and size of every file
    requirements.txt  the same for `pip install -r`, with hashes
    build-requirements.txt  what local projects are built with, if that was asked for
    envpack.json      where each file came from

Standard tools install from all but the last; only `envpack.json` is envpack's own.
"""

from __future__ import annotations

import json
import os
import posixpath
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.markers import Marker

from envpack import foreign
from envpack.errors import OutputFault, ProjectFault
from envpack.held import replaced, sweep_beside

WHEELS = "wheels"
SDISTS = "sdists"
PYTHONS = "python"
UVS = "uv"
PYLOCK = "pylock.toml"
REQUIREMENTS = "requirements.txt"
BUILD_REQUIREMENTS = "build-requirements.txt"
RECORD = "envpack.json"
SCHEMA = "envpack.folder/1"
DIRECTORY = PROGRAM = 0o755
FILE = 0o644
"""What everybody may do, whatever the umask was: the folder is made to be carried elsewhere."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a distribution came from, as a lock says it; what does not apply is empty.

    `index` and `url` are free of credentials. `git` is a repository with `commit` and the
    `requested` revision; `path` a directory relative to the lock. `hashes` are the lock's own.
    What was installed in an `environment` has there the files that were `patched`.
    """

    index: str = ""
    url: str = ""
    git: str = ""
    commit: str = ""
    requested: str = ""
    subdirectory: str = ""
    path: str = ""
    editable: bool = False
    hashes: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    patched: tuple[str, ...] = ()

    @property
    def direct_url(self) -> dict[str, Any] | None:
        """The `direct_url.json` that an install from it has (PEP 610); None for an index's."""
        where: dict[str, Any]
        if self.git:
            revision = {"requested_revision": self.requested} if self.requested else {}
            where = {
                "url": self.git,
                "vcs_info": {"vcs": "git", "commit_id": self.commit, **revision},
            }
        elif self.url and not self.index:
            where = {"url": self.url, "archive_info": {}}
        else:
            return None
        return {**where, **({"subdirectory": self.subdirectory} if self.subdirectory else {})}


@dataclass(frozen=True, slots=True)
class Built:
    """How a wheel was made here; `source` is the sha256 of what it was made from."""

    uv: str
    python: str
    platform: str
    source: str


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of the folder: `path` is POSIX and relative to it, `size` in bytes.

    `role` is "" for what a lock names, "build" for what only builds need, "python" or "uv".
    """

    path: str
    name: str
    version: str
    sha256: str
    size: int
    origin: Origin = field(default_factory=Origin)
    built: Built | None = None
    role: str = ""

    @property
    def file(self) -> str:
        """The file's own name."""
        return posixpath.basename(self.path)


@dataclass(frozen=True, slots=True)
class Listed:
    """One package of the folder's pylock.toml: a name, a version, a condition, its files."""

    name: str
    version: str
    marker: Marker | None
    wheels: tuple[Stored, ...]
    sdist: Stored | None
    index: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What envpack.json says: `about` is everything but the files."""

    about: Mapping[str, Any]
    files: tuple[Stored, ...]

    def get(self, path: str) -> Stored | None:
        """Return the file at a relative path."""
        return next((file for file in self.files if file.path == path), None)


def schema_of(folder: str) -> str:
    """Return the schema that a folder's envpack.json names, "" if it names none."""
    try:
        value = foreign.read_json(os.path.join(folder, RECORD), ProjectFault)
    except ProjectFault:
        return ""
    return str(value.get("schema", "")) if isinstance(value, dict) else ""


def read_record(folder: str, schema: str = SCHEMA) -> Record | None:
    """Read envpack.json of a folder of one kind, which its schema names; None if there is none.

    Raises ProjectFault if it is damaged, of a later schema, or of another kind of folder.
    """
    path = os.path.join(folder, RECORD)
    value = foreign.read_json(path, ProjectFault)
    if value is None:
        return None
    with foreign.described(path, "damaged", ProjectFault):
        if value["schema"] != schema:
            raise ProjectFault(
                f"`{path}` has the schema `{value['schema']}`, which this envpack does not read"
            )
        return Record(value, tuple(_stored(item) for item in value.pop("files")))


def _stored(item: dict[str, Any]) -> Stored:
    told = item.get("from", {})
    origin = Origin(**{**told, "patched": tuple(told.get("patched", ()))})
    built = Built(**item["built"]) if item.get("built") else None
    plain = {key: value for key, value in item.items() if key not in {"from", "built"}}
    stored = Stored(**plain, origin=origin, built=built)
    for key in ("path", "name", "version", "sha256", "role"):
        if not isinstance(getattr(stored, key), str):
            raise TypeError(f"a `{key}` is no text")
    parts = stored.path.split("/")
    if stored.path.startswith("/") or ".." in parts or "\\" in stored.path:
        raise ValueError(f"`{stored.path}` leads out of the folder")
    return stored


def record_text(record: Record, schema: str = SCHEMA) -> str:
    """Return the text of envpack.json."""
    head = {"schema": schema, **record.about}
    files = [_file_json(file) for file in sorted(record.files, key=lambda file: file.path)]
    return json.dumps({**head, "files": files}, indent=1, ensure_ascii=False) + "\n"


def _file_json(file: Stored) -> dict[str, Any]:
    value: dict[str, Any] = {
        "path": file.path,
        "name": file.name,
        "version": file.version,
        "sha256": file.sha256,
        "size": file.size,
    }
    origin = {key: getattr(file.origin, key) for key in Origin.__slots__}
    if filled := {key: value for key, value in origin.items() if value}:
        value["from"] = filled
    if file.built:
        value["built"] = {key: getattr(file.built, key) for key in Built.__slots__}
    return {**value, **({"role": file.role} if file.role else {})}


def pylock_text(packages: Sequence[Listed], requires_python: str | None) -> str:
    """Return a pylock.toml (PEP 751) that names files of the folder by relative paths."""
    import tomli_w

    head: dict[str, Any] = {"lock-version": "1.0", "created-by": "envpack"}
    if requires_python:
        head["requires-python"] = requires_python
    tables = []
    for package in packages:
        table: dict[str, Any] = {"name": package.name, "version": package.version}
        if package.marker is not None:
            table["marker"] = str(package.marker)
        if package.index:
            table["index"] = package.index
        if package.sdist is not None:
            table["sdist"] = _file_table(package.sdist)
        if package.wheels:
            table["wheels"] = [_file_table(wheel) for wheel in package.wheels]
        tables.append(table)
    return tomli_w.dumps({**head, "packages": tables})


def _file_table(file: Stored) -> dict[str, Any]:
    return {
        "name": file.file,
        "path": file.path,
        "size": file.size,
        "hashes": {"sha256": file.sha256},
    }


def requirements_text(packages: Sequence[Listed]) -> str:
    """Return requirements with hashes, for `pip install -r` without an index."""
    lines = ["--no-index", f"--find-links {WHEELS}"]
    if any(package.sdist for package in packages):
        lines.append(f"--find-links {SDISTS}")
    for package in packages:
        files = [*package.wheels, *([package.sdist] if package.sdist else [])]
        marker = f" ; {package.marker}" if package.marker is not None else ""
        hashes = sorted({file.sha256 for file in files})
        parts = [f"{package.name}=={package.version}{marker}"]
        parts += [f"    --hash=sha256:{value}" for value in hashes]
        lines.append(" \\\n".join(parts))
    return "\n".join(lines) + "\n"


def write_text(path: str, text: str) -> None:
    """Replace a file by `text` in one step; raises OutputFault.

    What a killed run has left of the same goes.
    """
    sweep_beside(path)
    write_bytes(path, text.encode())


def write_bytes(path: str, data: bytes) -> None:
    """Replace a file by `data` in one step; raises OutputFault."""
    try:
        with replaced(path) as new, open(new, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OutputFault(f"cannot write `{path}`: {error.strerror or error}") from error


def check_no_links(folder: str, names: Iterable[str]) -> None:
    """Raise OutputFault if one of a folder's own folders is a link: it leads to somebody's."""
    for name in names:
        if os.path.islink(path := os.path.join(folder, name)):
            raise OutputFault(
                f"`{path}` is a link, and nothing is written through it",
                hint="put a folder in its place, or take another one",
            )


def set_mode(path: str, mode: int) -> None:
    """Give a file or folder its mode; links and what is not there are passed over."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) != mode:
        os.chmod(path, mode)


def remove_others(folder: str, kept: Iterable[str]) -> tuple[str, ...]:
    """Remove the files below the folder's directories that `kept` does not name; return them."""
    names = set(kept)
    gone = []
    for directory in (WHEELS, SDISTS, PYTHONS, UVS):
        place = os.path.join(folder, directory)
        for entry in sorted(os.listdir(place)) if os.path.isdir(place) else ():
            name = f"{directory}/{entry}"
            if name not in names and os.path.isfile(os.path.join(folder, name)):
                try:
                    os.unlink(os.path.join(folder, name))
                except OSError as error:
                    raise OutputFault(f"cannot remove `{name}`: {error.strerror}") from error
                gone.append(name)
    return tuple(gone)
