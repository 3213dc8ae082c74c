"""What a target takes of a lock: the wheel that uv would take, else what can be built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.pylock import PackageWheel, Pylock
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from envpack import choice
from envpack.choice import Choice, choose, targets_of
from envpack.platforms import STANDARD, Python, Target, platforms_named, pythons_named

LINUX, MAC, WINDOWS = STANDARD[0], STANDARD[4], STANDARD[6]


def package(name: str, *files: str, marker: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a package of a lock, with wheels and at most one sdist."""
    table: dict[str, Any] = {"name": name, "version": "1.0", **more}
    hashes = {"sha256": "ab" * 32}
    wheels = [
        {"url": f"https://files.example/{f}", "hashes": hashes} for f in files if f[-1] == "l"
    ]
    sdists = [
        {"url": f"https://files.example/{f}", "hashes": hashes} for f in files if f[-1] == "z"
    ]
    if wheels:
        table["wheels"] = wheels
    if sdists:
        table["sdist"] = sdists[0]
    return {**table, **({"marker": marker} if marker else {})}


def lock(*packages: dict[str, Any]) -> Pylock:
    """Return a lock of these packages."""
    return Pylock.from_dict(
        {"lock-version": "1.0", "created-by": "test", "packages": list(packages)}
    )


def targets(platforms: str, pythons: str) -> tuple[Target, ...]:
    """Return the combinations of two lists of words."""
    return targets_of(platforms_named([platforms]), pythons_named([pythons]), ())


def names(choices: tuple[Choice, ...]) -> list[str]:
    """Return the file names of choices."""
    return [choice.source.filename for choice in choices]  # type: ignore[union-attr]


BOTH = package(
    "both",
    "both-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "both-1.0-cp312-cp312-manylinux_2_34_x86_64.whl",
    "both-1.0-cp312-cp312-win_amd64.whl",
    "both-1.0-cp311-cp311-win_amd64.whl",
    "both-1.0-cp312-cp312-manylinux_2_28_ppc64le.whl",
    "both-1.0.tar.gz",
)


def test_the_newest_that_runs() -> None:
    """Of two wheels the one for the newer C library is taken where that is."""
    old, _ = choose(lock(BOTH), targets("linux", "3.12"))
    new, _ = choose(lock(BOTH), targets("manylinux_2_34_x86_64", "3.12"))
    assert names(old) == ["both-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"]
    assert names(new) == ["both-1.0-cp312-cp312-manylinux_2_34_x86_64.whl"]


def test_an_sdist_where_no_wheel_fits() -> None:
    """Each target has its own answer, in the order of the lock."""
    choices, lacks = choose(lock(BOTH), targets("windows,macos", "3.12"))
    assert names(choices) == ["both-1.0-cp312-cp312-win_amd64.whl", "both-1.0.tar.gz"]
    assert choices[1].targets == (Target(MAC, Python("3.12")),)
    assert lacks == ()


def test_nothing_at_all() -> None:
    """A package without a fitting wheel and without an sdist is lacking for that target alone."""
    only = package("only", "only-1.0-cp312-cp312-win_amd64.whl")
    choices, lacks = choose(lock(only), targets("windows,macos", "3.12"))
    assert names(choices) == ["only-1.0-cp312-cp312-win_amd64.whl"]
    assert [(str(lack.package.name), lack.target.platform) for lack in lacks] == [("only", MAC)]


def test_markers() -> None:
    """A package comes along only for those whom its marker means."""
    found = lock(
        package("win", "win-1.0-py3-none-any.whl", marker="sys_platform == 'win32'"),
        package("old", "old-1.0-py3-none-any.whl", marker="python_full_version < '3.12'"),
        package("late", "late-1.0-py3-none-any.whl", marker="python_full_version >= '3.12.4'"),
    )
    assert names(choose(found, targets("linux", "3.11"))[0]) == ["old-1.0-py3-none-any.whl"]
    assert names(choose(found, targets("windows", "3.12.1"))[0]) == ["win-1.0-py3-none-any.whl"]
    some = names(choose(found, targets("linux", "3.12"))[0])
    assert some == ["late-1.0-py3-none-any.whl"]  # a minor version stands for all its patches


def test_every_platform() -> None:
    """`all` takes every wheel that the Python can take, be the platform ever so rare."""
    found = lock(
        BOTH, package("rare", "rare-1.0-py3-none-any.whl", marker="platform_machine == 'ppc64le'")
    )
    choices, _ = choose(found, targets("all", "3.12"), every=pythons_named(["3.12"]))
    assert sorted(names(choices)) == [
        "both-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "both-1.0-cp312-cp312-manylinux_2_28_ppc64le.whl",
        "both-1.0-cp312-cp312-manylinux_2_34_x86_64.whl",
        "both-1.0-cp312-cp312-win_amd64.whl",
        "both-1.0.tar.gz",
        "rare-1.0-py3-none-any.whl",
    ]


def test_sdists_too() -> None:
    """With sdists a package that is wanted brings its own, though a wheel fits."""
    other = package("other", "other-1.0.tar.gz", marker="sys_platform == 'win32'")
    choices, _ = choose(lock(BOTH, other), targets("linux", "3.12"), sdists=True)
    assert names(choices)[1:] == ["both-1.0.tar.gz"]
    assert choices[1].targets == ()


def test_the_project_limits_itself() -> None:
    """`all` asks nothing for platforms that the project's environments leave out."""
    linux = Marker("sys_platform == 'linux'")
    found = targets_of(None, pythons_named(["3.12"]), (linux,))
    assert {target.platform.os for target in found} == {"linux"}
    asked = targets_of((WINDOWS,), pythons_named(["3.12"]), (linux,))
    assert asked == (Target(WINDOWS, Python("3.12")),)


def test_what_suits_is_what_the_tags_say() -> None:
    """As packaging tells it for a Python on each of the wheel's platforms, and nothing else."""
    interpreters = ("cp312", "cp311", "cp39", "cp313", "py3", "py312", "py2.py3", "pp310")
    abis = ("cp312", "cp311", "cp313t", "abi3", "none")
    wheels = [
        PackageWheel(name=f"p-1.0-{i}-{a}-{p}.whl", url="https://example.org/", hashes={"md5": "0"})
        for i in interpreters
        for a in abis
        for p in ("any", "win_amd64", "manylinux_2_17_x86_64.musllinux_1_2_x86_64")
    ]
    for python in pythons_named(["3.9", "3.12", "3.13t", "3.14.1"]):
        for wheel in wheels:
            tags = parse_wheel_filename(wheel.filename)[-1]
            taken = python.tags(sorted({tag.platform for tag in tags}))
            assert choice._suits(wheel, python) == (not tags.isdisjoint(taken)), wheel.filename


def test_each_name_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the tags of a Python are made once, however many wheels, Pythons and platforms."""
    read: list[str] = []
    made: list[tuple[str, ...]] = []
    tags = Python.tags

    def counted(name: str) -> Any:
        read.append(name)
        return parse_wheel_filename(name)

    def counted_tags(python: Python, platforms: Sequence[str]) -> tuple[Tag, ...]:
        made.append(tuple(platforms))
        return tags(python, platforms)

    monkeypatch.setattr(choice, "parse_wheel_filename", counted)
    monkeypatch.setattr(Python, "tags", counted_tags)
    minors = ("40", "41", "42")  # which no other test asks for
    files = [f"once{n}-1.0-cp3{minor}-none-win_amd64.whl" for n in range(20) for minor in minors]
    pylock = lock(*(package(f"once{n}", *files[3 * n : 3 * n + 3]) for n in range(20)))
    pythons = pythons_named([f"3.{minor}" for minor in minors])
    wanted = targets_of(None, pythons, ())
    choose(pylock, wanted, every=pythons, closure=True)
    assert sorted(read) == sorted(files)
    assert len(made) == len(wanted) + len(pythons)
