"""Downloads that were cut: killed at any point, or with nobody to answer."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envpack.downloading import download
from envpack.errors import FetchFault
from tests.index_server import Fault, IndexServer
from tests.shop import PLAIN, files

SOURCE = Path(__file__).parents[1] / "src"
POINTS = 20
PARTS = 4
WORDS = ["download", "--platform", "linux,windows", "--sdist", "-q"]


def started(folder: Path) -> subprocess.Popen[bytes]:
    """Start the command line in a session of its own."""
    program = [sys.executable, "-c", "from envpack.cli import main; main()"]
    return subprocess.Popen(
        [*program, *WORDS, "-o", str(folder)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def content(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {name: (folder / name).read_bytes() for name in files(folder)}


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_point(project: Path, server: IndexServer, tmp_path: Path, part: int) -> None:
    """What was killed goes on, and ends with the very bytes of one that was not."""
    del project
    for name in os.listdir(server.folder or ""):
        server.faults[f"/files/{name}"] = Fault(drip=200, pause=0.02)
    for folder in (tmp_path / "first", tmp_path / "whole"):  # uv's cache is cold once
        begin = time.monotonic()
        assert started(folder).wait() == 0
        took = time.monotonic() - begin
    whole = content(tmp_path / "whole")
    chance = random.Random(part)
    for point in range(POINTS // PARTS):
        folder = tmp_path / f"D{point}"
        killed_after(folder, chance.uniform(0.05, took))
        unfinished = content(folder) if folder.exists() else {}
        for name, data in unfinished.items():
            assert name not in whole or name == "envpack.json" or data == whole[name]
        assert started(folder).wait() == 0
        assert content(folder) == whole


def killed_after(folder: Path, seconds: float) -> None:
    """Kill a download on its way: if it was faster, another one earlier."""
    process = started(folder)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        return
    shutil.rmtree(folder)
    killed_after(folder, seconds * 0.8)


def test_no_network(project: Path, server: IndexServer, tmp_path: Path) -> None:
    """Where nobody answers, the host is named, and what was missing; the next run brings it."""
    del project
    download(tmp_path / "D", platforms=["windows"])
    server.faults[f"/files/{PLAIN}"] = Fault()
    (tmp_path / "D/wheels" / PLAIN).unlink()
    port = server.url.rpartition(":")[2]
    server.__exit__(None, None, None)
    with pytest.raises(FetchFault) as caught:
        download(tmp_path / "D", platforms=["linux"])
    assert PLAIN in str(caught.value)
    assert f"127.0.0.1:{port}" in str(caught.value)
