"""`envpack layout` as a person and a program see it: whole outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from envpack.platforms import platforms_named
from tests.cli.test_download import Call, call
from tests.shop import MINOR

__all__ = ["call"]

PLAIN = ("--no-python", "--no-uv", "--no-seed", "--platform", "linux")


@pytest.mark.smoke
def test_layout(call: Call, tmp_path: Path) -> None:
    """A line that says what is there, and the folder on stdout; then that nothing is new."""
    done = call("layout", "-o", str(tmp_path / "L"), *PLAIN)
    assert (done.code, done.out) == (0, "<tmp>/L\n")
    assert re.sub(r"\d+\.\d kB", "<size>", done.err) == (
        "laying out 6 files, <size>\n"
        f"Building pure for Python {MINOR}\n"
        "Asking what project is built with\n"
        "Asking what member is built with\n"
        "Laid out <tmp>/L: 6 packages in 7 files, 0 Pythons, <size> (6 fetched, 1 built, 7 new)\n"
    )
    done = call("layout", "--update", str(tmp_path / "L"), *PLAIN, "--project", ".")
    assert (done.code, done.out) == (0, "<tmp>/L\n")
    assert re.sub(r"\d+\.\d kB", "<size>", done.err).splitlines()[-1] == (
        "Laid out <tmp>/L: 6 packages in 7 files, 0 Pythons, <size> (nothing new)"
    )


def test_json(call: Call, tmp_path: Path) -> None:
    """The report, and nothing else."""
    done = call("layout", "-o", str(tmp_path / "L"), *PLAIN, "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    (linux,) = platforms_named(["linux"]) or ()
    assert report["schema"] == "envpack.layout-report/1"
    assert report["output"] == "<tmp>/L"
    assert report["targets"][0].startswith(f"{linux}, Python 3.")
    assert (report["packages"], report["files"], report["inputs"]) == (6, 7, ["demo"])


def test_wrong_words(call: Call, tmp_path: Path) -> None:
    """What contradicts itself is said at once."""
    out = ("-o", str(tmp_path / "L"))
    assert call("layout") == (
        2,
        "",
        "error: name either -o or --update\nhint: see `envpack layout --help`\n",
    )
    done = call("layout", *out, "--prune")
    assert (done.code, done.err) == (2, "error: `--prune` goes with --update\n")
    done = call("layout", *out, "--no-uv", "--with-uv", "0.9.0")
    assert (done.code, done.err) == (2, "error: `--with-uv` and `--no-uv` exclude each other\n")
    done = call("layout", "--update", str(tmp_path / "L"))
    assert (done.code, done.err) == (1, "error: there is no layout at `<tmp>/L`\n")
