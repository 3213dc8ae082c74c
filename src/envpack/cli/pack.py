"""`envpack pack`: the options, and the report in words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from envpack.cli import common, console
from envpack.cli.cache import cache_of, cache_options
from envpack.errors import UsageError

if TYPE_CHECKING:
    from envpack.libraries import Libraries
    from envpack.report import PackReport

_SHOWN = 5
_FILTERS = "envpack.filters"


class _Command(click.Command):
    """A command that keeps the order of --exclude and --include among each other."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note the filters in the order they were typed, then parse as usual."""
        if not ctx.resilient_parsing:
            values, _, order = self.make_parser(ctx).parse_args(list(args))
            given = {name: iter(values.get(name) or ()) for name in ("exclude", "include")}
            ctx.meta[_FILTERS] = [
                (param.name == "exclude", next(given[param.name]))
                for param in order
                if param.name in given
            ]
        return super().parse_args(ctx, args)


@click.command(cls=_Command)
@click.argument("env", required=False, metavar="[ENV]")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="Write to OUT.  [default: made from the project's name, its version and the platform]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["tar.gz", "tar.zst", "tar", "zip", "dir"]),
    help="Format of OUT.  [default: from OUT's suffix, else tar.gz]",
)
@click.option(
    "--compress-level", type=click.IntRange(1, 9), metavar="N", help="1 is fast, 9 is small."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Worker threads.  [default: CPUs]"
)
@click.option("--arcroot", default="", metavar="NAME", help="Put everything into a folder NAME.")
@click.option(
    "--editable",
    type=click.Choice(["auto", "build", "copy", "refuse"]),
    default="auto",
    show_default=True,
    help="How editable installs become real files; auto builds wheels, and copies what cannot be"
    " built.",
)
@click.option(
    "--links",
    type=click.Choice(["auto", "copy", "hard", "symlink"]),
    default="auto",
    show_default=True,
    help="How further names of one file are stored; auto makes large ones hard links in tar.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    expose_value=False,
    help="Leave out files by their names in the archive; * matches / too. Repeatable.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    expose_value=False,
    help="Take back in what an earlier --exclude left out. Repeatable.",
)
@click.option(
    "--for",
    "destination",
    metavar="DESTINATION",
    help="Fit the archive for spark, ray, flink, dask-yarn, emr, dataproc or hadoop-streaming, and"
    " print how to hand it over.",
)
@click.option(
    "--bundle-libs",
    type=click.Choice(["auto", "all", "none"]),
    default="auto",
    show_default=True,
    help="Shared libraries of this machine to carry: those that other machines may lack; all but"
    " the C library's; none.",
)
@click.option(
    "--python",
    metavar="PATH|VERSION",
    help="Pack this Python in place of the one under ENV: an executable, a prefix, or a request of"
    " uv's. It must be of the same minor version.",
)
@click.option(
    "--no-python",
    is_flag=True,
    help="Pack no Python: the other machine must have one of the same minor version, on PATH.",
)
@click.option(
    "--target-python",
    metavar="PATH",
    help="With --no-python: the Python of the other machine to try before PATH.",
)
@click.option(
    "--compile/--no-compile",
    default=None,
    help="Add bytecode, compiled by the packed Python, so that a read-only copy starts faster."
    "  [default: with --for spark, emr and dataproc]",
)
@click.option("--with-uv", is_flag=True, help="Put a static uv into bin/.")
@click.option(
    "--strict",
    is_flag=True,
    help="Fail (exit 3) if a path of this machine remains, an editable had to be copied, a link"
    " left the environment, a library is left to the other machine, or something may hold secrets.",
)
@click.option("--dry-run", is_flag=True, help="Plan and report; write nothing.")
@click.option("--deep", is_flag=True, help="With --dry-run: read all files; tell edits and leaks.")
@cache_options
@click.option("-f", "--force", is_flag=True, help="Overwrite OUT.")
@common.QUIET
@click.option("-v", "--verbose", is_flag=True, help="Print every file left out, clash and leak.")
@common.AS_JSON
def pack(
    env: str | None,
    *,
    format_: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Pack the environment ENV, with its Python, into one archive that runs anywhere.

    ENV is a folder with a pyvenv.cfg: $UV_PROJECT_ENVIRONMENT, .venv or $VIRTUAL_ENV if it is not
    named. What is installed there is packed, whatever uv.lock says: run `uv sync` first. The
    archive needs no Python, no network and no unpack step on the machine it is unpacked on, in any
    folder.
    """
    from envpack import packing
    from envpack.select import Filter

    if options["deep"] and not options["dry_run"]:
        raise UsageError("--deep says how much a dry run does, so it needs --dry-run")
    progress = console.Progress(quiet=quiet or as_json)
    try:
        report = packing.pack(
            env or _default_env(),
            format=format_,
            filters=[Filter(*each) for each in click.get_current_context().meta[_FILTERS]],
            mtime=_mtime(),
            cache=cache_of(options),
            listener=progress,
            **options,
        )
    except packing.StrictError as error:
        progress.close()
        if as_json:
            console.document(error.report.to_json())
        elif not quiet:
            console.talk(f"  {finding}" for finding in error.report.findings)
        raise
    finally:
        progress.close()
    console.conclude(
        report,
        lambda: _lines(report, verbose=verbose),
        None if report.dry_run else report.output,
        as_json=as_json,
        quiet=quiet,
        warnings=report.warnings,
        after=("", *report.usage) if report.usage else (),
    )


def _default_env() -> str:
    """Return the environment that uv would take here, or else the one that is active."""
    if named := os.environ.get("UV_PROJECT_ENVIRONMENT"):
        return named
    if os.path.lexists(".venv"):
        return ".venv"
    return os.environ.get("VIRTUAL_ENV") or ".venv"


def _mtime() -> int:
    """Return SOURCE_DATE_EPOCH if it is set (reproducible-builds.org), else the default."""
    from envpack.options import DEFAULT_MTIME

    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return DEFAULT_MTIME
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds")
    return int(text)


def _lines(report: PackReport, *, verbose: bool) -> list[str]:
    """Return the report in words."""
    from envpack.model import EditableForm

    interpreter = report.interpreter
    kind = "managed by uv" if interpreter.managed else f"from {interpreter.prefix}"
    build = f", build {interpreter.build}" if interpreter.build else ""
    instead = f", in place of {interpreter.replaces}" if interpreter.replaces else ""
    python = f"CPython {interpreter.version} ({kind}{build}){instead}"
    if report.finds_python is not None:
        first = f"at {report.finds_python}, or " if report.finds_python else ""
        python = f"none: the other machine must have CPython {interpreter.minor}, {first}on PATH"
    verb = "Would pack" if report.dry_run else "Packed"
    packages = console.counted(len(report.packages), "package")
    files = console.counted(report.files, "file")
    lines = [
        f"{verb} {report.environment} into {report.output}",
        f"  platform  {interpreter.target}",
        f"  python    {python}",
        f"  content   {packages}, {files}, {console.human(report.size)}",
    ]
    for editable in report.editables:
        built = editable.form is EditableForm.BUILT
        words = [f"built with {editable.backend}"] if built else ["copied, not built"]
        words += [editable.note] if editable.note else []
        lines.append(f"  editable  {editable.name} {editable.version}, {': '.join(words)}")
    if report.digest:
        edits = ", ".join(f"{count} {why}" for why, count in sorted(report.edits.items()))
        lines.append(
            f"  edited    {console.counted(report.edited, 'file')}"
            + (f": {edits}" if edits else "")
        )
    libraries = report.libraries
    lines += [f"  needs     {sentence}" for sentence in libraries.floor]
    lines += [f"  raised    {libraries.raised}"] if libraries.raised else []
    lines += _some("carried", list(libraries.carried), verbose=verbose)
    for data, what in (
        (libraries.certificates, "certificate"),
        (libraries.time_zones, "time zone"),
    ):
        if data:
            lines.append(
                f"  carried   {console.counted(data.count, what)} of {data.source}, for machines"
                " without"
            )
    lines += _licences(libraries, verbose=verbose)
    lines += _some(
        "missing", [f"{w.soname}, wanted by {w.file}" for w in libraries.missing], verbose=verbose
    )
    hosts = (*libraries.lacking, *(libraries.host if verbose else ()))
    lines += _some("host", [f"{w.soname}, wanted by {w.file}" for w in hosts], verbose=verbose)
    lines += _left_out(report, verbose=verbose)
    lines += _some(
        "clash",
        [f"{c.name}: {c.kept} wins over {c.dropped}" for c in report.clashes],
        verbose=verbose,
    )
    lines += _some(
        "outside", [f"{n} is a link to {real}" for n, real in report.outside], verbose=verbose
    )
    lines += _some(
        "scrubbed", [f"{name}: credentials" for name in report.scrubbed], verbose=verbose
    )
    lines += _some("secret", list(report.secrets), verbose=verbose)
    leaks = [
        f"{k.name} names {k.needle}" + (f" ({k.harmless})" if k.harmless else "")
        for k in report.leaks
    ]
    lines += _some("leak", leaks, verbose=verbose)
    if report.digest:
        lines.append(f"  digest    sha256:{report.digest}")
    if not report.dry_run:
        lines.append(f"  size      {console.human(report.output_size)}")
    return lines


def _licences(libraries: Libraries, *, verbose: bool) -> list[str]:
    found = {one.licence for one in libraries.licences if one.licence}
    whose = console.counted(len(found), "package")
    lines = [f"  licences  of {whose}, in share/licenses"] if found else []
    unknown = [f"none found for {one.file}" for one in libraries.licences if not one.licence]
    return lines + _some("licences", unknown, verbose=verbose)


def _left_out(report: PackReport, *, verbose: bool) -> list[str]:
    from envpack.manifest import describe_left_out

    lines = [
        f"  left out  {item['reason']}: {console.counted(item['files'], 'file')},"
        f" {console.human(item['bytes'])}"
        for item in describe_left_out(report.left_out)
    ]
    if verbose:
        lines += [f"            {item.name} ({item.reason.value})" for item in report.left_out]
    return lines


def _some(label: str, items: list[str], *, verbose: bool) -> list[str]:
    shown = items if verbose else items[:_SHOWN]
    lines = [f"  {label:<8}  {item}" for item in shown]
    if len(items) > len(shown):
        lines.append(f"  {label:<8}  and {len(items) - len(shown)} more (-v shows all)")
    return lines
