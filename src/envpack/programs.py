"""Interpreters and uv itself in a download's folder: archives as uv fetches them, one executable.

`python/` is what uv calls a cache of Python downloads (UV_PYTHON_CACHE_DIR): the pristine archives
under uv's own names, from which `uv python install` works without a network. A company's own
archive keeps its name; uv installs it once it is told of it (`--python-downloads-json-url`).
`uv/` has one statically linked uv for each kind of machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envpack.errors import OutputFault, ProjectFault
from envpack.held import beside, replaced, scratch_folder
from envpack.platforms import Platform, Python, Target
from envpack.python_archive import SUFFIXES, PythonArchive
from envpack.uv import Uv, UvFault
from envpack.wheelhouse import PYTHONS, UVS, Origin, Record, Stored

PYTHON = "python"
UV = "uv"
"""Roles of files."""

_ARCHES = {"i686": "x86"}
_INSTALL = ("python", "install", "--no-bin")
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Brought:
    """Files of the folder, and how many of them were not there."""

    files: tuple[Stored, ...]
    fetched: int


def python_key(platform: Platform, python: Python) -> str:
    """Return uv's name of an interpreter, such as `cpython-3.12-linux-x86_64-gnu`."""
    variant = "+freethreaded" if python.free_threaded else ""
    arch = _ARCHES.get(platform.arch, platform.arch)
    return f"cpython-{python.version}{variant}-{platform.os}-{arch}-{platform.libc}"


def uv_triple(platform: Platform) -> str:
    """Return the platform whose uv runs there; on Linux the one that needs no C library."""
    if platform.os == "linux":
        return f"{platform.arch}-unknown-linux-musl"
    return f"{platform.arch}-{'apple-darwin' if platform.os == 'macos' else 'pc-windows-msvc'}"


def bring_pythons(
    uv: Uv,
    folder: str,
    targets: Iterable[Target],
    previous: Record | None,
    given: Sequence[PythonArchive] = (),
    *,
    place: str = PYTHONS,
    named_for_cache: bool = False,
) -> Brought:
    """Bring the interpreter of each target: a `given` one, else uv's; what is there stays.

    `place` is the folder's directory for them. Archives that are given keep their names, unless
    they are `named_for_cache`, as uv's own are. Raises ProjectFault for one that uv does not have.
    """
    found: dict[str, Stored] = {}
    fetched = 0
    for key in _keys(targets):
        if any(_is_of(key, file.name) for file in found.values()):
            continue
        archive = newest(key, given)
        stored = None if archive else _there(key, folder, previous)
        if archive is not None:
            stored, fresh = _copied(archive, folder, place, named_for_cache=named_for_cache)
            fetched += fresh
        elif stored is None:
            stored = _fetch_python(uv, folder, key, place)
            fetched += 1
        found[stored.path] = stored
    return Brought(tuple(found.values()), fetched)


def check_given(
    folder: str,
    targets: Iterable[Target],
    previous: Record | None,
    given: Sequence[PythonArchive],
) -> None:
    """Raise ProjectFault if a target's interpreter is neither given nor there."""
    lacking = [
        key
        for key in dict.fromkeys(_keys(targets))
        if newest(key, given) is None and _there(key, folder, previous) is None
    ]
    if lacking:
        names = ", ".join(f"`{key}`" for key in lacking)
        raise ProjectFault(
            f"no archive that was given is {names}",
            hint="with `--with-python` too, uv fetches what is not given",
        )


def bring_uvs(
    uv: Uv,
    folder: str,
    platforms: Iterable[Platform],
    previous: Record | None,
    *,
    place: str = UVS,
    version: str = "",
) -> Brought:
    """Let uv fetch itself, in its own version or another, for each platform."""
    version = version or uv.version()
    found: dict[str, Stored] = {}
    fetched = 0
    there = {file.name: file for file in _intact(folder, previous, UV) if file.version == version}
    for triple in dict.fromkeys(map(uv_triple, platforms)):
        name = f"uv-{triple}"
        stored = there.get(name)
        if stored is None:
            with unfinished(folder) as scratch:
                source = uv.static_uv(triple, scratch, version)
                suffix = ".exe" if source.endswith(".exe") else ""
                stored = _kept(folder, source, f"{place}/{name}{suffix}", name, version, UV)
                fetched += 1
        found[name] = stored
    return Brought(tuple(found.values()), fetched)


def install_python(
    uv: Uv, folder: str, record: Record, platform: Platform, request: str | None, requires: str
) -> str | None:
    """Install the folder's interpreter into uv's own directory; None if it has none that serves.

    `request` is a version such as "3.12", `requires` the project's `requires-python`. Returns the
    version.
    """
    try:
        allowed = SpecifierSet(requires)
    except ValueError:
        allowed = SpecifierSet()
    fitting = [
        (Version(file.version), file)
        for file in _intact(folder, record, PYTHON)
        if _is_of(python_key(platform, Python(file.version)), file.name)
        and (request is None or _begins(file.version, request))
        and allowed.contains(file.version, prereleases=True)
    ]
    if not fitting:
        return None
    _, best = max(fitting, key=lambda pair: pair[0])
    what, args = f"install Python {best.version}", [*_INSTALL, "--offline", best.name]
    env = {"UV_PYTHON_DOWNLOADS": "manual"}
    if not best.origin.path:
        place = os.path.dirname(os.path.join(folder, *best.path.split("/")))
        uv.run(what, args, {**env, "UV_PYTHON_CACHE_DIR": place})
        return best.version
    with scratch_folder() as scratch:
        # Offline, uv looks for an archive only in its cache, by the hash and the URL's last part.
        archive = os.path.join(folder, *best.path.split("/"))
        os.symlink(archive, os.path.join(scratch, cached_as(best)))
        listed = Path(scratch, "downloads.json")
        listed.write_text(downloads_json(best), encoding="utf-8")
        env["UV_PYTHON_CACHE_DIR"] = scratch
        uv.run(what, [*args, "--python-downloads-json-url", listed.as_uri()], env)
    return best.version


def _suffix(path: str) -> str:
    return next(suffix for suffix in SUFFIXES if path.endswith(suffix))


def serves(file: Stored, target: Target) -> bool:
    """Say whether a file of the folder is a target's interpreter, or its uv."""
    if file.role == UV:
        return file.name == f"uv-{uv_triple(target.platform)}"
    return file.role == PYTHON and _is_of(python_key(target.platform, target.python), file.name)


def cached_as(file: Stored) -> str:
    """Return the name of an archive of the user's in uv's cache: by its hash and a URL's end."""
    return f"{file.sha256[:9]}-python{_suffix(file.path)}"


def downloads_json(file: Stored) -> str:
    """Return uv's list of downloads with one archive alone, which lies in a cache by itself."""
    return json.dumps({file.name: _download(file, f"python{_suffix(file.path)}")})


def downloads_beside(files: Iterable[Stored]) -> str:
    """Return uv's list of downloads with archives that have the names of its cache."""
    listed = {file.name: _download(file, file.file.partition("-")[2]) for file in files}
    return json.dumps(listed, indent=1) + "\n"


def _download(file: Stored, name: str) -> dict[str, object]:
    """Return one entry of uv's list of downloads.

    Source: `crates/uv-python/download-metadata.json` in uv's repository.
    """
    implementation, version, system, arch, libc = file.name.split("-")
    number, _, variant = version.partition("+")
    parsed = Version(number)
    return {
        "name": implementation,
        "arch": {"family": arch, "variant": None},
        "os": "darwin" if system == "macos" else system,
        "libc": libc,
        "major": parsed.major,
        "minor": parsed.minor,
        "patch": parsed.micro,
        "prerelease": "".join(map(str, parsed.pre or ())),
        "url": f"file:///{name}",
        "sha256": file.sha256,
        "variant": variant or None,
        "build": None,
    }


def _keys(targets: Iterable[Target]) -> list[str]:
    return [python_key(target.platform, target.python) for target in targets]


def newest(key: str, given: Sequence[PythonArchive]) -> PythonArchive | None:
    """Return the newest of the archives that are the interpreter `key`, None if none is."""
    fitting = [archive for archive in given if _is_of(key, archive.key)]
    return max(fitting, key=lambda archive: Version(archive.version), default=None)


def _there(key: str, folder: str, previous: Record | None) -> Stored | None:
    """Return what an earlier run brought."""
    there = _intact(folder, previous, PYTHON)
    return next((file for file in there if _is_of(key, file.name)), None)


def _copied(
    archive: PythonArchive, folder: str, place: str, *, named_for_cache: bool
) -> tuple[Stored, bool]:
    """Copy an archive that was given into the folder, and say whether it was not there yet."""
    given = name = os.path.basename(archive.path)
    if named_for_cache:
        name = f"{sha256_of(archive.path)[:9]}-{_UNUSUAL.sub('-', given)}"
    path = os.path.join(folder, *place.split("/"), name)
    fresh = not _same(path, archive.path)
    if fresh:
        copy_file(archive.path, path)
    stored = Stored(
        path=f"{place}/{name}",
        name=archive.key,
        version=archive.version,
        sha256=sha256_of(path),
        size=os.path.getsize(path),
        origin=Origin(path=given),
        role=PYTHON,
    )
    return stored, fresh


def copy_file(source: str, path: str) -> None:
    """Copy a file to its place in one step; raises OutputFault."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with replaced(path) as new:
            shutil.copyfile(source, new)
    except OSError as error:
        raise OutputFault(f"cannot write `{path}`: {error.strerror}") from error


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other) or sha256_of(one) == sha256_of(other)
    except OSError:
        return False


def sha256_of(path: str) -> str:
    """Return the sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_python(uv: Uv, folder: str, key: str, place: str) -> Stored:
    with unfinished(folder) as scratch:
        cache, installed = os.path.join(scratch, "cache"), os.path.join(scratch, "installed")
        env = {"UV_PYTHON_CACHE_DIR": cache, "UV_PYTHON_DOWNLOADS": "manual"}
        try:
            uv.run(f"fetch {key}", [*_INSTALL, "--install-dir", installed, key], env)
        except UvFault as fault:
            raise ProjectFault(
                f"uv cannot fetch `{key}`: {fault.reason}",
                hint="UV_PYTHON_INSTALL_MIRROR names a mirror of uv's Pythons, and"
                " `--python-archive` takes an archive that is here",
            ) from fault
        archives = os.listdir(cache) if os.path.isdir(cache) else []
        names = [
            name
            for name in os.listdir(installed)
            if name.startswith("cpython-") and not os.path.islink(os.path.join(installed, name))
        ]
        if len(archives) != 1 or len(names) != 1:
            raise ProjectFault(
                f"uv keeps no archive of `{key}`", hint="a newer uv does: `uv self update`"
            )
        version = names[0].split("-")[1].partition("+")[0]
        source = os.path.join(cache, archives[0])
        return _kept(folder, source, f"{place}/{archives[0]}", names[0], version, PYTHON)


def _kept(folder: str, source: str, path: str, name: str, version: str, role: str) -> Stored:
    """Move a finished file to its place in the folder."""
    digest = sha256_of(source)
    place = os.path.join(folder, *path.split("/"))
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.replace(source, place)
        size = os.path.getsize(place)
    except OSError as error:
        raise OutputFault(f"cannot write `{place}`: {error.strerror}") from error
    return Stored(path, name, version, digest, size, role=role)


@contextmanager
def unfinished(folder: str) -> Iterator[str]:
    """Give an empty folder on the same file system, for this run alone."""
    with ExitStack() as stack:
        try:
            os.makedirs(folder, exist_ok=True)
            place = stack.enter_context(beside(os.path.join(folder, "programs")))
            os.mkdir(place)
        except OSError as error:
            raise OutputFault(f"cannot write into `{folder}`: {error.strerror}") from error
        yield place


def _intact(folder: str, record: Record | None, role: str) -> Sequence[Stored]:
    """Return the recorded files of a role that are what was downloaded."""
    found = []
    for file in record.files if record else ():
        if file.role != role:
            continue
        with suppress(OSError):
            if sha256_of(os.path.join(folder, *file.path.split("/"))) == file.sha256:
                found.append(file)
    return found


def _is_of(key: str, name: str) -> bool:
    """Say whether an interpreter's full name is one that `key`, with fewer places, asks for."""
    asked, found = key.split("-", 2), name.split("-", 2)
    if len(found) != 3 or asked[2] != found[2]:
        return False
    wanted, _, variant = asked[1].partition("+")
    version, _, other = found[1].partition("+")
    return variant == other and _begins(version, wanted)


def _begins(version: str, request: str) -> bool:
    """Say whether a version such as "3.12.4" is one of the request "3.12"."""
    try:
        wanted = Version(request).release
    except InvalidVersion:
        return False
    return Version(version).release[: len(wanted)] == wanted
