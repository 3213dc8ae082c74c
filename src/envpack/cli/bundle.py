"""`envpack bundle`: the options, and the report in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from envpack.cli import console
from envpack.cli.scope import scope_of, scope_options

if TYPE_CHECKING:
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
@click.option("--project", default=".", metavar="DIR", help="The project.  [default: here]")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="P",
    help="A platform, as `envpack download` takes it. Repeatable, or with commas."
    "  [default: current]",
)
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
    type=click.Choice(["git", "all"]),
    default="git",
    show_default=True,
    help="What git tracks and would take in; or also what it ignores.",
)
@click.option("--no-python", is_flag=True, help="Leave Python out: the far side has its own.")
@click.option(
    "--python-archive",
    "python_archives",
    multiple=True,
    metavar="FILE|DIR",
    help="This archive of a Python, such as a company's build, instead of uv's. Repeatable.",
)
@click.option("--no-uv", is_flag=True, help="Leave uv out: the far side has its own.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="At a time.")
@click.option("-f", "--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Print all that is left out.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
def bundle(
    output: str | None,
    *,
    source: str,
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

    scope = scope_of(options)
    platforms = options.pop("platforms") or ("current",)
    progress = console.Progress(quiet=quiet or as_json, verbose=verbose, verb="bundling")
    try:
        report = bundling.bundle(
            output,
            scope=scope,
            platforms=platforms,
            python=not no_python,
            uv=not no_uv,
            everything=source == "all",
            listener=progress,
            **options,
        )
    finally:
        progress.close()
    if as_json:
        console.document(report.to_json())
        return
    if not quiet:
        console.talk(_lines(report, verbose=verbose))
        for sentence in report.warnings:
            console.warning(sentence)
    console.data(report.output)


def _lines(report: BundleReport, *, verbose: bool) -> list[str]:
    """Return the report in words."""
    lines = [
        f"Bundled {report.project} for {', '.join(report.platforms)}: {report.sources} sources,"
        f" {report.packages} packages, {console.human(report.output_size)}"
    ]
    told = report.left_out if verbose else report.left_out[:_FEW]
    lines += [f"  left out `{path}`: {why}" for path, why in told]
    if len(told) < len(report.left_out):
        lines.append(f"  and {len(report.left_out) - len(told)} more (-v)")
    return lines
