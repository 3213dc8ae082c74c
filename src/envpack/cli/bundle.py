"""`envpack bundle`: the options, and the report in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from envpack.cli import common, console
from envpack.cli.scope import scope_of, scope_options
from envpack.errors import UsageError

if TYPE_CHECKING:
    from envpack.bundle_preview import BundlePreview
    from envpack.bundling import BundleReport

_FEW = 8


@click.command()
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="A .run, which installs itself, or a .tar.gz, .tar.zst or .tar; for Windows a .zip."
    "  [default: <project>-<version>.run, or .zip]",
)
@common.PROJECT
@common.PLATFORMS
@click.option(
    "-p",
    "--python",
    "pythons",
    multiple=True,
    metavar="V",
    help="A version of Python.  [default: the project's]",
)
@scope_options
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="git|all|PATHSPEC",
    help="What git tracks and would take in; or also what it ignores; or what a pathspec of git's"
    " chooses of it. Repeatable.  [default: git]",
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Take in sources that stay home as they may hold secrets; * matches / too. Repeatable.",
)
@click.option("--no-source", is_flag=True, help="No sources: DIR on the far side has them.")
@click.option(
    "--with-git",
    is_flag=True,
    help="Also the repositories of git dependencies, so that uv can lock there again.",
)
@click.option("--no-python", is_flag=True, help="Leave Python out: the far side has its own.")
@common.PYTHON_ARCHIVES
@click.option("--no-uv", is_flag=True, help="Leave uv out: the far side has its own.")
@common.JOBS
@click.option("-f", "--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--dry-run", is_flag=True, help="List what would travel; fetch and write nothing.")
@common.QUIET
@click.option("-v", "--verbose", is_flag=True, help="Print all that is left out.")
@common.AS_JSON
def bundle(
    output: str | None,
    *,
    sources: tuple[str, ...],
    no_source: bool,
    dry_run: bool,
    no_python: bool,
    no_uv: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Put the project, its packages, Python and uv into one file, for where there is no network.

    There `sh FILE DIR` installs all of it, on Windows `install.cmd DIR` in the unpacked zip, and
    plain `uv run` works in DIR. Without options for extras, groups or members, all of them travel.
    """
    from envpack import bundling

    for name, given in (("--source", sources), ("--include", options["include"])):
        if no_source and given:
            raise UsageError(f"`--no-source` and `{name}` exclude each other")
    options["scope"] = scope_of(options)
    options["platforms"] = options["platforms"] or ("current",)
    options["python"], options["uv"] = not no_python, not no_uv
    options["source"] = () if no_source else sources or (bundling.GIT,)
    if dry_run:
        for name in ("jobs", "force"):
            del options[name]
        _show(bundling.preview(output, **options), as_json=as_json, quiet=quiet)
        return
    progress = console.Progress(quiet=quiet or as_json, verb="bundling")
    try:
        report = bundling.bundle(output, listener=progress, **options)
    finally:
        progress.close()
    console.conclude(
        report,
        lambda: _lines(report, verbose=verbose),
        report.output,
        as_json=as_json,
        quiet=quiet,
        warnings=report.warnings,
    )


def _show(found: BundlePreview, *, as_json: bool, quiet: bool) -> None:
    """Print what a bundle would hold."""
    if as_json:
        console.document(found.to_json())
        return
    for row in found.rows:
        size = "?" if row.size is None else console.human(row.size)
        console.data(f"{row.kind:<8} {size:>10}  {row.name}")
    if not quiet:
        unknown = f", and {found.unknown} of unknown size" if found.unknown else ""
        console.talk(
            [
                f"Would bundle {found.project} for {', '.join(found.platforms)}:"
                f" {len(found.rows)} files, {console.human(found.size)}{unknown}",
                *_left_out(found.left_out, verbose=True),
            ]
        )


def _lines(report: BundleReport, *, verbose: bool) -> list[str]:
    """Return the report in words."""
    floor = f", for glibc {report.glibc} or newer" if report.glibc else ""
    return [
        f"Bundled {report.project} for {', '.join(report.platforms)}: {report.sources} sources,"
        f" {report.packages} packages, {console.human(report.output_size)}"
        f" in {report.seconds:.1f} s{floor}",
        *_left_out(report.left_out, verbose=verbose),
    ]


def _left_out(found: tuple[tuple[str, str], ...], *, verbose: bool) -> list[str]:
    told = found if verbose else found[:_FEW]
    lines = [f"  left out `{path}`: {why}" for path, why in told]
    if len(told) < len(found):
        lines.append(f"  and {len(found) - len(told)} more (-v)")
    return lines
