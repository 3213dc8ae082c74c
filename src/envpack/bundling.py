"""The `bundle` command: a project in one file, which installs itself where there is no network.

It holds the sources, what `download` makes, interpreters, uv, and `envpack.bundled.install`, which
works there with these alone. A `.run` is a POSIX script with a tar.gz behind it, a zip for Windows
has `install.cmd` beside the tree.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from packaging.pylock import PackageDirectory

from envpack.archive import format_for, format_named
from envpack.bundle_tree import Entry, Tree
from envpack.bundle_zip import TREE, without_impossible
from envpack.downloading import download
from envpack.errors import OutputFault, ProjectFault, UsageError
from envpack.listener import Listener, Silent
from envpack.lock import LockFile, Scope, check_fresh, export, find_lock
from envpack.model import Format, Item, Member
from envpack.options import DEFAULT_MTIME
from envpack.output import check_output, written_aside
from envpack.parallel import Pool
from envpack.platforms import platforms_named
from envpack.sources import Sources, collected
from envpack.uv import Uv
from envpack.wheelhouse import read_record

RUN = ".run"
ZIP = ".zip"

_BLOCK = 1 << 20


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

    `output` is `<project>-<version>.run` if None, `.zip` if a platform is Windows; its suffix says
    what is written. `platforms`, `pythons`, `scope` and `python_archives` mean what they do for
    `download`. Without `python` or `uv` the far side must have its own. `everything` takes sources
    that git ignores, too. The project is only read. Raises EnvpackError in one of its classes;
    nothing is left then.
    """
    listener = listener or Silent()
    lock = find_lock(os.fspath(project))
    windows = _for_windows(platforms)
    name = lock.name or os.path.basename(lock.project)
    if output is None:
        suffix = ZIP if windows else RUN
        output = "-".join([name, *([lock.version] if lock.version else [])]) + suffix
    kind = _kind(output, windows=windows)
    check_output(output, kind, force=force)
    check_fresh(Uv.find(), lock)
    scope = scope or Scope(all_extras=True, all_groups=True, all_packages=True)
    with tempfile.TemporaryDirectory(prefix="envpack-", ignore_cleanup_errors=True) as holder:
        scratch = os.path.realpath(holder)
        sources = _sources(lock, scope, scratch, everything=everything)
        sources = without_impossible(sources) if windows else sources
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
        tree = Tree(lock, sources, folder, record, name, scope)
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


def _kind(output: str, *, windows: bool) -> Format:
    """Return the format that a file's name asks for, if it is one for these platforms."""
    kind = format_named("tar.gz") if output.endswith(RUN) else format_for(output)
    if kind.name == "zip" and not windows:
        raise UsageError(
            "a zip is for Windows, and no platform is", hint="a `.run` installs itself elsewhere"
        )
    if windows and kind.name != "zip":
        raise UsageError("a bundle for Windows is a zip", hint="name it so: `-o project.zip`")
    return kind


def _for_windows(platforms: Sequence[str]) -> bool:
    """Say whether one of the platforms is Windows; raises UsageError for `all`."""
    named = platforms_named(platforms)
    if named is None:
        raise UsageError("a bundle is for platforms by name")
    return any(platform.os == "windows" for platform in named)


def _sources(lock: LockFile, scope: Scope, scratch: str, *, everything: bool) -> Sources:
    """Collect the workspace, and the path dependencies outside of it."""
    locked = export(Uv.find(), lock, scope, scratch)
    paths = [
        os.path.normpath(os.path.join(locked.base, package.directory.path))
        for package in locked.pylock.packages
        if isinstance(package.directory, PackageDirectory)
    ]
    return collected([lock.root, *paths], everything=everything)


def _write(
    target: str,
    kind: Format,
    tree: Tree,
    entries: Sequence[Entry],
    mtime: int,
    pool: Pool,
    *,
    run: bool,
) -> None:
    """Write the archive, behind the script if it is to run."""
    zipped = kind.name == "zip"
    arcroot = "" if run else f"{TREE if zipped else tree.name}/"

    def items() -> Iterator[Item]:
        for name, data in (tree.openers() if zipped else {}).items():
            yield Member(name, len(data), False, (data,))
        for entry in entries:
            if entry.link is None or not zipped:  # the manifest's links are made over there
                yield entry.member(arcroot)

    if not run:
        kind.write(items(), target, level=None, mtime=mtime, pool=pool)
        return
    payload = f"{target}.payload"
    try:
        kind.write(items(), payload, level=None, mtime=mtime, pool=pool)
        with open(target, "xb") as out, open(payload, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            out.write(tree.stub.replace(b"0" * 64, digest.encode(), 1))
            file.seek(0)
            shutil.copyfileobj(file, out, _BLOCK)
            os.fchmod(out.fileno(), os.fstat(file.fileno()).st_mode | 0o111)
    except OSError as error:
        raise OutputFault(f"cannot write `{target}`: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(payload)
