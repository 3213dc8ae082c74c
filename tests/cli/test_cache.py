"""`envpack cache` as a person and a program see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from envpack.cli import run
from tests.trees import make_environment

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Run the command line in this process; paths of the test become <tmp>."""
    monkeypatch.setenv("ENVPACK_CACHE_DIR", str(tmp_path / "cache"))

    def call(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        out, err = capfd.readouterr()
        return code, out.replace(str(tmp_path), "<tmp>"), err.replace(str(tmp_path), "<tmp>")

    return call


def test_an_empty_one(call: Call) -> None:
    """Nothing is there, and nothing is made."""
    assert call("cache", "dir") == (0, "<tmp>/cache\n", "")
    assert call("cache", "size") == (0, "0 B in 0 files\n", "")
    assert call("cache", "prune") == (0, "", "Removed 0 B in 0 files\n")
    assert call("cache", "clear") == (0, "", "Removed 0 B in 0 files\n")


def test_after_a_pack(call: Call, tmp_path: Path) -> None:
    """It is filled unless told otherwise, counted, made smaller, and emptied."""
    fake = make_environment(tmp_path)
    fake.install("six", "1.0", {"six.py": "x = 1\n"})
    pack = ("pack", str(fake.root), "-q", "-f", "-o", str(tmp_path / "env.zip"))
    assert call(*pack, "--no-cache")[0] == 0
    assert not (tmp_path / "cache").exists()
    assert call(*pack)[0] == 0
    assert call(*pack, "--no-stat-cache")[0] == 0
    code, out, _ = call("cache", "size", "--json")
    about = json.loads(out)
    assert (code, about["schema"], about["folder"]) == (0, "envpack.cache/1", "<tmp>/cache")
    assert about["entries"] >= 3
    own = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert about["size"] == own
    call("cache", "prune", "--to", f"{own - 1}")
    assert json.loads(call("cache", "size", "--json")[1])["size"] < own
    assert call("cache", "clear")[0] == 0
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("cache", "prune", "--to", "much"), "error: `much` is no size such as `500MB`\n"),
        (("cache", "size", "--cache-dir", __file__), f"error: `{__file__}` is no folder for a"),
    ],
)
def test_wrong_words(call: Call, words: tuple[str, ...], error: str) -> None:
    """One sentence, exit code 2."""
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith(error)
