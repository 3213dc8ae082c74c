"""Outputs that are whole or not there: written beside their place, renamed at the end."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from envpack import manifest
from envpack.errors import OutputFault
from envpack.model import Format


def check_output(target: str, kind: Format, *, force: bool) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Raises OutputFault if `target` exists and `force` does not allow to replace it, or if its folder
    is missing or not writable. A folder is replaced only if envpack wrote it, or if it is empty.
    """
    folder = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(folder):
        raise OutputFault(f"the folder `{folder}` does not exist", hint="make it first")
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
    """Give a path beside `target`, and rename it to that when all went well; else remove it."""
    folder, name = os.path.split(os.path.abspath(target))
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        if kind.folder and os.path.lexists(target):
            shutil.rmtree(target)
        if not force and os.path.lexists(target):
            raise OutputFault(f"`{target}` has appeared meanwhile", hint="overwrite it with -f")
        os.replace(temporary, target)
    except OSError as error:
        raise OutputFault(f"cannot write `{target}`: {error.strerror or error}") from error
    finally:
        _remove(temporary)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)
