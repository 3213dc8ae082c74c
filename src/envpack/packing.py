"""The main job: discover, plan, stream, and leave either a whole archive or nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from packaging.utils import canonicalize_name

from envpack.archive.blocks import members_of
from envpack.cache import Cache
from envpack.distributions import Distribution, distributions_in
from envpack.editable import EditableMode, resolve
from envpack.entries import disk_at
from envpack.environment import Environment, discover
from envpack.errors import EditableFault, FindingError, ToolFault
from envpack.held import scratch_folder
from envpack.listener import Listener, Silent
from envpack.misfits import misfits, surprises, unmatched, unmoved
from envpack.model import Entry, Format, Plan
from envpack.native_host import BundleLibs
from envpack.options import DEFAULT_MTIME, LinkMode, Options, checked
from envpack.output import check_output, written_aside
from envpack.parallel import Pool
from envpack.pipeline import stream
from envpack.plan import make_plan
from envpack.presets import usage_lines
from envpack.replacement_python import executable_of
from envpack.report import PackReport
from envpack.runs import Keeper, Outcome
from envpack.select import Filter
from envpack.uv import Uv

_T = TypeVar("_T")


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
    filters: Sequence[Filter] = (),
    destination: str | None = None,
    bundle_libs: BundleLibs | str = BundleLibs.AUTO,
    with_uv: bool = False,
    compile: bool | None = None,  # noqa: A002 - the option's name
    strict: bool = False,
    dry_run: bool = False,
    deep: bool = False,
    force: bool = False,
    mtime: int = DEFAULT_MTIME,
    python: str | os.PathLike[str] | None = None,
    no_python: bool = False,
    target_python: str | None = None,
    cache: Cache | None = None,
    listener: Listener | None = None,
) -> PackReport:
    """Pack the environment `env` into `output` and return what was done.

    `format` is one of tar.gz, tar.zst, tar, zip, dir; without it the suffix of `output` decides,
    without both it is tar.gz. `compress_level` is 1 (fast) to 9 (small), `jobs` the number of
    worker threads, `arcroot` a folder inside the archive for everything. `filters` leave out, or
    take back in, files by their names in the archive, in order; `destination` is a key of
    `presets.PRESETS`, whose filters come first. `bundle_libs` says which shared libraries of this
    machine go in: those that others lack, all but the C library's, or none. `compile` adds
    bytecode, which a dry run does not show; None leaves it to the destination. A `deep` dry run
    reads all files. `mtime` is every member's, in seconds since the epoch. `python` is a path or a
    request of uv's for the Python to pack; with `no_python` none is, and `target_python` is what
    the archive looks for first. What a `cache` has is not compressed again. The bytes depend on
    the environment and these options, not on `jobs`, the cache, the time or the place.

    Raises EnvpackError, FindingError if `strict` found something; then there is no output.
    """
    listener = listener or Silent()
    word, out = (os.fspath(path) if path is not None else None for path in (python, output))
    options = checked(
        format=format,
        output=out,
        compress_level=compress_level,
        jobs=jobs,
        arcroot=arcroot,
        editable=editable,
        links=links,
        filters=filters,
        destination=destination,
        bundle_libs=bundle_libs,
        with_uv=with_uv,
        compile=compile,
        mtime=mtime,
        python=word,
        no_python=no_python,
        target_python=target_python,
    )
    uv = _once(Uv.find)
    word = executable_of(word, uv) if word else None
    environment = discover(os.fspath(env), word, packed=not no_python)
    dists = distributions_in(environment.root, environment.site_packages)
    target = options.output or default_output(environment, dists, options.kind)
    if not dry_run:
        check_output(target, options.kind, force=force)
    with scratch_folder() as scratch:
        plan = _planned(environment, dists, options, target, scratch, uv, listener.say)
        if options.compile and not dry_run:
            plan = _compiled(plan, environment, options, scratch, listener.say)
        outcome = _looked_through(plan, options, listener) if dry_run and deep else Outcome()
        report = partial(_report, environment, plan, outcome, options, os.fspath(env), target)
        if dry_run:
            return _accepted(report(None), strict=strict)
        with written_aside(target, options.kind, force=force) as temporary:
            size = _write(plan, outcome, options, temporary, cache, listener)
            return _accepted(report(size), strict=strict)


def _accepted(report: PackReport, *, strict: bool) -> PackReport:
    """Return the report, unless `strict` has something against it."""
    if strict and report.findings:
        raise StrictError(report)
    return report


def _planned(
    environment: Environment,
    dists: tuple[Distribution, ...],
    options: Options,
    target: str,
    scratch: str,
    uv: Callable[[], Uv],
    say: Callable[[str], None],
) -> Plan:
    """Make editables real in `scratch`, and plan."""
    try:
        replacements = resolve(environment, dists, options.editable, scratch, uv, say)
    except OSError as error:
        raise EditableFault(
            f"cannot prepare the editable installs in `{scratch}`: {error.strerror or error}",
            hint="set TMPDIR to a folder with more room",
        ) from error
    return make_plan(
        environment,
        dists,
        replacements,
        mtime=options.mtime,
        filters=options.filters,
        brought=frozenset(options.preset.brings) if options.preset else frozenset(),
        bundle=options.bundle,
        starter=options.starter,
        extra=_uv_entries(environment, scratch, uv) if options.with_uv else (),
        skip_paths=(os.path.abspath(target),),
        cache_dir=lambda: _cache_dir(uv),
    )


def _compiled(
    plan: Plan,
    environment: Environment,
    options: Options,
    scratch: str,
    say: Callable[[str], None],
) -> Plan:
    """Add bytecode; if the destination alone wants it and there can be none, warn of that."""
    from envpack.bytecode import compile_plan  # late: few packs have bytecode

    try:
        return compile_plan(
            plan, environment, scratch, jobs=options.jobs, say=say, filters=options.filters
        )
    except ToolFault as fault:
        if options.must_compile or options.preset is None:
            raise
        text = f"{fault}; without bytecode {options.preset.title} starts more slowly"
        return plan._replace(warnings=(*plan.warnings, text))


def _keeper(cache: Cache | None, plan: Plan, options: Options) -> Keeper | None:
    """Return what finds and keeps runs, if the format has any."""
    engine = options.kind.engine(options.level)
    if cache is None or not engine:
        return None
    return Keeper(
        cache=cache,
        plan=plan,
        engine=f"{options.kind.name}, {engine}",
        arcroot=options.arcroot,
        link=options.link,
        begun=time.time_ns(),
    )


def _looked_through(plan: Plan, options: Options, listener: Listener) -> Outcome:
    """Do all that a pack does to the files, but for writing them."""
    outcome = Outcome()
    listener.planned(len(plan.entries), plan.entries.size)
    with Pool(options.jobs) as pool:
        items = stream(plan, outcome, pool=pool, link=options.link, tick=listener.tick)
        for member in members_of(items):
            for _ in member.blocks:
                pass
    return outcome


def _write(
    plan: Plan,
    outcome: Outcome,
    options: Options,
    temporary: str,
    cache: Cache | None,
    listener: Listener,
) -> int:
    """Write the archive and return its bytes."""
    keeper = _keeper(cache, plan, options)
    listener.planned(len(plan.entries), plan.entries.size)
    with Pool(options.jobs) as pool:
        items = stream(
            plan,
            outcome,
            pool=pool,
            link=options.link,
            arcroot=options.arcroot,
            keeper=keeper,
            renderer=options.kind.renderer(level=options.level, mtime=options.mtime),
            tick=listener.tick,
        )
        options.kind.write(items, temporary, level=options.level, mtime=options.mtime, pool=pool)
    if keeper is not None and keeper.kept:
        keeper.cache.trim()
    return outcome.size if options.kind.folder else os.stat(temporary).st_size


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
    triple = f"{environment.interpreter.target.arch}-unknown-linux-musl"
    content, _ = disk_at(uv().static_uv(triple, folder))
    return (Entry("bin/uv", content, executable=True, relocate=False),)


def _report(
    environment: Environment,
    plan: Plan,
    outcome: Outcome,
    options: Options,
    env: str,
    target: str,
    output_size: int | None,
) -> PackReport:
    """Return the report; without an output's size, that of a dry run."""
    kind, preset = options.kind, options.preset
    done = bool(outcome.digest)
    return PackReport(
        environment=env,
        output=target,
        format=kind.name,
        dry_run=output_size is None,
        interpreter=environment.interpreter,
        packages=plan.packages,
        editables=plan.editables,
        files=len(plan.entries),
        size=outcome.size if done else plan.entries.size,
        output_size=output_size or 0,
        digest=outcome.digest,
        edited=outcome.edited,
        edits=outcome.edits,
        left_out=plan.left_out,
        clashes=plan.clashes,
        outside=plan.outside,
        libraries=plan.libraries,
        scrubbed=plan.scrubbed,
        secrets=plan.secrets,
        leaks=(*outcome.leaks, *unmoved(plan)),
        warnings=(
            *plan.warnings,
            *surprises(plan, kind, options.link),
            *unmatched(plan, options.filters, compiled=options.compile),
            *(misfits(plan, kind, preset, output_size or 0) if preset else ()),
        ),
        usage=usage_lines(preset, target) if preset else (),
        finds_python=options.starter,
    )
