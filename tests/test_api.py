"""`import envpack`: the same pack, from Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import envpack
from tests.trees import make_environment


def test_pack_returns_the_report(tmp_path: Path) -> None:
    """Typed, complete, and true to what was written."""
    fake = make_environment(tmp_path)
    fake.install("six", "1.0", {"six.py": ""})
    report = envpack.pack(fake.root, tmp_path / "env.zip", jobs=1)
    assert isinstance(report, envpack.PackReport)
    assert report.output_size == (tmp_path / "env.zip").stat().st_size
    assert [package.name for package in report.packages] == ["six"]
    assert report.findings == ()
    assert not report.dry_run


def test_strict_raises_with_the_report(tmp_path: Path) -> None:
    """And leaves nothing."""
    fake = make_environment(tmp_path)
    fake.add("etc/x.conf", str(fake.root))
    with pytest.raises(envpack.StrictError) as caught:
        envpack.pack(fake.root, tmp_path / "env.tar.gz", strict=True)
    assert caught.value.exit_code == 3
    assert [leak.name for leak in caught.value.report.leaks] == ["etc/x.conf"] * 2
    assert not (tmp_path / "env.tar.gz").exists()


def test_an_unknown_word_is_refused(tmp_path: Path) -> None:
    """Before anything is looked at."""
    with pytest.raises(envpack.EnvpackError, match="`often` is none of"):
        envpack.pack(tmp_path, links="often")


def test_every_public_name_is_there() -> None:
    """`__all__` tells the truth, though names are imported when asked for."""
    for name in envpack.__all__:
        assert getattr(envpack, name) is not None
    with pytest.raises(AttributeError, match="no attribute `nonsense`"):
        _ = envpack.nonsense


def test_the_command_starts_light() -> None:
    """`envpack --version` imports no compressor, no uv, no rich, and no layer below the CLI."""
    code = (
        "import sys, envpack.cli\n"
        "heavy = {'zstandard', 'deflate', 'zlib_ng', 'rich', 'packaging', 'uv', 'tarfile'}\n"
        "heavy |= {'dataclasses', 'traceback', 'email', 'concurrent.futures', 'envpack.model'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout == "[]\n"
