"""What is made to be carried elsewhere has the same bytes and modes under any umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envpack.bundling import bundle
from envpack.downloading import download
from envpack.laying import layout

UMASKS = (0o022, 0o002, 0o027, 0o077)
Made = dict[str, tuple[bytes, int]]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Make files as somebody with another umask does."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def made(folder: Path) -> Made:
    """Return what is in a folder: contents and modes."""
    found = {".": (b"", stat.S_IMODE(folder.stat().st_mode))}
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (data, stat.S_IMODE(path.stat().st_mode))
    return found


def _downloaded(project: Path, target: Path) -> Made:
    download(target, project=project, platforms=["linux"], sdists=True)
    return made(target)


def _laid(project: Path, target: Path) -> Made:
    layout(target, projects=[project], python=False, uv=False, seeds=False, platforms=["linux"])
    return made(target)


def _bundled(project: Path, target: Path) -> Made:
    out = target.with_suffix(".run")
    bundle(str(out), project=project, python=False, uv=False)
    mode = stat.S_IMODE(out.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    assert mode == 0o777 & ~mask
    return {"": (out.read_bytes(), 0)}


@pytest.mark.parametrize("make", [_downloaded, _laid, _bundled])
def test_the_same_under_any_umask(
    project: Path, tmp_path: Path, make: Callable[[Path, Path], Made]
) -> None:
    """Also where a build takes modes from its files, and those of the sources differ.

    A `.run` alone is a file as any other: who may read it follows the umask, and may run it.
    """
    results = []
    for mask in UMASKS:
        for path in (project / "backend.py", project / "member/backend.py"):
            path.chmod(0o666 & ~mask)
        with umask(mask):
            results.append(make(project, tmp_path / f"made-{mask:03o}"))
    first = results[0]
    for mask, result in zip(UMASKS, results, strict=True):
        differing = {name for name in {*first, *result} if first.get(name) != result.get(name)}
        assert not differing, oct(mask)
    modes = {mode for _, mode in first.values()}
    assert modes <= {0, 0o755, 0o644}
