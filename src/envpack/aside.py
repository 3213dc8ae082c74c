"""A folder that is replaced in one step: made anew beside its place, of what is there already.

The new one begins as hard links to the old one's files. Nothing writes into a file that has its
name, so what is there is neither copied nor touched; at the end the two change places.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from envpack.bundled.holding import holding, remove_tree, remove_unheld
from envpack.errors import FetchFault, OutputFault
from envpack.held import exchange


@dataclass(frozen=True, slots=True)
class Aside:
    """The new folder at `path`, for the place `target`."""

    target: str
    path: str

    def take_over(self) -> None:
        """Link what is at the target into the new folder."""
        _link_tree(self.target, self.path)

    def drop_others(self, kept: Collection[str], before: Collection[str] | None) -> tuple[str, ...]:
        """Remove what is neither `kept` nor somebody else's; return the names of `before` that go.

        What was taken over and is not of `before` is somebody else's, and stays; with None nothing
        was taken over.
        """
        wanted, gone = set(kept), []
        for folder, folders, files in os.walk(self.path, topdown=False):
            below = os.path.relpath(folder, self.path)
            for name in (*files, *(n for n in folders if os.path.islink(os.path.join(folder, n)))):
                path = os.path.normpath(os.path.join(below, name)).replace(os.sep, "/")
                if path in wanted:
                    continue
                if before is not None and path in before:
                    gone.append(path)
                elif before is not None and os.path.lexists(os.path.join(self.target, path)):
                    continue
                os.unlink(os.path.join(folder, name))
            if folder != self.path:
                with suppress(OSError):
                    os.rmdir(folder)  # if nothing is left in it
        return tuple(sorted(gone))

    def commit(self) -> None:
        """Put the new folder in its place, and remove the old one."""
        if not os.path.lexists(self.target):
            os.rename(self.path, self.target)
            return
        exchange(self.path, self.target, _old(self.target))
        remove_tree(self.path)

    def discard(self) -> None:
        """Remove the new folder."""
        remove_tree(self.path)


@contextmanager
def aside(target: str) -> Iterator[Aside]:
    """Give a folder beside `target`, for this process alone; raises OutputFault.

    What a killed run left there is where this one begins. Where files could not be fetched, those
    that came are kept for the next run, else nothing is left.
    """
    path = _part(target)
    with _faults(target):
        os.makedirs(path, exist_ok=True)
        with holding(path) as free:
            if not free:
                raise OutputFault(f"another run is about to write `{target}`")
            try:
                with _faults(target):
                    yield Aside(target, path)
            except FetchFault as fault:
                kept = f"what came is kept in `{os.path.basename(path)}`, for the next run"
                fault.hint = f"{fault.hint}; {kept}" if fault.hint else kept
                raise
            except BaseException:
                remove_tree(path)
                raise


def sweep_aside(target: str) -> None:
    """Remove what a killed run has left beside a folder that needs nothing."""
    remove_unheld(_part(target))


def put_back(target: str) -> None:
    """Give the folder its name again that a killed run had put away, where that takes two steps."""
    old = _old(target)
    if not os.path.lexists(old):
        return
    with suppress(OSError):
        if os.path.lexists(target):
            remove_tree(old)
            return
        with holding(_part(target)) as free:
            if free and not os.path.lexists(target):
                os.rename(old, target)


def _part(target: str) -> str:
    above, name = os.path.split(target)
    return os.path.join(above, f".{name}.part")


def _old(target: str) -> str:
    return f"{_part(target)}.old"


@contextmanager
def _faults(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFault(f"cannot write `{target}`: {error.strerror or error}") from error


def _link_tree(source: str, into: str) -> None:
    """Link files below `source` to names below `into` that are not there yet."""
    for entry in os.scandir(source):
        path = os.path.join(into, entry.name)
        if entry.is_dir(follow_symlinks=False):
            os.makedirs(path, exist_ok=True)
            _link_tree(entry.path, path)
        elif not os.path.lexists(path):
            try:
                os.link(entry.path, path, follow_symlinks=False)
            except OSError:  # a file system without hard links, or more than it can count
                shutil.copy2(entry.path, path, follow_symlinks=False)
