"""The `bundle` command: a project in one file, which installs itself where there is no network.

It holds the sources, what `download` makes, interpreters, uv, and `envpack.bundled.install`, which
works there with these alone. A `.run` is a POSIX script with a tar.gz behind it, a zip for Windows
has `install.cmd` beside the tree.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from packaging.pylock import PackageDirectory

from envpack.archive import format_for, format_named
from envpack.bundle_preview import BundlePreview, rows_of, targets_for
from envpack.bundle_tree import Entry, Tree
from envpack.bundle_zip import TREE, without_impossible
from envpack.downloading import download
from envpack.errors import OutputFault, ProjectFault, UsageError
from envpack.held import scratch_folder
from envpack.listener import Listener, Silent
from envpack.lock import Locked, LockFile, Scope, check_fresh, export, find_lock
from envpack.model import Format, Item, Member
from envpack.options import DEFAULT_MTIME
from envpack.output import check_output, written_aside
from envpack.parallel import Pool
from envpack.platforms import platforms_named
from envpack.python_archive import archives_in
from envpack.sources import Sources, collected, common_root
from envpack.uv import Uv
from envpack.wheelhouse import read_record

RUN = ".run"
ZIP = ".zip"
GIT, ALL = "git", "all"
EVERYTHING = Scope(all_extras=True, all_groups=True, all_packages=True)

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleReport:
    """What is in a bundle, and what stayed home, each with its reason. Sizes are in bytes.

    `glibc` is the oldest that the far side may have, "" if it does not matter.
    """

    output: str
    project: str
    platforms: tuple[str, ...]
    sources: int
    packages: int
    files: int
    size: int
    output_size: int
    seconds: float
    glibc: str
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
            "seconds": round(self.seconds, 2),
            "glibc": self.glibc,
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
    source: Sequence[str] = (GIT,),
    include: Sequence[str] = (),
    with_git: bool = False,
    force: bool = False,
    jobs: int | None = None,
    mtime: int = DEFAULT_MTIME,
    listener: Listener | None = None,
) -> BundleReport:
    """Put a project into one file, and return a report.

    `output` is `<project>-<version>.run` if None, `.zip` if a platform is Windows; its suffix says
    what is written. `platforms`, `pythons`, `scope` and `python_archives` mean what they do for
    `download`. Without `python` or `uv` the far side must have its own. `source` is GIT or ALL, or
    git's pathspecs, or empty for no sources: then the far side has them. `include` has globs of
    sources that may hold secrets and travel all the same, and `with_git` adds the repositories of
    git dependencies. Raises EnvpackError in one of its classes; nothing is left then.
    """
    listener, begin = listener or Silent(), time.perf_counter()
    lock = find_lock(os.fspath(project))
    windows = _for_windows(platforms)
    name, output, kind = _named(lock, output, windows=windows)
    check_output(output, kind, force=force)
    check_fresh(Uv.find(), lock)
    scope = scope or EVERYTHING
    with scratch_folder() as scratch:
        locked = export(Uv.find(), lock, scope, scratch)
        sources = _sources(lock, locked, source, include, windows=windows)
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
        for lack in done.lacking:
            raise ProjectFault(f"`{lack.name}` {lack.version} cannot be bundled: {lack.why}")
        record = read_record(folder)
        assert record is not None
        tree = Tree(lock, sources, folder, record, name, scope)
        tree.join(() if source else _must_be_there(lock, locked))
        if with_git:
            listener.say("Fetching repositories")
            tree.add_git(locked.pylock.packages, scratch)
        tree.settle(scratch)
        entries = tree.entries()
        listener.say("Writing the bundle")
        with written_aside(output, kind, force=force) as temporary, Pool(jobs) as pool:
            _write(temporary, kind, tree, entries, mtime, pool, run=output.endswith(RUN))
        warnings = (*done.warnings, *tree.warnings, *sources.warnings)
        return _report(output, tree, sources, entries, warnings, time.perf_counter() - begin)


def _report(
    output: str,
    tree: Tree,
    sources: Sources,
    entries: Sequence[Entry],
    warnings: tuple[str, ...],
    seconds: float,
) -> BundleReport:
    return BundleReport(
        output=os.path.abspath(output),
        project=tree.name,
        platforms=tuple(dict.fromkeys(str(target.platform) for target in tree.targets)),
        sources=len(sources.files) + len(sources.links),
        packages=tree.packages,
        files=len(entries),
        size=sum(entry.size for entry in entries),
        output_size=os.path.getsize(output),
        seconds=seconds,
        glibc=tree.glibc(),
        left_out=sources.left_out,
        warnings=warnings,
    )


def preview(
    output: str | None = None,
    *,
    project: str | os.PathLike[str] = ".",
    platforms: Sequence[str] = ("current",),
    pythons: Sequence[str] = (),
    scope: Scope | None = None,
    python: bool = True,
    python_archives: Sequence[str | os.PathLike[str]] = (),
    uv: bool = True,
    source: Sequence[str] = (GIT,),
    include: Sequence[str] = (),
    with_git: bool = False,
) -> BundlePreview:
    """Return what `bundle` would put into the file; nothing is fetched, built or written."""
    lock = find_lock(os.fspath(project))
    windows = _for_windows(platforms)
    name, output, _ = _named(lock, output, windows=windows)
    program = Uv.find()
    check_fresh(program, lock)
    given = archives_in([os.fspath(path) for path in python_archives])
    targets = targets_for(program, lock, platforms, pythons)
    with scratch_folder() as scratch:
        locked = export(program, lock, scope or EVERYTHING, scratch)
        sources = _sources(lock, locked, source, include, windows=windows)
        rows = rows_of(locked, targets, sources, given, python=python, uv=uv, with_git=with_git)
    return BundlePreview(
        output=os.path.abspath(output),
        project=name,
        platforms=tuple(dict.fromkeys(str(target.platform) for target in targets)),
        rows=rows,
        left_out=sources.left_out,
    )


def _named(lock: LockFile, output: str | None, *, windows: bool) -> tuple[str, str, Format]:
    """Return the project's name, the output and its format."""
    name = lock.name or os.path.basename(lock.project)
    suffix = ZIP if windows else RUN
    output = output or "-".join([name, *([lock.version] if lock.version else [])]) + suffix
    return name, output, _kind(output, windows=windows)


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


def _folders(lock: LockFile, locked: Locked) -> list[str]:
    """Return the workspace, and the path dependencies in it and outside of it."""
    paths = [
        os.path.normpath(os.path.join(locked.base, package.directory.path))
        for package in locked.pylock.packages
        if isinstance(package.directory, PackageDirectory)
    ]
    return [lock.root, *paths]


def _must_be_there(lock: LockFile, locked: Locked) -> list[str]:
    """Return the files without which uv does not know the project."""
    names = ("pyproject.toml", "uv.lock", "uv.toml", ".python-version")
    paths = [os.path.join(lock.root, name) for name in names]
    paths += [os.path.join(folder, "pyproject.toml") for folder in _folders(lock, locked)]
    paths.append(os.path.join(lock.project, "pyproject.toml"))
    return sorted({path for path in paths if os.path.isfile(path)})


def _sources(
    lock: LockFile,
    locked: Locked,
    source: Sequence[str],
    include: Sequence[str],
    *,
    windows: bool,
) -> Sources:
    """Collect what travels of the workspace, and of path dependencies outside of it."""
    folders = _folders(lock, locked)
    patterns = [word for word in source if word not in {GIT, ALL}]
    if ALL in source and len(source) > 1:
        raise UsageError(f"`{ALL}` is every source, so nothing goes with it")
    if not source:
        return Sources(common_root(folders), (), (), ())
    always = _must_be_there(lock, locked) if patterns else []
    found = collected(
        folders, everything=ALL in source, patterns=patterns, always=always, include=include
    )
    return without_impossible(found) if windows else found


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
            mode = os.fstat(out.fileno()).st_mode
            os.fchmod(out.fileno(), mode | (mode & 0o444) >> 2)  # whoever reads it may run it
    except OSError as error:
        raise OutputFault(f"cannot write `{target}`: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(payload)
