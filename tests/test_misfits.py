"""What a destination may not take: older machines, other formats, too large a file."""

from __future__ import annotations

from itertools import pairwise

import pytest

from envpack.archive import format_named
from envpack.entries import EntryList
from envpack.floor import _RELEASES, exceeds
from envpack.libraries import Libraries, Need
from envpack.misfits import misfits
from envpack.model import Plan
from envpack.presets import PRESETS, Host, Preset, System

OLD = Host("old:1", System("Debian 11", "2.31", "3.4.28"))
NEW = Host("new:2", System("Debian 12", "2.36", "3.4.30"))
FILE = "lib/libexpat.so.1"


def found(
    *, glibc: str | None = None, glibcxx: str | None = None, size: int = 0, ceiling: int = 10**9
) -> tuple[str, ...]:
    """Return what is said of a tar.gz for a destination with both hosts."""
    preset = Preset("It", "", hosts=(OLD, NEW), ceiling=ceiling, above="too much")
    libraries = Libraries(
        glibc=Need(glibc, FILE) if glibc else None, glibcxx=Need(glibcxx, FILE) if glibcxx else None
    )
    plan = Plan(EntryList(()), (), (), 0, libraries=libraries)
    return misfits(plan, format_named("tar.gz"), preset, size)


@pytest.mark.parametrize(
    ("need", "lacking"),
    [
        (None, ""),
        ("2.4", ""),
        ("2.31", ""),
        ("2.34", "old:1 (Debian 11, glibc 2.31)"),
        ("2.36", "old:1 (Debian 11, glibc 2.31)"),
        ("2.36.1", "old:1 (Debian 11, glibc 2.31), new:2 (Debian 12, glibc 2.36)"),
        ("2.100", "old:1 (Debian 11, glibc 2.31), new:2 (Debian 12, glibc 2.36)"),
    ],
)
def test_hosts_with_an_older_glibc_are_named(need: str | None, lacking: str) -> None:
    """All that have less than what is needed, as versions go, with the file that needs it."""
    sentence = f"the archive needs glibc {need} (`{FILE}`), so it does not run on {lacking}"
    assert found(glibc=need) == ((sentence,) if lacking else ())


def test_hosts_with_an_older_libstdcxx_are_named() -> None:
    """The same for GLIBCXX, beside glibc."""
    assert found(glibcxx="3.4.28") == ()
    assert found(glibc="2.34", glibcxx="3.4.29") == (
        f"the archive needs glibc 2.34 (`{FILE}`), so it does not run on old:1 (Debian 11,"
        " glibc 2.31)",
        f"the archive needs GLIBCXX_3.4.29 (`{FILE}`), so it does not run on old:1 (Debian 11,"
        " GLIBCXX_3.4.28)",
    )


def test_a_large_archive_is_said_to_hurt() -> None:
    """From the ceiling on, with its size."""
    assert found(size=10**9) == ()
    assert found(size=2_340_000_000) == ("the archive has 2.3 GB: too much",)


def test_the_hosts_agree_with_the_table_of_releases() -> None:
    """A release has one glibc in this package, and hosts stand oldest first."""
    known = {f"{name} {number}": glibc for name, rows in _RELEASES for number, glibc in rows}
    hosts = [preset.hosts for preset in PRESETS.values() if preset.hosts]
    assert len(hosts) == 5
    for row in hosts:
        for host in row:
            assert known[host.system.name] == host.system.glibc
        for one, other in pairwise(row):
            assert exceeds(Need(other.system.glibc, ""), one.system.glibc)
            assert exceeds(Need(other.system.glibcxx, ""), one.system.glibcxx)
