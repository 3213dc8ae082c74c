"""`layout check`: every file, every link of the index, and what is missing for a project."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from envpack import laying
from envpack.errors import ProjectFault
from envpack.layout_check import check_layout
from envpack.syncing import sync
from tests.cli.test_download import Call, call
from tests.shelf import wheel
from tests.shop import PLAIN, files, uv

__all__ = ["call"]

layout = partial(laying.layout, python=False, uv=False, seeds=False, platforms=["current"])
PAGE = "simple/plain/index.html"


@pytest.fixture
def site(project: Path, tmp_path: Path) -> Path:
    """A layout of the project."""
    layout(tmp_path / "site", projects=[project])
    return tmp_path / "site"


def test_as_it_was_laid_out(site: Path, project: Path) -> None:
    """Nothing is wrong, and nothing of the project is missing."""
    check = check_layout(site, projects=[project])
    assert (check.findings, check.missing, check.unknown) == ((), (), ())
    assert check.files == len(files(site)) - 1  # but for envpack.json


def _changed(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def _dropped(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        (f"packages/{PLAIN}", _changed, "has the sha256"),
        (f"packages/{PLAIN}", _dropped, "is gone"),
        (f"packages/{PLAIN}.metadata", _changed, "has the sha256"),
        (PAGE, _changed, "has the sha256"),
        ("uv.toml", _dropped, "is gone"),
        ("SHA256SUMS", _changed, "has the sha256"),
    ],
)
def test_what_is_wrong_is_named(
    site: Path, name: str, harm: Callable[[Path], None], said: str
) -> None:
    """One changed byte, or a file that is gone, is told by name."""
    harm(site / name)
    (finding,) = check_layout(site).findings
    assert finding.path == name
    assert finding.what.startswith(said)


def test_links_of_the_index(site: Path) -> None:
    """A link that leads elsewhere, one with another hash, and a file without one."""
    page = site / PAGE
    text = page.read_text("utf-8")
    page.write_text(text.replace("plain-1.0", "plain-2.0"), encoding="utf-8")
    told = {(one.path, one.what.partition(" `")[0]) for one in check_layout(site).findings[1:]}
    assert told == {(PAGE, "leads to"), (f"packages/{PLAIN}", "is not in the index")}
    at = text.index("sha256=") + len("sha256=")
    page.write_text(text[:at] + "0" * 64 + text[at + 64 :], encoding="utf-8")
    assert check_layout(site).findings[1].what == f"has another sha256 for `packages/{PLAIN}`"


def test_a_file_of_nobody(site: Path) -> None:
    """What lies among the layout's files and is not of it is told, as no harm."""
    (site / "packages/stray-1.0-py3-none-any.whl").write_bytes(b"")
    (site / "notes.txt").write_text("mine\n")
    check = check_layout(site)
    assert (check.findings, check.unknown) == ((), ("packages/stray-1.0-py3-none-any.whl",))


def test_what_a_project_lacks(site: Path, project: Path, shelf: Path) -> None:
    """Named with the version and the machine; an update brings it."""
    wheel(shelf, "plain", "2.0")
    wheel(shelf, "colours", "5.0")
    uv("lock", "--upgrade", "--refresh", cwd=project)
    check = check_layout(site, projects=[project])
    told = {(one.project, one.name, one.version, bool(one.where)) for one in check.missing}
    assert told == {("demo", "plain", "2.0", True), ("demo", "colours", "5.0", False)}
    layout(site, projects=[project], update=True)
    assert check_layout(site, projects=[project]).missing == ()


def test_what_a_project_is_built_with(call: Call, site: Path, project: Path) -> None:
    """No lock names it, and without it uv cannot install the members."""
    path = project / "pyproject.toml"
    text = path.read_text("utf-8")
    wanted = """["plain>=1", "bakery>=2", "oven", "member", "never; python_version < '3'"]"""
    path.write_text(text.replace("requires = []", f"requires = {wanted}"), encoding="utf-8")
    check = check_layout(site, projects=[project])
    told = [(one.project, one.name, one.version, one.where) for one in check.missing]
    assert told == [("demo", "bakery", ">=2", "builds"), ("demo", "oven", "", "builds")]
    done = call("layout", "check", str(site), "--project", ".")
    assert (done.code, done.err.partition("\n")[2]) == (
        3,
        "demo: bakery >=2 is missing for builds\n"
        "demo: oven is missing for builds\n"
        "error: `<tmp>/site` does not hold all that the project needs\n"
        "hint: `envpack layout --update DIR --project P` adds it, where there is a network\n",
    )


def test_no_layout(tmp_path: Path, project: Path) -> None:
    """Another folder, and none at all."""
    for path in (project, tmp_path / "gone"):
        with pytest.raises(ProjectFault, match="is no layout"):
            check_layout(path)


def test_in_words(call: Call, site: Path) -> None:
    """What is wrong is told line by line; the exit code of a finding is 3."""
    done = call("layout", "check", str(site), "--project", ".")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(": as they were laid out\n")
    _dropped(site / "packages" / PLAIN)
    done = call("layout", "check", str(site))
    assert (done.code, done.out) == (3, "")
    assert re.sub(r"\d+\.\d kB", "<size>", done.err) == (
        f"checking 23 files, <size>\npackages/{PLAIN} is gone\n"
        "error: `<tmp>/site` is not what was laid out: 1 thing is wrong\n"
    )


@pytest.mark.parametrize("folder", ["site", "site/packages"])
def test_sync_from_it(
    site: Path, project: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`envpack sync` makes the environment of a lock from a layout, and leaves the lock alone."""
    before = (project / "uv.lock").read_bytes()
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    shutil.rmtree(site.parent / "cache", ignore_errors=True)
    report = sync(site.parent / folder, project=project, python=sys.executable)
    assert report.packages == 4
    assert (project / "uv.lock").read_bytes() == before
    assert list((project / ".venv").glob("lib/*/site-packages/plain.py"))


def test_sync_refuses_a_changed_file(site: Path, project: Path) -> None:
    """By name."""
    from envpack.syncing import TamperedError

    _changed(site / "packages" / PLAIN)
    with pytest.raises(TamperedError, match=PLAIN.replace(".", r"\.")):
        sync(site, project=project, python=sys.executable)
