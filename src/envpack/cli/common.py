"""Options that several commands have, in the same words."""

from __future__ import annotations

import click

PROJECT = click.option(
    "--project", default=".", metavar="DIR", help="The project.  [default: here]"
)
PLATFORMS = click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="P",
    help="A platform, as `envpack download` takes it. Repeatable, or with commas."
    "  [default: current]",
)
PYTHON_ARCHIVES = click.option(
    "--python-archive",
    "python_archives",
    multiple=True,
    metavar="FILE|DIR",
    help="This archive of a Python, such as a company's build, instead of uv's. Repeatable.",
)
JOBS = click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="At a time.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
AS_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the report as JSON on stdout."
)
