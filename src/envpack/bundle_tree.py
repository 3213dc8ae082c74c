"""What DIR will be on a bundle's far side: the sources, the bundle's own folder, its manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from packaging.pylock import Package

from envpack.bundle_floor import needs_of
from envpack.bundle_git import FOLDER as GIT_FOLDER
from envpack.bundle_git import PROGRAM as WITH_GIT
from envpack.bundle_git import repositories, with_git
from envpack.bundle_zip import lists_of_pythons, openers, sums_of_openers
from envpack.bundled.placing import OWN, SCHEMA, digested
from envpack.errors import ProjectFault
from envpack.foreign import read_text
from envpack.lock import LockFile, Scope
from envpack.model import Link, LinkKind, Member
from envpack.platforms import Target, platforms_named, pythons_named
from envpack.programs import PYTHON, UV, cached_as, downloads_json, serves
from envpack.redact import has_secrets, stripped
from envpack.settings import NAME as SETTINGS
from envpack.settings import SAVED, configure
from envpack.sources import Sources
from envpack.version import VERSION
from envpack.wheelhouse import RECORD, Record, Stored

MANIFEST = f"{OWN}/bundle.json"
INSTALLER = (
    "install.py", "unzipped.py", "placing.py", "windows.py", "fitting.py", "marking.py", "owned.py",
    "removing.py", "restoring.py", "containing.py", "holding.py",
)  # fmt: skip
"""What of `envpack.bundled` travels as it is."""

END = "__PAYLOAD__"
"""The line behind which a `.run` has its archive."""

_BLOCK = 1 << 20
_SYSTEMS = {"linux": "Linux", "macos": "Darwin"}
_MACHINES = {("macos", "aarch64"): "arm64"}
_WITH_URLS = frozenset({".gitmodules", "Pipfile", "pylock.toml", "pyproject.toml", "uv.lock"})
"""Files that tools read URLs from, and whose bytes travel as they are."""

_REQUIREMENTS = re.compile(
    r"(?:.*[-_.])?(?:requirements?|constraints?)(?:[-_.].*)?\.(?:txt|in)|.*\.pip"
)
"""Files of pip's, whose URLs travel without secrets, as those of uv.toml do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the bundle: `name` below DIR, `path` here, or a link's text.

    `sha256` is what the manifest says of the file, "" if nothing does.
    """

    name: str
    path: str
    size: int
    executable: bool
    link: str | None = None
    sha256: str = ""

    def member(self, arcroot: str) -> Member:
        """Return it as a format takes it."""
        if self.link is not None:
            link = Link(LinkKind.SYMBOLIC, self.link)
            return Member(arcroot + self.name, 0, False, link=link)
        return Member(arcroot + self.name, self.size, self.executable, self._blocks())

    def told(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        if self.link is not None:
            return {"link": self.link}
        executable = {"executable": True} if self.executable else {}
        return {"sha256": self.sha256, "size": self.size, **executable}

    def _blocks(self) -> Iterator[bytes]:
        """Yield the content; raises ProjectFault if it is not what the manifest tells."""
        total, left = hashlib.sha256(), self.size
        try:
            with open(self.path, "rb") as file:
                while block := file.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        break
                    total.update(block)
                    yield block
        except OSError as error:
            raise ProjectFault(f"cannot read `{self.path}`: {error.strerror}") from error
        if left or (self.sha256 and total.hexdigest() != self.sha256):
            raise ProjectFault(
                f"`{self.path}` changed while it was bundled",
                hint="let what changes it end, then bundle again",
            )


class Tree:
    """What DIR will be: the sources, and the bundle's own folder."""

    def __init__(
        self,
        lock: LockFile,
        sources: Sources,
        folder: str,
        record: Record,
        name: str,
        scope: Scope,
    ) -> None:
        self.lock, self.sources, self.folder, self.record = lock, sources, folder, record
        self.name, self.scope = name, scope
        self.root = os.path.relpath(lock.root, sources.root).replace(os.sep, "/")
        self.directory = os.path.relpath(lock.project, sources.root).replace(os.sep, "/")
        self.targets = tuple(
            Target(platform, python)
            for platform_name, version in record.about["targets"]
            for platform in platforms_named([platform_name]) or ()
            for python in pythons_named([version])
        )
        self.warnings: list[str] = []
        self._made: dict[str, str] = {}
        self._joins: dict[str, Any] = {}
        self.manifest: dict[str, Any] = {}
        self.stub = b""
        self._settled: tuple[Entry, ...] = ()

    def join(self, files: Sequence[str]) -> None:
        """Note files that the far side must have as they are here, as they do not travel."""
        self._joins = {
            os.path.relpath(path, self.sources.root).replace(os.sep, "/"): _told(path)
            for path in files
            if os.path.basename(path) != SETTINGS
        }

    def add_git(self, packages: Sequence[Package], scratch: str) -> None:
        """Add repositories of git dependencies, and the program by which git finds them."""
        found = repositories(packages, os.path.join(scratch, "git"))
        for one in found:
            self._made[f"{GIT_FOLDER}/{one.name}"] = one.path
        if found:
            self._make(scratch, WITH_GIT, with_git(found).encode(), executable=True)

    @property
    def packages(self) -> int:
        """The number of packages that the lock names."""
        return len({file.name for file in self.record.files if not file.role})

    def glibc(self) -> str:
        """Return the oldest glibc that the bundle installs on, "" if it does not matter."""
        found = [target["needs"]["glibc"] for target in self.manifest["targets"]]
        return max(found, key=lambda text: [int(n) for n in text.split(".") if n], default="")

    def settle(self, scratch: str) -> None:
        """Write what is the bundle's own: settings, installer, lists of interpreters."""
        self._settings(os.path.join(scratch, "settings"))
        self._urls(scratch)
        for name in INSTALLER:
            data = resources.files("envpack.bundled").joinpath(name).read_bytes()
            self._make(scratch, f"{OWN}/{name}", data)
        targets = [self._target(target) for target in self.targets]
        for name, data in lists_of_pythons(targets).items():
            self._make(scratch, name, data)
        entries = tuple(map(_digested, self._entries()))
        self.stub = stub(
            self.name, self.lock.version, targets, sum(entry.size for entry in entries)
        ).encode()
        self.manifest = {
            "schema": SCHEMA,
            "digest": "0" * 64,
            "envpack": VERSION,
            "project": self.name,
            "version": self.lock.version,
            "root": self.root,
            "directory": self.directory,
            "sync": self.scope.arguments(self.lock.name),
            "targets": targets,
            **({"joins": self._joins} if self._joins else {}),
            "openers": sums_of_openers(self.name, self.lock.version, targets),
            "stub": {"sha256": hashlib.sha256(self.stub).hexdigest(), "size": len(self.stub)},
            "files": {entry.name: entry.told() for entry in entries},
        }
        text = json.dumps(self.manifest, indent=1, ensure_ascii=False) + "\n"
        self.manifest["digest"] = digested(text)
        text = text.replace("0" * 64, self.manifest["digest"], 1)
        self._make(scratch, MANIFEST, text.encode())
        self._settled = (_entry(MANIFEST, self._made[MANIFEST]), *entries)

    def entries(self) -> tuple[Entry, ...]:
        """Return all files, once they are settled: the manifest, the bundle's own, the sources."""
        return self._settled

    def openers(self) -> dict[str, bytes]:
        """Return what opens the bundle as a zip, once it is settled."""
        with open(self._made[MANIFEST], "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return openers(self.name, self.lock.version, self.manifest["targets"], digest)

    def _make(self, scratch: str, name: str, data: bytes, *, executable: bool = False) -> None:
        path = os.path.join(scratch, "made", *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_bytes(data)
        os.chmod(path, 0o755 if executable else 0o644)
        self._made[name] = path

    def _settings(self, scratch: str) -> None:
        """Make the uv.toml by which uv stays offline, free of credentials."""
        root = os.path.join(scratch, *self.root.split("/")) if self.root != "." else scratch
        os.makedirs(root)
        for name in ("pyproject.toml", SETTINGS):
            path = Path(self.lock.root, name)
            if path.is_file():
                text = read_text(str(path), ProjectFault) or ""
                Path(root, name).write_bytes(stripped(text).encode())
                if has_secrets(text) and name == SETTINGS:
                    self.warnings.append("the logins in URLs of uv.toml stay home")
        configure(root, os.path.join(scratch, OWN, "wheels"), os.path.join(root, "pyproject.toml"))
        for name in (SETTINGS, SAVED):
            if os.path.isfile(os.path.join(root, name)):
                made = f"{self.root}/{name}".removeprefix("./")
                self._made[made] = os.path.join(root, name)

    def _urls(self, scratch: str) -> None:
        """Tell of logins in URLs that travel, and take them out of requirements files."""
        for name in self.sources.files:
            base, path = name.rpartition("/")[2], os.path.join(self.sources.root, *name.split("/"))
            scrubbed = _REQUIREMENTS.fullmatch(base) or "requirements" in name.split("/")[:-1]
            scrubbed = scrubbed or (base == SETTINGS and name not in self._made)
            if base not in _WITH_URLS and not scrubbed:
                continue
            text = read_text(path, ProjectFault, errors="surrogateescape") or ""
            if not has_secrets(text):
                continue
            if base in _WITH_URLS:
                self.warnings.append(f"{name} travels with the logins in its URLs")
            else:
                self.warnings.append(f"the logins in URLs of {name} stay home")
                executable = os.access(path, os.X_OK)
                data = stripped(text).encode("utf-8", "surrogateescape")
                self._make(scratch, name, data, executable=executable)

    def _target(self, target: Target) -> dict[str, Any]:
        """Return what the far side of one platform has to know."""
        platform = target.platform
        told: dict[str, Any] = {
            "platform": str(platform),
            "system": platform.os,
            "machine": platform.arch,
            "python": target.python.minor,
            "needs": {},
            "marks": {
                file.name: file.origin.direct_url
                for file in self.record.files
                if not file.role and file.origin.direct_url
            },
        }
        archive = self._program(PYTHON, target)
        needs = needs_of(self.folder, target, self.record.files, archive)
        told["needs"] = {"glibc": needs.glibc, "python": needs.python, "installed": needs.installed}
        if archive:
            if platform.os != "windows" and not archive.path.endswith((".tar.gz", ".tgz", ".tar")):
                raise ProjectFault(
                    f"`{archive.file}` cannot be unpacked there by gzip and tar",
                    hint="a bundle takes a Python as tar.gz or tar",
                )
            told["interpreter"] = {
                "key": archive.name,
                "version": archive.version,
                "path": f"{OWN}/{archive.path}",
            }
            if archive.origin.path:  # given by the user: uv's own list does not know it
                told["interpreter"]["cached_as"] = cached_as(archive)
                told["interpreter"]["downloads"] = json.loads(downloads_json(archive))
        if program := self._program(UV, target):
            told["uv"] = f"{OWN}/{program.path}"
        return told

    def _program(self, role: str, target: Target) -> Stored | None:
        fitting = (f for f in self.record.files if f.role == role and serves(f, target))
        return next(fitting, None)

    def _entries(self) -> tuple[Entry, ...]:
        found: dict[str, Entry] = {}
        for name in self.sources.files:
            found[name] = _entry(name, os.path.join(self.sources.root, *name.split("/")))
        for name, text in self.sources.links:
            found[name] = Entry(name, "", 0, False, text)
        programs = {file.path for file in self.record.files if file.role == UV}
        names = [RECORD, "pylock.toml", "requirements.txt", "build-requirements.txt"]
        names += [file.path for file in self.record.files]
        for name in names:
            path = os.path.join(self.folder, *name.split("/"))
            if os.path.isfile(path):
                found[f"{OWN}/{name}"] = _entry(f"{OWN}/{name}", path, name in programs)
        for name, path in self._made.items():
            found[name] = _entry(name, path)
        order = sorted(
            found, key=lambda name: (name != MANIFEST, not name.startswith(f"{OWN}/"), name)
        )
        return tuple(found[name] for name in order)


def _entry(name: str, path: str, executable: bool = False) -> Entry:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ProjectFault(f"cannot read `{path}`: {error.strerror}") from error
    return Entry(name, path, status.st_size, executable or bool(status.st_mode & 0o100))


def _digested(entry: Entry) -> Entry:
    """Return an entry with what its file is now."""
    return entry if entry.link is not None else replace(entry, **_told(entry.path))


def _told(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"sha256": digest, "size": os.fstat(file.fileno()).st_size}
    except OSError as error:
        raise ProjectFault(f"cannot read `{path}`: {error.strerror}") from error


def stub(name: str, version: str | None, targets: Sequence[dict[str, Any]], size: int) -> str:
    """Return the script before the archive, for the manifest's `targets`.

    `size` is what all files take, in bytes. The place for the archive's sha256 holds zeros.
    """
    text = resources.files("envpack.bundled").joinpath("install.sh").read_text("utf-8")
    platforms = ", ".join(dict.fromkeys(target["platform"] for target in targets))
    machines: dict[str, str] = {}
    pythons: list[str] = []
    for target in targets:
        if target["system"] not in _SYSTEMS:
            continue
        system = _SYSTEMS[target["system"]]
        machine = _MACHINES.get((target["system"], target["machine"]), target["machine"])
        words = f"'{system} {machine}'"
        if words in machines:
            continue
        space = (size + target["needs"]["python"]) // 1024
        machines[words] = (
            f"{words}) glibc={target['needs']['glibc']} space={space} version={target['python']} ;;"
        )
        pythons.append(f"    {words})")
        pythons += [f"        {line}" for line in _finds_python(target)]
        pythons.append("        ;;")
    title = f"{name} {version}" if version else name
    filled = {
        "@TITLE@": "".join(char for char in title if char.isalnum() or char in " .+-_"),
        "@PLATFORMS@": platforms,
        "    @MACHINES@": "\n".join(f"    {line}" for line in machines.values()),
        "    @PYTHON@": "\n".join(pythons),
        "@PAYLOAD@": "0" * 64,
        "@END@": END,
    }
    for mark, value in filled.items():
        text = text.replace(mark, value)
    checked = "".join(
        line
        for line in text.removesuffix(f"{END}\n").splitlines(keepends=True)
        if not line.startswith(("payload=", "sum="))
    )
    return text.replace("@SUM@", hashlib.sha256(checked.encode()).hexdigest())


def _finds_python(target: dict[str, Any]) -> list[str]:
    """Return the lines that unpack or find the Python that installs."""
    told = target.get("interpreter")
    version = target["python"]
    if told is None:
        if "uv" in target:
            uv = f'"$part/tree/{target["uv"]}"'
            return [f"python=$({uv} python find --no-project --system {version} 2>/dev/null)"]
        return [f"python=$(command -v python{version})"]
    opened = "gzip -dc" if told["path"].endswith(("gz", "tgz")) else "cat"
    inside = f"bin/python{version}"
    return [
        f'{opened} < "$part/tree/{told["path"]}" | tar -xf - -C "$part/python" ||',
        '    fail "the Python of the bundle cannot be unpacked"',
        f'for found in "$part"/python/*/{inside} "$part"/python/*/install/{inside}; do',
        '    [ -x "$found" ] && python=$found',
        "done",
    ]
