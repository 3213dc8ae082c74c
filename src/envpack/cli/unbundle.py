"""`envpack unbundle`: the options, and what the installer says."""

from __future__ import annotations

from typing import Any

import click

from envpack.cli import console
from envpack.errors import UsageError


@click.command()
@click.argument("bundle", metavar="FILE")
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--check", is_flag=True, help="Verify every file, and install nothing.")
@click.option(
    "--python-dir", metavar="DIR", help="Where Python goes.  [default: uv's own directory]"
)
@click.option(
    "--install-uv",
    is_flag=True,
    help="Also put uv into ~/.local/bin, unless a newer one is there.",
)
@click.option("--replace-uv", is_flag=True, help="The same, even if a newer one is there.")
@click.option(
    "--sources-to", metavar="DIR", help="Put the sources there, if DIR holds edited ones."
)
@click.option(
    "--uninstall",
    is_flag=True,
    help="Remove from DIR, and beside it, what was installed; edited sources stay.",
)
def unbundle(bundle: str, folder: str | None, *, check: bool, **options: Any) -> None:
    """Install the project of FILE, which `envpack bundle` made, in DIR, without a network.

    The same as `sh FILE DIR`, for every kind of bundle, on a machine that has envpack.
    """
    from envpack import unbundling

    if folder is None and not check:
        raise UsageError("name the DIR in which to install", hint="see `envpack unbundle --help`")
    first, *rest = unbundling.unbundle(bundle, folder, check=check, **options)
    console.talk([first])
    for line in rest:
        console.talk([line])
