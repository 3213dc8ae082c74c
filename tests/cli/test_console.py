"""Colour: on a terminal, unless NO_COLOR says no, and never where it would carry the meaning."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_honoured(no_color: str, coloured: bool) -> None:
    """The label is there either way (no-color.org)."""
    ours, theirs = pty.openpty()
    env = {
        **os.environ,
        "NO_COLOR": no_color,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    words = [sys.executable, "-m", "envpack", "pack", "nowhere"]
    subprocess.run(words, stderr=theirs, env=env, check=False)
    os.close(theirs)
    text = os.read(ours, 4096).decode()
    os.close(ours)
    assert "error" in text
    assert ("\x1b[" in text) is coloured
