"""`envpack sync`: the options, and the report in words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from envpack.cli import common, console
from envpack.cli.scope import scope_of, scope_options
from envpack.errors import UsageError

if TYPE_CHECKING:
    from envpack.syncing import SyncReport


@click.command()
@click.argument("folder", required=False, metavar="[DIR]")
@common.PROJECT
@click.option(
    "-p", "--python", metavar="V", help="A Python, as uv takes it.  [default: the project's]"
)
@scope_options
@click.option(
    "--configure",
    type=click.Choice(["project", "user"]),
    is_flag=False,
    flag_value="project",
    help="Write what plain uv needs into the project's uv.toml, or the user's.",
)
@click.option(
    "--unconfigure",
    type=click.Choice(["project", "user"]),
    is_flag=False,
    flag_value="project",
    help="Take back what --configure wrote, and do nothing else.",
)
@common.QUIET
@click.option("-v", "--verbose", is_flag=True, help="Print what is going on.")
@common.AS_JSON
def sync(
    folder: str | None,
    *,
    project: str,
    python: str | None,
    configure: str | None,
    unconfigure: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make or update a project's .venv from DIR, which `envpack download` filled, offline.

    Afterwards `uv run` and `uv sync --locked` find everything in place. uv.lock and pyproject.toml
    are only read.
    """
    from envpack import syncing

    if unconfigure:
        _unconfigure(project, unconfigure, quiet=quiet)
        return
    if folder is None:
        raise UsageError("DIR is missing, the folder that `envpack download` filled")
    progress = console.Progress(quiet=quiet or as_json or not verbose)
    report = syncing.sync(
        folder,
        project=project,
        python=python,
        environment=os.environ.get("UV_PROJECT_ENVIRONMENT"),
        scope=scope_of(options),
        configure=_configured_folder(project, configure) if configure else None,
        listener=progress,
    )
    made = report.environment
    console.conclude(report, lambda: _lines(report), made, as_json=as_json, quiet=quiet)


def _lines(report: SyncReport) -> list[str]:
    members = f", and {', '.join(report.members)} by uv" if report.members else ""
    packages = console.counted(report.packages, "package")
    lines = [
        f"Synced {report.environment} from {report.folder}: {packages}{members},"
        f" Python {report.python}"
    ]
    if report.configured:
        lines.append(f"  uv stays offline by {report.configured}")
    else:
        lines.append(
            "  plain uv stays offline with these lines in a uv.toml (--configure writes them)"
        )
        lines += [f"    {line}" for line in report.settings]
    return lines


def _configured_folder(project: str, where: str) -> str:
    """Return the folder of the uv.toml that is meant."""
    from envpack.lock import find_lock

    if where == "project":
        return find_lock(project).root
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "uv")


def _unconfigure(project: str, where: str, *, quiet: bool) -> None:
    from envpack.settings import unconfigure

    folder = _configured_folder(project, where)
    done = unconfigure(folder)
    if not quiet:
        told = f"Took back {done}" if done else f"Nothing of envpack's in {folder}"
        console.talk([told])
