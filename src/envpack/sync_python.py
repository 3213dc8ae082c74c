"""Which Python a project's environment gets from a download's folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envpack.errors import ProjectFault
from envpack.lock import LockFile, pinned_python, project_python, requires_python
from envpack.platforms import Platform, Python, current, platforms_named, pythons_named
from envpack.programs import install_python
from envpack.uv import Uv, UvFault
from envpack.wheelhouse import Record


class Served(NamedTuple):
    """A Python that is here now: its full version, and what uv is asked for to get it.

    `request` is None where uv takes it for the project by itself.
    """

    version: str
    request: str | None


def python_for(
    uv: Uv,
    lock: LockFile,
    folder: str,
    record: Record,
    request: str | None,
    say: Callable[[str], None],
) -> Served:
    """Return the interpreter that the environment has or will have.

    It is what was asked for, by `request` or a .python-version; else the one that uv would take, if
    the folder was filled for it; else one that the folder was filled for. If there is none on this
    machine, that of the folder goes where uv has its own. Raises ProjectFault.
    """
    try:
        found = _found(uv, request) if request else project_python(uv, lock)
    except UvFault as fault:
        installed = _installed(uv, lock, folder, record, request or pinned_python(lock), say)
        if installed is None:
            raise ProjectFault(
                f"there is no Python here for the project, and none in `{folder}`"
                f" (uv: {fault.reason})",
                hint="`envpack download --with-python` brings one",
            ) from fault
        return Served(_found(uv, request or installed), request or installed)
    covered = _covered(record, current())
    if request or pinned_python(lock) or any(_is_a(found, python) for python in covered):
        return Served(found, request)
    for python in _allowed(covered, lock):
        word = str(python)
        try:
            return Served(_found(uv, word), word)
        except UvFault:
            if _installed(uv, lock, folder, record, word, say):
                return Served(_found(uv, word), word)
    return Served(found, request)


def _found(uv: Uv, request: str) -> str:
    args = ["python", "find", "--show-version", "--no-project", "--system", request]
    return uv.run(f"find Python {request}", args).strip()


def _installed(
    uv: Uv,
    lock: LockFile,
    folder: str,
    record: Record,
    request: str | None,
    say: Callable[[str], None],
) -> str | None:
    """Install the folder's interpreter if it has one that serves, and return its version."""
    version = install_python(uv, folder, record, current(), request, requires_python(lock))
    if version is not None:
        say(f"Installed Python {version} from {folder}")
    return version


def _covered(record: Record, here: Platform) -> tuple[Python, ...]:
    """Return the Pythons for which the folder has what this machine wants."""
    found = dict.fromkeys(pythons_named(record.about["every_platform"]))
    for platform_word, python_word in record.about["targets"]:
        for platform in platforms_named([platform_word]) or ():
            fits = platform._replace(version=here.version) == here
            if fits and platform.version <= here.version:
                found.update(dict.fromkeys(pythons_named([python_word])))
    return tuple(found)


def _allowed(pythons: tuple[Python, ...], lock: LockFile) -> list[Python]:
    """Return those that the project allows in some patch version, the newest first."""
    try:
        specifier = SpecifierSet(requires_python(lock))
    except InvalidSpecifier:
        specifier = SpecifierSet()
    allowed = [
        python
        for python in pythons
        if any(specifier.contains(full, prereleases=True) for full in python.full_versions)
    ]
    return sorted(allowed, key=lambda python: python.release, reverse=True)


def _is_a(version: str, python: Python) -> bool:
    """Say whether a version such as "3.12.4" is one of a Python such as "3.12"."""
    return version == python.version or version.startswith(f"{python.version}.")
