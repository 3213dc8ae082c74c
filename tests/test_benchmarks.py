"""The scripts that measure: they run, and compare like with like."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"


def test_download_time() -> None:
    """One round of a few packages: both bring the same files, and the table says how long."""
    words = [sys.executable, str(SCRIPTS / "download_time.py"), "--packages", "4", "--rounds", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    rows = [line.split(" | ")[0].strip("| ") for line in done.stdout.splitlines() if "|" in line]
    assert rows[2:] == [
        "`envpack download`",
        "`pip download -r requirements.txt`",
        "`envpack download` again, everything there",
    ], done.stderr
    assert "pip takes" in done.stdout
