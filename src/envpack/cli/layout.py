"""`envpack layout`: the options, and the report in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from envpack.cli import common, console
from envpack.errors import FindingError, UsageError

if TYPE_CHECKING:
    from envpack.layout_check import LayoutCheck
    from envpack.layout_report import LayoutReport

_PATCHED = "`{}` was patched where it was installed, and travels as it is"


@click.group(invoke_without_command=True)
@click.option(
    "-o",
    "--output",
    metavar="DIR|FILE",
    help="Make DIR, or a .tar.gz, .tar.zst, .tar or .zip of it.",
)
@click.option("--update", metavar="DIR", help="Add to the layout DIR instead.")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="DIR",
    help="A project with a uv.lock. Repeatable.  [default: here, if nothing else is named]",
)
@click.option(
    "-r",
    "--requirement",
    "requirements",
    multiple=True,
    metavar="FILE",
    help="A requirements file, which uv resolves now, by itself. Repeatable.",
)
@click.option(
    "--wheel",
    "wheels",
    multiple=True,
    metavar="FILE|DIR",
    help="A wheel or an sdist, or those of DIR. Repeatable.",
)
@click.option(
    "--from-env",
    "environments",
    multiple=True,
    metavar="ENV",
    help="What is installed in ENV, made into wheels again, patched or not. Repeatable.",
)
@common.PLATFORMS
@click.option(
    "-p",
    "--python",
    "pythons",
    multiple=True,
    metavar="V",
    help="A version of Python. Repeatable, or with commas.  [default: the projects']",
)
@common.PYTHON_ARCHIVES
@click.option("--no-python", is_flag=True, help="Bring no Python.")
@click.option("--with-uv", "uv_version", default="", metavar="V", help="uv's version.  [this uv's]")
@click.option("--no-uv", is_flag=True, help="Bring no uv.")
@click.option("--no-seed", is_flag=True, help="Leave out pip, setuptools and wheel.")
@click.option("--no-build", is_flag=True, help="Build nothing; keep sdists where no wheel is.")
@click.option("--prune", is_flag=True, help="With --update: drop what is not named now.")
@common.JOBS
@click.option("-f", "--force", is_flag=True, help="Make DIR or FILE anew if it exists.")
@common.QUIET
@click.option("-v", "--verbose", is_flag=True, help="Print every file that is new.")
@common.AS_JSON
@click.pass_context
def layout(context: click.Context, /, **options: Any) -> None:
    """Make a folder with uv, Pythons and packages, from which an offline site lives.

    `DIR/bin/uv` needs no network, no variable and no fixed place: `uv init`, `add`, `sync`, `run`
    and the rest work in any project. Locks and projects are only read.
    """
    if context.invoked_subcommand is None:
        _make(**options)


@layout.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="DIR",
    help="Also tell what is missing for a project's uv.lock. Repeatable.",
)
@common.JOBS
@common.QUIET
@common.AS_JSON
def check(
    folder: str, *, projects: tuple[str, ...], jobs: int | None, quiet: bool, as_json: bool
) -> None:
    """Compare every file of a layout with its sha256, and every link of its index.

    Exit code 3 says that something is wrong or missing.
    """
    from envpack.layout_check import check_layout

    progress = console.Progress(quiet=quiet or as_json, verb="checking")
    try:
        report = check_layout(folder, projects=projects, jobs=jobs, listener=progress)
    finally:
        progress.close()
    if as_json:
        console.document(report.to_json())
    else:
        console.talk(_found(report))
        for path in report.unknown:
            console.warning(f"`{path}` is not of the layout")
    if report.findings:
        number = len(report.findings)
        noun = "1 thing is" if number == 1 else f"{number} things are"
        raise FindingError(f"`{folder}` is not what was laid out: {noun} wrong")
    if report.missing:
        raise FindingError(
            f"`{folder}` does not hold all that the project needs",
            hint="`envpack layout --update DIR --project P` adds it, where there is a network",
        )
    if not quiet and not as_json:
        console.talk([f"{report.files} files, {console.human(report.size)}: as they were laid out"])


def _found(report: LayoutCheck) -> list[str]:
    """Return what is wrong and what is missing, a line each."""
    lines = [f"{one.path} {one.what}" for one in report.findings]
    for one in report.missing:
        where = f"for {one.where}" if one.where else "though uv resolves with it"
        named = f"{one.name} {one.version}".rstrip()
        lines.append(f"{one.project}: {named} is missing {where}")
    return lines


def _make(
    *,
    output: str | None,
    update: str | None,
    no_python: bool,
    no_uv: bool,
    no_seed: bool,
    no_build: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    from envpack import laying

    if (output is None) == (update is None):
        raise UsageError("name either -o or --update", hint="see `envpack layout --help`")
    if options["prune"] and update is None:
        raise UsageError("`--prune` goes with --update")
    if options["uv_version"] and no_uv:
        raise UsageError("`--with-uv` and `--no-uv` exclude each other")
    inputs = ("projects", "requirements", "wheels", "environments")
    if update is None and not any(options[name] for name in inputs):
        options["projects"] = (".",)
    progress = console.Progress(quiet=quiet or as_json, verb="laying out")
    try:
        report = laying.layout(
            output or update or "",
            update=update is not None,
            python=not no_python and not options["python_archives"],
            uv=not no_uv,
            seeds=not no_seed,
            build=not no_build,
            listener=progress,
            **options,
        )
    finally:
        progress.close()
    console.conclude(
        report,
        lambda: _lines(report, verbose=verbose),
        report.output,
        as_json=as_json,
        quiet=quiet,
        lacks=report.lacking,
        warnings=(*map(_PATCHED.format, report.patched), *report.warnings),
    )


def _lines(report: LayoutReport, *, verbose: bool) -> list[str]:
    """Return the report in words."""
    parts = [
        (report.fetched, "fetched"),
        (report.built, "built"),
        (len(report.added), "new"),
        (len(report.removed), "removed"),
    ]
    done = ", ".join(f"{number} {word}" for number, word in parts if number) or "nothing new"
    held = (
        f"{console.counted(report.packages, 'package')} in {console.counted(report.files, 'file')},"
        f" {console.counted(len(report.pythons), 'Python')}"
    )
    lines = [f"Laid out {report.output}: {held}, {console.human(report.size)} ({done})"]
    if verbose:
        lines += [f"  {path}" for path in report.added]
        lines += [f"  removed {path}" for path in report.removed]
    return lines
