"""The main job: discover, plan, stream, and leave either a whole archive or nothing."""

from __future__ import annotations

import enum
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from packaging.utils import canonicalize_name

from envpack import manifest
from envpack.archive import format_for, format_named
from envpack.distributions import Distribution, distributions_in
from envpack.draft import disk_at
from envpack.editable import EditableMode, resolve
from envpack.environment import Environment, discover
from envpack.errors import EditableFault, FindingError, OutputFault, ToolFault, UsageError
from envpack.model import Disk, Entry, Format, Inline, LinkKind, Plan
from envpack.output import check_output, written_aside
from envpack.parallel import Pool
from envpack.pipeline import Outcome, members
from envpack.plan import make_plan
from envpack.report import PackReport
from envpack.uv import Uv

_E = TypeVar("_E", bound=enum.Enum)
_T = TypeVar("_T")

DEFAULT_MTIME = 315532800
"""1980-01-01, the first instant that every format can hold (zip begins there)."""

LARGE_ALIAS = 1024 * 1024
"""From this size on an alias is stored as a hard link where the format has them."""


class LinkMode(enum.Enum):
    """How further names of one file are stored."""

    AUTO = "auto"
    COPY = "copy"
    HARD = "hard"
    SYMLINK = "symlink"


class Listener(Protocol):
    """Is told how far a pack has come; may raise to stop it."""

    def say(self, text: str) -> None:
        """Take one line about what is going on."""

    def planned(self, files: int, size: int) -> None:
        """Take the number of members and the bytes that will be read."""

    def tick(self, files: int, size: int) -> None:
        """Take the members and bytes done so far."""


class Silent:
    """A Listener that keeps quiet."""

    def say(self, text: str) -> None:
        """Ignore the line."""

    def planned(self, files: int, size: int) -> None:
        """Ignore the totals."""

    def tick(self, files: int, size: int) -> None:
        """Ignore the progress."""


def pack(
    env: str | os.PathLike[str] = ".venv",
    output: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,  # noqa: A002 - the option's name
    compress_level: int | None = None,
    jobs: int | None = None,
    arcroot: str = "",
    editable: EditableMode | str = EditableMode.AUTO,
    links: LinkMode | str = LinkMode.AUTO,
    with_uv: bool = False,
    strict: bool = False,
    dry_run: bool = False,
    force: bool = False,
    mtime: int = DEFAULT_MTIME,
    listener: Listener | None = None,
) -> PackReport:
    """Pack the environment `env` into `output` and return what was done.

    `format` is one of tar.gz, tar.zst, tar, zip, dir; without it the suffix of `output` decides,
    without both it is tar.gz. `compress_level` is 1 (fast) to 9 (small), `jobs` the number of
    worker threads, `arcroot` a folder inside the archive that everything goes into. `mtime` is
    every member's, in seconds since the epoch. The bytes written depend on the environment and
    these options alone, not on `jobs`, the time or the place.

    Raises EnvpackError, in one of its classes: FindingError if `strict` found something, in which
    case there is no output, as after every other failure.
    """
    listener = listener or Silent()
    kind = _chosen_format(format, output)
    mode, link_mode = _enum(EditableMode, editable), _enum(LinkMode, links)
    link = _link_policy(kind, link_mode)
    root = _checked_arcroot(arcroot)
    _check_numbers(kind, compress_level, jobs)
    environment = discover(os.fspath(env))
    dists = distributions_in(environment.root, environment.site_packages)
    target = os.fspath(output) if output is not None else default_output(environment, dists, kind)
    if not dry_run:
        check_output(target, kind, force=force)
    uv = _once(Uv.find)
    with _scratch() as scratch:
        try:
            replacements = resolve(environment, dists, mode, scratch, uv, listener.say)
        except OSError as error:
            raise EditableFault(
                f"cannot prepare the editable installs in `{scratch}`: {error.strerror or error}",
                hint="set TMPDIR to a folder with more room",
            ) from error
        plan = make_plan(
            environment,
            dists,
            replacements,
            mtime=mtime,
            extra=_uv_entries(environment, scratch, uv) if with_uv else (),
            skip_paths=_own_paths(target),
            cache_dir=lambda: _cache_dir(uv),
        )
        outcome = Outcome()
        listener.planned(len(plan.entries), _planned_size(plan))

        def report(output_size: int) -> PackReport:
            return _report(environment, plan, outcome, kind, env, target, output_size)

        if dry_run:
            return report(0)
        with written_aside(target, kind, force=force) as temporary:
            with Pool(jobs) as pool:
                stream = members(
                    plan, outcome, pool=pool, link=link, arcroot=root, tick=listener.tick
                )
                kind.write(stream, temporary, level=compress_level, mtime=mtime, pool=pool)
            done = report(_size_of(temporary, outcome, kind))
            if strict and done.findings:
                raise StrictError(done)
    return done


class StrictError(FindingError):
    """`strict` found something; `report` says what."""

    def __init__(self, report: PackReport) -> None:
        first, *more = report.findings
        also = f", and {len(more)} more" if more else ""
        super().__init__(f"not packed, as --strict was given: {first}{also}")
        self.report = report


def default_output(environment: Environment, dists: tuple[Distribution, ...], kind: Format) -> str:
    """Return `<project>-<version>-<platform>` with the format's suffix.

    Without a project it is the environment's folder that gives the name, or that of the folder
    around it, if the environment is called `.venv`.
    """
    project = environment.project
    folder = os.path.basename(environment.root)
    if project is None:
        around = os.path.basename(os.path.dirname(environment.root))
        words = [around if folder.startswith(".") and around else folder.lstrip(".") or "env"]
    else:
        name = canonicalize_name(project.name)
        installed = next((dist.version for dist in dists if dist.name == name), None)
        version = project.version or installed
        words = [name, *([version] if version else [])]
    suffix = kind.suffixes[0] if kind.suffixes else ""
    return "-".join([*words, str(environment.interpreter.target)]) + suffix


def _chosen_format(name: str | None, output: str | os.PathLike[str] | None) -> Format:
    if name is not None:
        return format_named(name)
    return format_named("tar.gz") if output is None else format_for(os.fspath(output))


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
    least = 0 if mode is LinkMode.HARD else LARGE_ALIAS
    return lambda _entry, size: LinkKind.HARD if size >= least else None


def _checked_arcroot(arcroot: str) -> str:
    parts = arcroot.strip("/").split("/")
    if arcroot.startswith("/") or any(part in (".", "..") for part in parts) or "\0" in arcroot:
        raise UsageError(f"`{arcroot}` is no relative folder name for --arcroot")
    return "/".join(part for part in parts if part)


def _check_numbers(kind: Format, level: int | None, jobs: int | None) -> None:
    if level is not None and not 1 <= level <= 9:
        raise UsageError(f"the level `{level}` is not between 1 and 9")
    if level is not None and not kind.levels:
        raise UsageError(f"the format `{kind.name}` is not compressed, so it has no level")
    if jobs is not None and jobs < 1:
        raise UsageError(f"`{jobs}` is no number of workers")


@contextmanager
def _scratch() -> Iterator[str]:
    """Give a folder for what has to be built first; its path is free of links."""
    try:
        holder = tempfile.TemporaryDirectory(prefix="envpack-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputFault(
            f"no temporary folder can be made: {error.strerror or error}",
            hint="set TMPDIR to a folder that can be written to",
        ) from error
    with holder as folder:
        yield os.path.realpath(folder)


def _own_paths(target: str) -> tuple[str, ...]:
    return (os.path.abspath(target),)


def _once(make: Callable[[], _T]) -> Callable[[], _T]:
    made: list[_T] = []

    def get() -> _T:
        if not made:
            made.append(make())
        return made[0]

    return get


def _cache_dir(uv: Callable[[], Uv]) -> str | None:
    try:
        return uv().cache_dir()
    except ToolFault:
        return None


def _uv_entries(environment: Environment, scratch: str, uv: Callable[[], Uv]) -> tuple[Entry, ...]:
    folder = os.path.join(scratch, "static-uv")
    content, _ = disk_at(uv().static_uv(environment.interpreter.target, folder))
    return (Entry("bin/uv", content, executable=True, relocate=False),)


def _planned_size(plan: Plan) -> int:
    contents = [entry.content for entry in plan.entries]
    on_disk = sum(content.size for content in contents if isinstance(content, Disk))
    return on_disk + sum(len(c.data) for c in contents if isinstance(c, Inline))


def _size_of(path: str, outcome: Outcome, kind: Format) -> int:
    return outcome.size if kind.folder else os.stat(path).st_size


def _warnings(plan: Plan, kind: Format) -> tuple[str, ...]:
    """Say what may surprise on the other side."""
    if kind.name != "zip":
        return ()
    seen: dict[str, str] = {}
    pairs = []
    for entry in plan.entries:
        other = seen.setdefault(entry.name.casefold(), entry.name)
        if other != entry.name:
            pairs.append((other, entry.name))
    if not pairs:
        return ()
    one, other = pairs[0]
    return (
        f"{len(pairs)} names differ from another only by case, such as `{one}` and `{other}`:"
        " unpacked on Windows or macOS one of each pair is lost",
    )


def _report(
    environment: Environment,
    plan: Plan,
    outcome: Outcome,
    kind: Format,
    env: str | os.PathLike[str],
    target: str,
    output_size: int,
) -> PackReport:
    digests = outcome.digests
    done = len(digests) == len(plan.entries)
    return PackReport(
        environment=os.fspath(env),
        output=target,
        format=kind.name,
        dry_run=not done,
        interpreter=environment.interpreter,
        packages=plan.packages,
        editables=plan.editables,
        files=len(plan.entries),
        size=outcome.size if done else _planned_size(plan),
        output_size=output_size,
        digest=manifest.content_digest(plan.entries, digests) if done else "",
        edited=outcome.edited,
        edits=outcome.edits,
        left_out=plan.left_out,
        clashes=plan.clashes,
        outside=plan.outside,
        scrubbed=plan.scrubbed,
        leaks=tuple(outcome.leaks),
        warnings=(*plan.warnings, *_warnings(plan, kind)),
    )
