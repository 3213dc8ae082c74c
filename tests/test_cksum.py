"""The checksum that the script of a bundle compares."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envpack.cksum import cksum


@pytest.mark.parametrize(
    ("data", "number"), [(b"", 4294967295), (b"123456789", 930766865), (b"a" * 300, 1664553091)]
)
def test_known(data: bytes, number: int) -> None:
    """POSIX's numbers; those of the length count too."""
    assert cksum(data) == number


@given(st.binary(max_size=700))
def test_the_program(data: bytes) -> None:
    """`cksum` says the same of any bytes."""
    program = shutil.which("cksum")
    if program is None:
        pytest.skip("`cksum` is not installed")
    done = subprocess.run([program], input=data, capture_output=True, check=True)
    assert int(done.stdout.split()[0]) == cksum(data)
