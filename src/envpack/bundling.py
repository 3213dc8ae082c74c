"""The `bundle` command: a project in one file, which installs itself where there is no network.

It holds the sources, what `download` makes, interpreters, uv, and `envpack.bundled.install`, which
works there with these alone. A `.run` is a POSIX script with a tar.gz behind it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from packaging.pylock import PackageDirectory

from envpack.archive import format_for, format_named
from envpack.downloading import download
from envpack.errors import OutputFault, ProjectFault, UsageError
from envpack.listener import Listener, Silent
from envpack.lock import LockFile, Scope, check_fresh, export, find_lock
from envpack.model import Format, Item, Link, LinkKind, Member
from envpack.options import DEFAULT_MTIME
from envpack.output import check_output, written_aside
from envpack.parallel import Pool
from envpack.platforms import Target, platforms_named, pythons_named
from envpack.programs import PYTHON, UV, cached_as, downloads_json, serves
from envpack.settings import NAME as SETTINGS
from envpack.settings import SAVED, configure
from envpack.sources import Sources, collected
from envpack.uv import Uv
from envpack.wheelhouse import RECORD, Record, Stored, read_record

SCHEMA = "envpack.bundle/1"
OWN = ".envpack"
MANIFEST = f"{OWN}/bundle.json"
RUN = ".run"

_END = "__PAYLOAD__"
_BLOCK = 1 << 20
_SYSTEMS = {"linux": "Linux", "macos": "Darwin"}
_MACHINES = {("macos", "aarch64"): "arm64"}
_LOGIN = re.compile(r"(?<=//)[^/\s\"'@]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleReport:
    """What is in a bundle, and what stayed home, each with its reason. Sizes are in bytes."""

    output: str
    project: str
    platforms: tuple[str, ...]
    sources: int
    packages: int
    files: int
    size: int
    output_size: int
    left_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document of the schema `envpack.bundle-report/1`."""
        return {
            "schema": "envpack.bundle-report/1",
            "output": self.output,
            "project": self.project,
            "platforms": list(self.platforms),
            "sources": self.sources,
            "packages": self.packages,
            "files": self.files,
            "size": self.size,
            "output_size": self.output_size,
            "left_out": [{"path": path, "why": why} for path, why in self.left_out],
            "warnings": list(self.warnings),
        }


def bundle(
    output: str | None = None,
    *,
    project: str | os.PathLike[str] = ".",
    platforms: Sequence[str] = ("current",),
    pythons: Sequence[str] = (),
    scope: Scope | None = None,
    python: bool = True,
    python_archives: Sequence[str | os.PathLike[str]] = (),
    uv: bool = True,
    everything: bool = False,
    force: bool = False,
    jobs: int | None = None,
    mtime: int = DEFAULT_MTIME,
    listener: Listener | None = None,
) -> BundleReport:
    """Put a project into one file, and return a report.

    `output` is `<project>-<version>.run` if None; its suffix says what is written. `platforms`,
    `pythons`, `scope` and `python_archives` mean what they do for `download`. Without `python` or
    `uv` the far side must have its own. `everything` takes sources that git ignores, too. The
    project is only read. Raises EnvpackError in one of its classes; nothing is left then.
    """
    listener = listener or Silent()
    lock = find_lock(os.fspath(project))
    named = platforms_named(platforms)
    if named is None or any(platform.os == "windows" for platform in named):
        raise UsageError("a bundle is for platforms by name, of Linux or macOS")
    name = lock.name or os.path.basename(lock.project)
    output = output or "-".join([name, *([lock.version] if lock.version else [])]) + RUN
    kind = format_named("tar.gz") if output.endswith(RUN) else format_for(output)
    if kind.name == "zip":
        raise UsageError("a bundle is a `.run`, or a tar archive")
    check_output(output, kind, force=force)
    check_fresh(Uv.find(), lock)
    scope = scope or Scope(all_extras=True, all_groups=True, all_packages=True)
    with tempfile.TemporaryDirectory(prefix="envpack-", ignore_cleanup_errors=True) as holder:
        scratch = os.path.realpath(holder)
        sources = _sources(lock, scope, scratch, everything=everything)
        folder = os.path.join(scratch, "folder")
        done = download(
            folder,
            project=lock.project,
            platforms=platforms,
            pythons=pythons,
            scope=scope,
            build_deps=True,
            with_python=python and not python_archives,
            python_archives=python_archives,
            with_uv=uv,
            jobs=jobs,
            listener=listener,
        )
        if done.lacking:
            lack = done.lacking[0]
            raise ProjectFault(f"`{lack.name}` {lack.version} cannot be bundled: {lack.why}")
        record = read_record(folder)
        assert record is not None
        tree = _Tree(lock, sources, folder, record, name, scope)
        tree.settle(scratch)
        entries = tree.entries()
        listener.say("Writing the bundle")
        with written_aside(output, kind, force=force) as temporary, Pool(jobs) as pool:
            _write(temporary, kind, tree, entries, mtime, pool, run=output.endswith(RUN))
        return BundleReport(
            output=os.path.abspath(output),
            project=name,
            platforms=tuple(dict.fromkeys(str(target.platform) for target in tree.targets)),
            sources=len(sources.files) + len(sources.links),
            packages=len({file.name for file in record.files if not file.role}),
            files=len(entries),
            size=sum(entry.size for entry in entries),
            output_size=os.path.getsize(output),
            left_out=sources.left_out,
            warnings=(*done.warnings, *tree.warnings),
        )


def _sources(lock: LockFile, scope: Scope, scratch: str, *, everything: bool) -> Sources:
    """Collect the workspace, and the path dependencies outside of it."""
    locked = export(Uv.find(), lock, scope, scratch)
    paths = [
        os.path.normpath(os.path.join(locked.base, package.directory.path))
        for package in locked.pylock.packages
        if isinstance(package.directory, PackageDirectory)
    ]
    return collected([lock.root, *paths], everything=everything)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of the bundle: `name` below DIR, `path` here, or a link's text."""

    name: str
    path: str
    size: int
    executable: bool
    link: str | None = None

    def member(self, arcroot: str) -> Member:
        """Return it as a format takes it."""
        if self.link is not None:
            link = Link(LinkKind.SYMBOLIC, self.link)
            return Member(arcroot + self.name, 0, False, link=link)
        return Member(arcroot + self.name, self.size, self.executable, _blocks(self.path))

    def told(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        if self.link is not None:
            return {"link": self.link}
        with open(self.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"sha256": digest, "size": self.size}


class _Tree:
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
        self.manifest: dict[str, Any] = {}

    def settle(self, scratch: str) -> None:
        """Write what is the bundle's own: settings, installer, lists of interpreters."""
        self._settings(os.path.join(scratch, "settings"))
        installer = resources.files("envpack.bundled").joinpath("install.py").read_bytes()
        self._make(scratch, f"{OWN}/install.py", installer)
        targets = [self._target(target) for target in self.targets]
        entries = self._entries()
        self.manifest = {
            "schema": SCHEMA,
            "project": self.name,
            "version": self.lock.version,
            "root": self.root,
            "directory": self.directory,
            "sync": self.scope.arguments(self.lock.name),
            "targets": targets,
            "files": {entry.name: entry.told() for entry in entries},
        }
        text = json.dumps(self.manifest, indent=1, ensure_ascii=False) + "\n"
        self._make(scratch, MANIFEST, text.encode())

    def entries(self) -> tuple[_Entry, ...]:
        """Return all files, the bundle's own first, as the far side needs them first."""
        return self._entries()

    def _make(self, scratch: str, name: str, data: bytes) -> None:
        path = os.path.join(scratch, "made", *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_bytes(data)
        self._made[name] = path

    def _settings(self, scratch: str) -> None:
        """Make the uv.toml by which uv stays offline, free of credentials."""
        root = os.path.join(scratch, *self.root.split("/")) if self.root != "." else scratch
        os.makedirs(root)
        for name in ("pyproject.toml", SETTINGS):
            path = Path(self.lock.root, name)
            if path.is_file():
                text, logins = _LOGIN.subn("", path.read_text("utf-8"))
                Path(root, name).write_text(text, encoding="utf-8")
                if logins and name == SETTINGS:
                    self.warnings.append("the logins in URLs of uv.toml stay home")
                elif logins:
                    self.warnings.append("pyproject.toml travels with the logins in its URLs")
        configure(root, os.path.join(scratch, OWN, "wheels"), os.path.join(root, "pyproject.toml"))
        for name in (SETTINGS, SAVED):
            if os.path.isfile(os.path.join(root, name)):
                made = f"{self.root}/{name}".removeprefix("./")
                self._made[made] = os.path.join(root, name)

    def _target(self, target: Target) -> dict[str, Any]:
        """Return what the far side of one platform has to know."""
        platform = target.platform
        told: dict[str, Any] = {
            "platform": str(platform),
            "system": platform.os,
            "machine": platform.arch,
            "python": target.python.minor,
            "marks": {
                file.name: file.origin.direct_url
                for file in self.record.files
                if not file.role and file.origin.direct_url
            },
        }
        if archive := self._program(PYTHON, target):
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

    def _entries(self) -> tuple[_Entry, ...]:
        found: dict[str, _Entry] = {}
        for name in self.sources.files:
            found[name] = _entry(name, os.path.join(self.sources.root, *name.split("/")))
        for name, text in self.sources.links:
            found[name] = _Entry(name, "", 0, False, text)
        programs = {file.path for file in self.record.files if file.role == UV}
        names = [RECORD, "pylock.toml", "requirements.txt", "build-requirements.txt"]
        names += [file.path for file in self.record.files]
        for name in names:
            path = os.path.join(self.folder, *name.split("/"))
            if os.path.isfile(path):
                found[f"{OWN}/{name}"] = _entry(f"{OWN}/{name}", path, name in programs)
        for name, path in self._made.items():
            found[name] = _entry(name, path)
        order = sorted(found, key=lambda name: (not name.startswith(f"{OWN}/"), name))
        return tuple(found[name] for name in order)


def _entry(name: str, path: str, executable: bool = False) -> _Entry:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ProjectFault(f"cannot read `{path}`: {error.strerror}") from error
    return _Entry(name, path, status.st_size, executable or bool(status.st_mode & 0o100))


def _blocks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from iter(lambda: file.read(_BLOCK), b"")


def _write(
    target: str,
    kind: Format,
    tree: _Tree,
    entries: Sequence[_Entry],
    mtime: int,
    pool: Pool,
    *,
    run: bool,
) -> None:
    """Write the archive, behind the script if it is to run."""
    arcroot = "" if run else f"{tree.name}/"
    script = stub(tree)

    def items() -> Iterator[Item]:
        for entry in entries:
            yield entry.member(arcroot)

    if not run:
        kind.write(items(), target, level=None, mtime=mtime, pool=pool)
        return
    payload = f"{target}.payload"
    try:
        kind.write(items(), payload, level=None, mtime=mtime, pool=pool)
        with open(target, "xb") as out, open(payload, "rb") as file:
            out.write(script.encode())
            shutil.copyfileobj(file, out, _BLOCK)
            os.fchmod(out.fileno(), os.fstat(file.fileno()).st_mode | 0o111)
    except OSError as error:
        raise OutputFault(f"cannot write `{target}`: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(payload)


def stub(tree: _Tree) -> str:
    """Return the script before the payload."""
    text = resources.files("envpack.bundled").joinpath("install.sh").read_text("utf-8")
    version = tree.lock.version
    platforms = ", ".join(dict.fromkeys(target["platform"] for target in tree.manifest["targets"]))
    machines, pythons = [], ["case $machine in"]
    for target in tree.manifest["targets"]:
        system = _SYSTEMS[target["system"]]
        machine = _MACHINES.get((target["system"], target["machine"]), target["machine"])
        words = f"'{system} {machine}'"
        if words in machines:
            continue
        machines.append(words)
        pythons.append(f"    {words})")
        pythons += [f"        {line}" for line in _finds_python(target)]
        pythons.append("        ;;")
    pythons.append("    esac")
    filled = {
        "@TITLE@": f"{tree.name} {version}" if version else tree.name,
        "@PLATFORMS@": platforms,
        "@MACHINES@": " | ".join(machines),
        "@PYTHON@": "\n".join(pythons),
        "@END@": _END,
    }
    for mark, value in filled.items():
        text = text.replace(mark, value)
    return text


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
