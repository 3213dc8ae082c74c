"""`envpack download`: the options, and the report in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from envpack.cli import common, console
from envpack.cli.scope import scope_of, scope_options
from envpack.errors import UsageError

if TYPE_CHECKING:
    from envpack.download_report import DownloadReport

_DEFAULT = "distributions"


@click.command()
@click.option(
    "-o",
    "--output",
    "folder",
    default=_DEFAULT,
    show_default=True,
    metavar="DIR",
    help="Put everything into DIR; what it holds of this project already stays.",
)
@common.PROJECT
@click.option(
    "-r",
    "--requirement",
    "requirements",
    multiple=True,
    metavar="FILE",
    help="Take a requirements file, which uv resolves now, instead of a lock. Repeatable.",
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="P",
    help="A platform: current, all, a name of uv's or a wheel's tag. Repeatable, or with commas."
    "  [default: current]",
)
@click.option(
    "-p",
    "--python",
    "pythons",
    multiple=True,
    metavar="V",
    help="A version of Python. Repeatable, or with commas.  [default: the project's]",
)
@scope_options
@click.option("--sdist", "sdists", is_flag=True, help="Keep every sdist too.")
@click.option("--no-build", is_flag=True, help="Build nothing; keep sdists where no wheel is.")
@click.option(
    "--with-build-deps",
    "build_deps",
    is_flag=True,
    help="Also what the workspace's members are built with, for builds on the other side.",
)
@click.option("--with-python", is_flag=True, help="Also the Python of each platform and version.")
@click.option(
    "--python-archive",
    "python_archives",
    multiple=True,
    metavar="FILE|DIR",
    help="Also this archive of a Python, such as a company's build, or those of DIR. Repeatable.",
)
@click.option("--with-uv", is_flag=True, help="Also uv itself for each platform.")
@click.option("--prune", is_flag=True, help="Remove from DIR what is not asked for now.")
@common.JOBS
@common.QUIET
@click.option("-v", "--verbose", is_flag=True, help="Print every file.")
@common.AS_JSON
def download(
    folder: str,
    *,
    no_build: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring every distribution that uv.lock names into a folder, for any platform and Python.

    uv, pip and others install from it without an index; `envpack sync` makes an environment of it.
    uv.lock and pyproject.toml are only read.
    """
    from envpack import downloading

    scope = scope_of(options)
    if options["requirements"] and scope is not None:
        raise UsageError("a requirements file has no extras, groups or members to choose")
    progress = console.Progress(quiet=quiet or as_json, verb="downloading")
    try:
        report = downloading.download(
            folder, scope=scope, build=not no_build, listener=progress, **options
        )
    finally:
        progress.close()
    console.conclude(
        report,
        lambda: _lines(report, verbose=verbose),
        report.folder,
        as_json=as_json,
        quiet=quiet,
        lacks=report.lacking,
        warnings=report.warnings,
    )


def _lines(report: DownloadReport, *, verbose: bool) -> list[str]:
    """Return the report in words."""
    there = len(report.files) - report.fetched - report.built
    parts = [(report.fetched, "fetched"), (report.built, "built"), (max(there, 0), "were there")]
    parts.append((len(report.removed), "removed"))
    done = ", ".join(f"{number} {word}" for number, word in parts if number) or "nothing to do"
    files = console.counted(len(report.files), "file")
    lines = [
        f"Downloaded {report.project} into {report.folder}: {files},"
        f" {console.human(report.size)} ({done})"
    ]
    if verbose:
        lines += [f"  {file.path}" for file in report.files]
        lines += [f"  removed {name}" for name in report.removed]
    return lines
