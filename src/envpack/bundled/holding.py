"""Who is at work in a folder, told by a lock on it, and what runs that were killed have left.

The system takes a lock (flock(2)) back when its holder ends, however that ends, so a folder without
one is nobody's any more. A number of a process or an age would not tell: a container counts from 1
each time, and a clock may be set. Children do not inherit the lock.

Needs Python 3.9 and nothing else, as it travels in the bundle.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from typing import Callable, Iterator, Optional

if not __package__:  # on the far side
    from windows import WINDOWS  # type: ignore[import-not-found]
else:
    from envpack.bundled.windows import WINDOWS

UNLOCKED = "unlocked"
"""A file in a folder whose holder, a shell without flock, has no lock: only its like sweeps it."""

_MADE = re.compile(r"[0-9a-f]+")
_DIRECTORY = 0o755
_WRITABLE = 0o700


def lock(descriptor: int) -> Optional[bool]:
    """Lock a file or folder until it is closed; False if another has it, None without locks."""
    try:
        _flock(descriptor, wait=False)
    except BlockingIOError:
        return False
    except OSError:  # a file system, or a system, that has none
        return None
    return True


@contextlib.contextmanager
def holding(folder: str) -> Iterator[bool]:
    """Hold a folder, and tell whether that is so: not if another has it, or if it went meanwhile.

    Where there are no locks, everybody holds everything. Raises OSError if it cannot be opened.
    """
    descriptor = opened(folder)
    try:
        free = descriptor < 0 or lock(descriptor) is not False
        yield free and (descriptor < 0 or _is_at(descriptor, folder))
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def waited_for(folder: str) -> Iterator[None]:
    """Hold a folder as soon as no other does; where that cannot be, go on without."""
    descriptor = -1
    try:
        with contextlib.suppress(OSError):
            descriptor = opened(folder)
            _flock(descriptor, wait=True)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def taken_over(part: str, above: str, name: str) -> Iterator[None]:
    """Hold what a shell without flock has made, and sweep what it could not."""
    mark = os.path.join(part, UNLOCKED)
    if not os.path.lexists(mark):
        yield
        return
    with holding(part):
        os.unlink(mark)
        sweep(above, name)
        yield


def opened(folder: str) -> int:
    """Return a descriptor of a folder, -1 where there are none; raises OSError."""
    if WINDOWS:
        return -1
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def sweep(above: str, name: str) -> None:
    """Remove the folders `.NAME.HEX.part` of this user in `above` that nobody holds."""
    head, tail = f".{name}.", ".part"
    with contextlib.suppress(OSError):
        for found in os.listdir(above):
            middle = found[len(head) : -len(tail)]
            if found == f"{head}{middle}{tail}" and _MADE.fullmatch(middle):
                remove_unheld(os.path.join(above, found))


def remove_unheld(path: str, before: Callable[[str], None] = lambda _path: None) -> bool:
    """Remove a folder of this user that nobody holds, after `before`; say whether it was one."""
    try:
        descriptor = -1 if os.path.islink(path) else opened(path)
    except OSError:
        return False
    if descriptor < 0:
        return False
    try:
        mine = os.fstat(descriptor).st_uid == os.geteuid()
        if not mine or not lock(descriptor) or not _is_at(descriptor, path):
            return False
        if os.path.lexists(os.path.join(path, UNLOCKED)):
            return False
        before(path)
        remove_tree(path)
        return True
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Remove a folder, those in it that cannot be written to included; what cannot go stays."""
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            if os.stat(folder).st_mode & _WRITABLE != _WRITABLE:
                os.chmod(folder, _DIRECTORY)
    shutil.rmtree(path, ignore_errors=True)


def _flock(descriptor: int, *, wait: bool) -> None:
    if sys.platform == "win32":
        raise OSError("there is none")
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _is_at(descriptor: int, path: str) -> bool:
    """Say whether an open folder still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
