"""Outputs that are whole or not there: written beside their place, put there in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from envpack import manifest
from envpack.errors import OutputFault
from envpack.held import beside, exchange, put, sweep_beside
from envpack.model import Format

_TRIES = 9


def check_output(target: str, kind: Format, *, force: bool) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Raises OutputFault if `target` exists and `force` does not allow to replace it, or if its folder
    is missing or not writable. A folder is replaced only if envpack wrote it, or if it is empty.
    """
    folder = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(folder):
        raise OutputFault(f"the folder `{folder}` does not exist", hint="make it first")
    sweep_beside(os.path.abspath(target))
    if os.path.lexists(target):
        if not force:
            raise OutputFault(f"`{target}` exists", hint="overwrite it with -f")
        is_folder = os.path.isdir(target) and not os.path.islink(target)
        if kind.folder and not _is_ours(target):
            raise OutputFault(f"`{target}` exists and was not written by envpack")
        if not kind.folder and not os.path.isfile(target):
            raise OutputFault(f"`{target}` is {'a folder' if is_folder else 'no regular file'}")
    if not os.access(folder, os.W_OK):
        raise OutputFault(f"the folder `{folder}` is not writable")


def _is_ours(folder: str) -> bool:
    """Say whether replacing a folder loses nothing but an earlier output, or nothing at all."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        return False
    return not os.listdir(folder) or os.path.isfile(os.path.join(folder, manifest.NAME))


@contextmanager
def written_aside(target: str, kind: Format, *, force: bool) -> Iterator[str]:
    """Give a path for what becomes `target` in one step when all went well; else it is removed.

    What is there is the old output up to that moment, and the new one from then on.
    """
    path = os.path.abspath(target)
    try:
        with beside(path) as new:
            yield new
            _put(new, path, kind, force=force)
    except OSError as error:
        raise OutputFault(f"cannot write `{target}`: {error.strerror or error}") from error


def _put(new: str, path: str, kind: Format, *, force: bool) -> None:
    if not force:
        try:
            put(new, path)
        except FileExistsError:
            message = f"`{path}` has appeared meanwhile"
            raise OutputFault(message, hint="overwrite it with -f") from None
        return
    if not kind.folder:
        os.replace(new, path)
        return
    for _ in range(_TRIES):
        try:
            if not os.path.lexists(path):
                put(new, path)
            elif _is_ours(path):
                exchange(new, path)
            else:
                raise OutputFault(f"`{path}` exists and was not written by envpack")
        except (FileExistsError, FileNotFoundError):  # another run's came or went just now
            continue
        return
    raise OutputFault(f"other runs write `{path}` again and again")
