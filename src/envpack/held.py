"""Folders for what is not finished yet: held by the run that fills them, swept by the next one.

Temporary folders are `envpack-HEX` in the system's own for that, half-made outputs are in
`.NAME.HEX.part` beside their place. How it is told whose run is over: `envpack.bundled.holding`.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from envpack.bundled.holding import lock, opened, remove_tree, remove_unheld
from envpack.errors import OutputFault

_SCRATCH = re.compile(r"envpack-[0-9a-f]{16}")
_PART = re.compile(r"\.(?P<name>.*)\.[0-9a-f]{16}\.part", re.DOTALL)
_LONGEST = 50
"""Characters of a name that a name beside it takes over: of 255 bytes they may be 200."""

_NEW, _OLD = "new", "old"
_TRIES = 9

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
"""`AT_FDCWD`, `RENAME_NOREPLACE` and `RENAME_EXCHANGE` of renameat2(2)."""


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Give a temporary folder; its path is free of links. Raises OutputFault if there is none."""
    with ExitStack() as stack:
        try:
            above = os.path.realpath(tempfile.gettempdir())
            with suppress(OSError):
                for name in os.listdir(above):
                    if _SCRATCH.fullmatch(name):
                        remove_unheld(os.path.join(above, name))
            path = stack.enter_context(_made(above, "envpack-", ""))
        except OSError as error:
            raise OutputFault(
                f"no temporary folder can be made: {error.strerror or error}",
                hint="set TMPDIR to a folder that can be written to",
            ) from error
        yield path


@contextmanager
def beside(path: str) -> Iterator[str]:
    """Give a place for what shall become `path`, in a folder beside it; raises OSError.

    What is there in the end goes, unless it was renamed.
    """
    above, name = os.path.split(path)
    with _made(above, f".{name[:_LONGEST]}.", ".part") as folder:
        yield os.path.join(folder, _NEW)


@contextmanager
def replaced(path: str) -> Iterator[str]:
    """Give a place for a file that takes that of `path` if all went well; raises OSError."""
    with beside(path) as new:
        yield new
        os.replace(new, path)


def sweep(folder: str) -> None:
    """Remove what killed runs have left in a folder beside what they were to write."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if _PART.fullmatch(name):
                remove_unheld(os.path.join(folder, name))


def sweep_beside(path: str) -> None:
    """Remove what killed runs have left of `path`; one that fell between two names comes back."""
    above, own = os.path.split(path)

    def put_back(left: str) -> None:
        if not os.path.lexists(path):
            with suppress(OSError):
                os.rename(os.path.join(left, _OLD), path)

    with suppress(OSError):
        for name in os.listdir(above):
            match = _PART.fullmatch(name)
            if match is not None and match["name"] == own[:_LONGEST]:
                remove_unheld(os.path.join(above, name), put_back)


def is_empty(folder: str) -> bool:
    """Say whether a folder has nothing but what runs are about to write there, or were."""
    return all(_PART.fullmatch(name) for name in os.listdir(folder))


def put(new: str, path: str) -> None:
    """Give what `beside` gave its name, unless that is taken; raises FileExistsError, OSError."""
    if not _renamed(new, path, _NOREPLACE):
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        os.rename(new, path)


def exchange(new: str, path: str, old: str = "") -> None:
    """Let two folders change names: at once where the system can do that; raises OSError.

    Elsewhere the one at `path` is called `old` in between, beside `new` if that is not given.
    """
    if _renamed(new, path, _EXCHANGE):
        return
    old = old or os.path.join(os.path.dirname(new), _OLD)
    os.rename(path, old)
    os.rename(new, path)
    with suppress(FileNotFoundError):  # another run may have swept it by now
        os.rename(old, new)


@contextmanager
def _made(above: str, head: str, tail: str) -> Iterator[str]:
    """Give a new folder that this run holds; whatever comes between, it is gone afterwards."""
    path, descriptor = "", None
    try:
        for _ in range(_TRIES):
            path = os.path.join(above, f"{head}{secrets.token_hex(8)}{tail}")
            descriptor = _mkdir(path)
            if descriptor is not None:
                break
        else:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), above)
        yield path
    finally:
        remove_tree(path)
        if descriptor is not None and descriptor >= 0:
            os.close(descriptor)


def _mkdir(path: str) -> int | None:
    """Make a folder and return its locked descriptor, None if it was swept between the two."""
    os.mkdir(path, 0o700)
    try:
        descriptor = opened(path)
    except FileNotFoundError:
        return None
    if descriptor >= 0 and (lock(descriptor) is False or not os.path.isdir(path)):
        os.close(descriptor)
        return None
    return descriptor


def _renamed(one: str, other: str, flags: int) -> bool:
    """Rename as the system may be able to do; say whether it was. Raises OSError."""
    import ctypes  # late: few runs have an output that is not replaced by a rename

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # another system, an older C library
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:  # another file system, an old kernel
        return False
    raise OSError(number, os.strerror(number), other)
