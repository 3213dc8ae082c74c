"""Editable installs become real files: no `.pth` of the archive leads to the build machine.

Each is built as a wheel by uv, or its files are copied as its hooks map them. Which was done, and
why, stands in `Replacement.editable`.
"""

from __future__ import annotations

import enum
import os
import platform
from collections.abc import Callable, Sequence
from typing import NamedTuple

from packaging.version import InvalidVersion, Version

from envpack.distributions import Distribution
from envpack.editable_build import Installed, Project, build_wheel, generator, install_wheels
from envpack.editable_copy import copied_files, mapped_files
from envpack.editable_hooks import (
    Hooks,
    egg_links,
    hooks_of,
    outside,
    source_of,
)
from envpack.environment import Environment
from envpack.errors import EditableFault, EnvpackError, ToolFault
from envpack.model import Editable, EditableForm, Move
from envpack.strays import StrayPath, rewritten, stray_paths
from envpack.uv import Uv

_REFUSED = "install without them: `uv sync --no-editable`, or allow `--editable auto`"
_DEVELOP = "it is a `setup.py develop` install"
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "i686": "x86", "i386": "x86"}


class EditableMode(enum.Enum):
    """What becomes of editable installs.

    AUTO builds, and copies what cannot be built; BUILD and COPY do only that; REFUSE neither.
    """

    AUTO = "auto"
    BUILD = "build"
    COPY = "copy"
    REFUSE = "refuse"


class Replacement(NamedTuple):
    """Real files for one editable distribution, or for what a stray `.pth` leads to.

    `info` is the metadata directory's name in site-packages, "" for a stray. `files` are (name in
    the archive, path on disk), sorted, without RECORD; `inline` are (name, bytes) that are on no
    disk. `hooks` are the environment's own files, relative to its root, that stay out. `moves` and
    `needles` are the directories whose paths the new files may hold.
    """

    editable: Editable
    info: str
    files: tuple[tuple[str, str], ...]
    hooks: tuple[str, ...]
    moves: tuple[Move, ...] = ()
    needles: tuple[str, ...] = ()
    inline: tuple[tuple[str, bytes], ...] = ()


class _Subject(NamedTuple):
    """One editable install. `distribution` is None for a bare `.egg-link`.

    `linked` is the directory that an `.egg-link` names, and easy-install.pth with it.
    """

    project: Project
    hooks: Hooks
    old: tuple[str, ...]
    distribution: Distribution | None
    why_only_built: str
    linked: str = ""


class _Wheel(NamedTuple):
    """What building came to: a wheel's path, or the reason why there is none."""

    path: str = ""
    reason: str = ""


def resolve(
    environment: Environment,
    distributions: Sequence[Distribution],
    mode: EditableMode,
    scratch: str,
    uv: Callable[[], Uv],
    say: Callable[[str], None],
) -> tuple[Replacement, ...]:
    """Turn every editable distribution and stray `.pth` of the environment into real files.

    `scratch` is a temporary directory that must live as long as the files are read. `uv` is called
    only if something is built; `say` takes one line of progress. Raises EditableFault if `mode`
    cannot be kept, or if what an install points to is gone.
    """
    subjects = _subjects(environment, distributions)
    found = stray_paths(environment, distributions)
    strays = [stray for stray in found if stray.leads_to]
    names = [subject.project.name for subject in subjects] + [stray.name for stray in strays]
    if not names:
        return ()
    if mode is EditableMode.REFUSE:
        raise EditableFault(f"editable installs are refused: {_quoted(names)}", hint=_REFUSED)
    if mode is EditableMode.BUILD and strays:
        raise EditableFault(
            f"{_quoted([stray.name for stray in strays])} of no distribution cannot be built;"
            f" it leads to {_quoted([path for stray in strays for path in stray.leads_to])}",
            hint="allow its files to be copied: `--editable auto`",
        )
    # A temporary directory may be spelled through a link (macOS); tools write its real path.
    scratch = os.path.realpath(scratch)
    wheels = _wheels(environment, subjects, mode, scratch, uv, say)
    venv = os.path.join(scratch, "environment")
    paths = [wheel.path for wheel in wheels if wheel.path]
    built = install_wheels(uv(), paths, environment, venv) if paths else {}
    done = [
        _built(subject, built[subject.project.name], environment, venv, scratch)
        if wheel.path
        else _copied(subject, environment, wheel.reason, say)
        for subject, wheel in zip(subjects, wheels, strict=True)
    ]
    for stray in found:
        if not stray.leads_to:  # all its lines are `.egg-link`s, and one of those takes it along
            rest = _stray(stray, environment)
            at = next(i for i, subject in enumerate(subjects) if subject.linked in stray.pth.paths)
            hooks = tuple(sorted({*done[at].hooks, *rest.hooks}))
            done[at] = done[at]._replace(hooks=hooks, inline=(*done[at].inline, *rest.inline))
    return (*done, *(_stray(stray, environment) for stray in strays))


def _subjects(
    environment: Environment, distributions: Sequence[Distribution]
) -> tuple[_Subject, ...]:
    """List what is installed editable, sorted by name."""
    links = {link.name: link for link in egg_links(environment)}
    found = []
    for each in distributions:
        if not each.editable:
            continue
        link = links.pop(each.name, None)
        hooks = hooks_of(environment, each)
        folder = os.path.join(environment.root, environment.site_packages, each.info)
        metadata = os.path.join(folder, "METADATA")
        source = source_of(each) or (link.source if link else None)
        old = {row.name for row in each.rows() if row.name is not None}
        if os.path.isdir(folder):
            old |= {f"{environment.site_packages}/{each.info}/{n}" for n in os.listdir(folder)}
        only = f"its hook `{hooks.opaque}` works through code" if hooks.opaque else ""
        found.append(
            _Subject(
                project=Project(
                    name=each.name,
                    version=each.version,
                    source=source or "",
                    metadata=metadata if os.path.isfile(metadata) else "",
                ),
                hooks=hooks,
                old=tuple(sorted(old | ({link.file} if link else set()))),
                distribution=each,
                why_only_built=_DEVELOP if link else only,
                linked=link.code if link else "",
            )
        )
    found += [
        _Subject(
            project=Project(link.name, link.version, link.source),
            hooks=Hooks(),
            old=(link.file,),
            distribution=None,
            why_only_built=_DEVELOP,
            linked=link.code,
        )
        for link in links.values()
    ]
    return tuple(sorted(found, key=lambda subject: subject.project.name))


def _wheels(
    environment: Environment,
    subjects: Sequence[_Subject],
    mode: EditableMode,
    scratch: str,
    uv: Callable[[], Uv],
    say: Callable[[str], None],
) -> list[_Wheel]:
    """Build what `mode` wants built, one after the other."""
    interpreter = environment.interpreter
    python = os.path.join(interpreter.prefix, interpreter.executable)
    wheels = []
    for number, subject in enumerate(subjects):
        name = subject.project.name
        if mode is EditableMode.COPY:
            wheel = _Wheel()
        elif not runs_here(interpreter.target.os, interpreter.target.arch):
            wheel = _Wheel(reason=f"an interpreter for {interpreter.target} does not run here")
        else:
            say(f"building `{name}`, which is installed editable")
            try:
                path = build_wheel(
                    uv(), subject.project, python, os.path.join(scratch, f"build-{number}")
                )
                wheel = _Wheel(path)
            except ToolFault as fault:
                wheel = _Wheel(reason=str(fault))
                if mode is EditableMode.BUILD:
                    raise _not_built(subject, str(fault)) from fault
        if not wheel.path and (mode is EditableMode.BUILD or subject.why_only_built):
            raise _not_built(subject, wheel.reason)
        wheels.append(wheel)
    return wheels


def runs_here(system: str, architecture: str) -> bool:
    """Say whether this machine executes programs of that system and architecture."""
    machine = platform.machine().lower()
    here = "macos" if platform.system() == "Darwin" else platform.system().lower()
    return (system, architecture) == (here, _ARCHITECTURES.get(machine, machine))


def _not_built(subject: _Subject, reason: str) -> EnvpackError:
    name, only = subject.project.name, subject.why_only_built
    if only:
        text = f"`{name}` can only be packed by building it, because {only}"
        hint = (
            "make it build: `uv build --wheel`" if reason else "build it: `--editable auto`"
        ) + ", or install it without: `uv sync --no-editable`"
    else:
        text = f"the editable `{name}` cannot be built"
        hint = "allow its files to be copied: `--editable auto`"
    return EditableFault(f"{text}: {reason}" if reason else text, hint=hint)


def _built(
    subject: _Subject, wheel: Installed, environment: Environment, venv: str, scratch: str
) -> Replacement:
    project = subject.project
    old = set(subject.old)
    if subject.distribution is None:
        # `setup.py develop` writes its scripts without a RECORD.
        old |= {name for name in wheel.files if name.startswith("bin/")}
        old &= {name for name in old if os.path.isfile(os.path.join(environment.root, name))}
    note = _missing_note(subject, wheel, environment)
    if not _same_version(wheel.version, project.version):
        note = f"built as {wheel.version}, installed as {project.version or 'unknown'}" + (
            f"; {note}" if note else ""
        )
    return Replacement(
        editable=Editable(project.name, wheel.version, EditableForm.BUILT, wheel.backend, note),
        info=wheel.info,
        files=tuple(sorted(wheel.files.items())),
        hooks=tuple(sorted(old)),
        moves=(Move(venv, ""),),
        needles=tuple(sorted({project.source, os.path.realpath(project.source), scratch})),
    )


def _missing_note(subject: _Subject, wheel: Installed, environment: Environment) -> str:
    """Say which modules the editable install offers that the wheel leaves out, if any."""
    if subject.distribution is None or subject.hooks.opaque:
        return ""
    site = environment.site_packages + "/"
    tops = {name[len(site) :].split("/")[0] for name in wheel.files if name.startswith(site)}
    try:
        mapped = mapped_files(environment, subject.hooks, (False, set()), subject.project.name)
    except EnvpackError:
        return ""
    lost = [
        name[len(site) :]
        for name in mapped
        if name not in wheel.files
        and name[len(site) :].split("/")[0] in tops
        and not name.endswith((".c", ".cpp", ".h", ".pyx", ".pxd", ".pyc"))
    ]
    if not lost:
        return ""
    return f"the wheel leaves out {len(lost)} of the source's files, such as `{min(lost)}`"


def _copied(
    subject: _Subject, environment: Environment, reason: str, say: Callable[[str], None]
) -> Replacement:
    project, distribution = subject.project, subject.distribution
    assert distribution is not None
    if project.source and not os.path.isdir(project.source) and not subject.hooks.paths:
        raise EditableFault(
            f"`{project.name}` is installed editable from `{project.source}`, which was moved"
            " or deleted",
            hint=f"install it again: `uv sync --reinstall-package {project.name}`",
        )
    if reason:
        say(f"copying the files of `{project.name}`: {reason}")
    files = copied_files(environment, distribution, subject.hooks)
    folder = os.path.join(environment.root, environment.site_packages, distribution.info)
    backend = generator(folder)
    needles = {path for path in (project.source, *subject.hooks.paths) if path}
    needles |= {os.path.realpath(path) for path in needles}
    return Replacement(
        editable=Editable(project.name, project.version, EditableForm.COPIED, backend, reason),
        info=distribution.info,
        files=tuple(sorted(files.items())),
        hooks=tuple(sorted({*subject.old, *subject.hooks.files})),
        needles=tuple(sorted(needles)),
    )


def _stray(stray: StrayPath, environment: Environment) -> Replacement:
    """Copy what a stray `.pth` makes importable, and keep its harmless lines.

    What code puts on sys.path may come before site-packages, so it stays a folder of its own.
    """
    there = tuple(path for path in stray.paths if os.path.isdir(path))
    gone = [path for path in stray.paths if path not in there]
    site, nothing = environment.site_packages, (False, set[str]())
    files = mapped_files(environment, Hooks(paths=there), nothing, stray.name)
    places = {}
    for number, path in enumerate(dict.fromkeys(named.path for named in stray.code), 1):
        places[path] = place = f"share/envpack/{stray.name.removesuffix('.pth')}-{number}"
        mapped = mapped_files(environment, Hooks(paths=(path,)), nothing, stray.name)
        files |= {f"{place}{name.removeprefix(site)}": file for name, file in mapped.items()}
    inside = [path for path in stray.pth.paths if not outside(environment, [path])]
    folder = os.path.join(environment.root, site)
    lines = [*rewritten(stray, places, site), *(os.path.relpath(path, folder) for path in inside)]
    keep = any(line.strip() and not line.startswith("#") for line in lines)
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return Replacement(
        editable=Editable(
            name=stray.name,
            version="",
            form=EditableForm.COPIED,
            backend="",
            note=f"leads nowhere: {_quoted(gone)}" if gone else "",
        ),
        info="",
        files=tuple(sorted(files.items())),
        hooks=(stray.file,),
        needles=tuple(sorted({*stray.leads_to, *map(os.path.realpath, stray.leads_to)})),
        inline=((stray.file, text),) if keep else (),
    )


def _same_version(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
