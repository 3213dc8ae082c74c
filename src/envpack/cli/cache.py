"""`envpack cache`, and the options of the cache that other commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from envpack.cli import console
from envpack.errors import UsageError

if TYPE_CHECKING:
    from envpack.cache import Cache

_F = TypeVar("_F", bound=Callable[..., Any])
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B?")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def _folder_option(command: _F) -> _F:
    return click.option(
        "--cache-dir",
        metavar="DIR",
        envvar="ENVPACK_CACHE_DIR",
        help="The cache's folder.  [env: ENVPACK_CACHE_DIR; default: envpack in the user's cache]",
    )(command)


def cache_options(command: _F) -> _F:
    """Add the options to a command that uses the cache."""
    no_cache = click.option("--no-cache", is_flag=True, help="Neither read nor write the cache.")
    no_stat = click.option(
        "--no-stat-cache",
        is_flag=True,
        help="Read files even if their times and sizes are what they were.",
    )
    return _folder_option(no_cache(no_stat(command)))


def cache_of(options: dict[str, Any]) -> Cache | None:
    """Take the words of the options out of `options`, and return the cache they mean."""
    folder, no_cache = options.pop("cache_dir"), options.pop("no_cache")
    no_stat = options.pop("no_stat_cache")
    return None if no_cache else _cache(folder, known=not no_stat)


def _cache(folder: str | None, *, known: bool = True) -> Cache:
    from envpack.cache import Cache

    if not folder:
        from platformdirs import user_cache_dir

        folder = user_cache_dir("envpack", appauthor=False)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"`{folder}` is no folder for a cache")
    return Cache(os.path.abspath(folder), known=known)


@click.group()
def cache() -> None:
    """Look at the cache of what was compressed before, and make it smaller."""


@cache.command("dir")
@_folder_option
def dir_(cache_dir: str | None) -> None:
    """Print the cache's folder."""
    console.data(_cache(cache_dir).folder)


@cache.command()
@_folder_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON on stdout.")
def size(cache_dir: str | None, *, as_json: bool) -> None:
    """Print how much the cache holds."""
    own = _cache(cache_dir)
    usage = own.usage()
    if as_json:
        about = {"folder": own.folder, "entries": usage.entries, "size": usage.size}
        console.document({"schema": "envpack.cache/1", **about})
        return
    console.data(f"{console.human(usage.size)} in {usage.entries} files")


@cache.command()
@_folder_option
@click.option("--to", "cap", default="5GB", show_default=True, metavar="SIZE", help="Keep SIZE.")
def prune(cache_dir: str | None, cap: str) -> None:
    """Remove what was used least recently, until no more than SIZE is left."""
    match = _SIZE.fullmatch(cap)
    if match is None:
        raise UsageError(f"`{cap}` is no size such as `500MB`")
    gone = _cache(cache_dir).trim(int(float(match[1]) * _UNITS[match[2]]))
    console.talk([f"Removed {console.human(gone.size)} in {gone.entries} files"])


@cache.command()
@_folder_option
def clear(cache_dir: str | None) -> None:
    """Remove everything."""
    gone = _cache(cache_dir).clear()
    console.talk([f"Removed {console.human(gone.size)} in {gone.entries} files"])
