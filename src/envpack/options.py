"""What a pack can be told, checked before anything is looked at."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from envpack.archive import format_for, format_named, format_of
from envpack.editable import EditableMode
from envpack.errors import UsageError
from envpack.links import is_library
from envpack.model import Entry, Format, LinkKind
from envpack.native_host import BundleLibs
from envpack.presets import PRESETS, Preset
from envpack.select import Filter

_E = TypeVar("_E", bound=enum.Enum)

DEFAULT_MTIME = 315532800
"""1980-01-01, the first instant that every format can hold (zip begins there)."""

_AFTER_TAR = 8**11
"""ustar has eleven octal digits for seconds since the epoch, up to the year 2242."""

LARGE_ALIAS = 1024 * 1024
"""From this size on an alias is stored as a hard link where the format has them, a library always:
the loader knows a file by its inode, and has it once whatever the name."""


class LinkMode(enum.Enum):
    """How further names of one file are stored."""

    AUTO = "auto"
    COPY = "copy"
    HARD = "hard"
    SYMLINK = "symlink"


class Options(NamedTuple):
    """Consistent options of one pack.

    `output` is None for a name made from the project. `link(entry, size)` says how an alias to
    `size` bytes is stored, None for a copy. `starter` is None where a Python goes in, else the path
    of the Python to look for first, "" for none. `must_compile` says
    that `compile` was asked for by name, and not by the destination alone.
    """

    kind: Format
    output: str | None
    level: int | None
    jobs: int | None
    arcroot: str
    editable: EditableMode
    link: Callable[[Entry, int], LinkKind | None]
    filters: tuple[Filter, ...]
    preset: Preset | None
    bundle: BundleLibs
    with_uv: bool
    compile: bool
    must_compile: bool
    mtime: int
    starter: str | None


def checked(
    *,
    format: str | None,  # noqa: A002 - the option's name
    output: str | None,
    compress_level: int | None,
    jobs: int | None,
    arcroot: str,
    editable: EditableMode | str,
    links: LinkMode | str,
    filters: Sequence[Filter],
    destination: str | None,
    bundle_libs: BundleLibs | str,
    with_uv: bool,
    compile: bool | None,  # noqa: A002 - the option's name
    mtime: int,
    python: str | None = None,
    no_python: bool = False,
    target_python: str | None = None,
) -> Options:
    """Return the options that these words mean.

    Raises UsageError for words that are unknown or contradict each other.
    """
    kind = _chosen_format(format, output)
    bundle = _enum(BundleLibs, bundle_libs)
    _check_python(python, target_python, bundle, no_python=no_python)
    _check_numbers(kind, compress_level, jobs, mtime)
    if output == "-":
        raise UsageError("an archive goes to a file, not to stdout, so `-` is no output")
    link_mode = _enum(LinkMode, links)
    preset = _preset(destination)
    if preset is not None:
        if arcroot:
            raise UsageError(
                f"{preset.title} wants `bin/python` at the archive's root, so no --arcroot"
            )
        if preset.needs_copies and link_mode is LinkMode.AUTO:
            link_mode = LinkMode.COPY
    return Options(
        kind=kind,
        output=output,
        level=compress_level,
        jobs=jobs,
        arcroot=_checked_arcroot(arcroot),
        editable=_enum(EditableMode, editable),
        link=_link_policy(kind, link_mode),
        filters=tuple(filters),
        preset=preset,
        bundle=bundle,
        with_uv=with_uv,
        compile=bool(preset and preset.compile) if compile is None else compile,
        must_compile=bool(compile),
        mtime=mtime,
        starter=(target_python or "") if no_python else None,
    )


def _check_python(
    python: str | None, target_python: str | None, bundle: BundleLibs, *, no_python: bool
) -> None:
    if target_python is not None and not no_python:
        raise UsageError("--target-python says where a Python is, so it needs --no-python")
    if no_python and python is not None:
        raise UsageError("--python puts another Python in, and --no-python none")
    if no_python and bundle is BundleLibs.ALL:
        raise UsageError(
            "--no-python takes the other machine's Python, and with it that machine's libraries, so"
            " no --bundle-libs all"
        )
    if target_python is not None and not target_python.startswith("/"):
        raise UsageError(f"`{target_python}` is no absolute path for --target-python")
    if target_python is not None and {"\n", "\0"} & set(target_python):
        raise UsageError("the path for --target-python has a line break")


def _chosen_format(name: str | None, output: str | None) -> Format:
    if name is not None:
        kind, told = format_named(name), format_of(output or "")
        if told not in {None, kind}:
            raise UsageError(
                f"the name `{output}` says another format than `{name}`",
                hint="name one of both, or let the name end so",
            )
        return kind
    return format_named("tar.gz") if output is None else format_for(output)


def _enum(kind: type[_E], value: _E | str) -> _E:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(f"`{member.value}`" for member in kind)
        raise UsageError(f"`{value}` is none of {choices}") from None


def _link_policy(kind: Format, mode: LinkMode) -> Callable[[Entry, int], LinkKind | None]:
    """Return how an alias is stored, by its size; None is a copy."""
    able = {LinkMode.HARD: kind.hardlinks, LinkMode.SYMLINK: kind.symlinks}
    if not able.get(mode, True):
        raise UsageError(f"the format `{kind.name}` cannot hold `{mode.value}` links")
    if mode is LinkMode.SYMLINK:
        return lambda _entry, _size: LinkKind.SYMBOLIC
    if mode is LinkMode.COPY or not kind.hardlinks:
        return lambda _entry, _size: None
    if mode is LinkMode.HARD:
        return lambda _entry, _size: LinkKind.HARD
    return lambda entry, size: (
        LinkKind.HARD if size >= LARGE_ALIAS or is_library(entry.name) else None
    )


def _checked_arcroot(arcroot: str) -> str:
    parts = arcroot.strip("/").split("/")
    if arcroot.startswith("/") or any(part in (".", "..") for part in parts) or "\0" in arcroot:
        raise UsageError(f"`{arcroot}` is no relative folder name for --arcroot")
    return "/".join(part for part in parts if part)


def _check_numbers(kind: Format, level: int | None, jobs: int | None, mtime: int) -> None:
    if not 0 <= mtime < _AFTER_TAR:
        raise UsageError(f"the time `{mtime}` is none that an archive can hold")
    if level is not None and not 1 <= level <= 9:
        raise UsageError(f"the level `{level}` is not between 1 and 9")
    if level is not None and not kind.levels:
        raise UsageError(f"the format `{kind.name}` is not compressed, so it has no level")
    if jobs is not None and jobs < 1:
        raise UsageError(f"`{jobs}` is no number of workers")


def _preset(name: str | None) -> Preset | None:
    if name is None:
        return None
    if name not in PRESETS:
        choices = ", ".join(f"`{known}`" for known in PRESETS)
        raise UsageError(f"`{name}` is none of the destinations {choices}")
    return PRESETS[name]
