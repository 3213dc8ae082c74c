"""The user site, which an environment with system site-packages sees too."""

from __future__ import annotations

from pathlib import Path

import pytest

from envpack.environment import discover
from envpack.errors import EditableFault
from envpack.model import Disk, Reason
from envpack.packing import pack
from tests.test_plan import names, plan_of, reasons
from tests.trees import FakeEnvironment, install, make_environment, write

SITE = "lib/python3.12/site-packages"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the site-packages of a user with two packages, a script, a module and bytecode."""
    monkeypatch.delenv("PYTHONNOUSERSITE", raising=False)
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "user"))
    site = tmp_path / "user" / SITE
    script = f"#!{tmp_path}/user/bin/python\n"
    install(site, "six", "1.5", {"six.py": "user", "../../../bin/six-it": script})
    install(site, "mine", "3.0", {"mine/__init__.py": "V = 1\n", "mine/x.py": ""})
    write(site / "loose.py", "L = 1\n")
    write(site / "__pycache__/loose.cpython-312.pyc", "x")
    write(tmp_path / "user/share/secret", "not asked for")
    return site


@pytest.fixture
def fake(tmp_path: Path) -> FakeEnvironment:
    """Give an environment that sees it."""
    return make_environment(tmp_path, system_site=True)


def test_it_goes_in_and_is_told(fake: FakeEnvironment, user: Path, tmp_path: Path) -> None:
    """Its packages with RECORD and scripts, its loose files, and nothing else of its prefix."""
    plan = plan_of(fake)
    assert {"six", "mine"} <= {package.name for package in plan.packages}
    found = names(plan)
    for name in ("mine/x.py", "loose.py", "six-1.5.dist-info/RECORD"):
        assert f"{SITE}/{name}" in found
    assert "bin/six-it" in found
    assert not any("secret" in name or "loose.cpython" in name for name in found)
    assert plan.warnings == (
        f"the environment sees the user site below `{tmp_path}/user`, so 2 packages of it go in;"
        " PYTHONNOUSERSITE=1 leaves it out",
    )
    report = pack(fake.root, tmp_path / "o", format="dir")
    assert (tmp_path / "o/bin/six-it").read_text().startswith("#!/bin/sh\n")
    assert report.leaks == ()
    assert user.exists()


def test_the_environment_comes_first_and_the_base_last(fake: FakeEnvironment, user: Path) -> None:
    """Of one name, the environment's package is packed, else the user's, else the base's."""
    install(fake.prefix / SITE, "six", "1.0", {"six.py": "base"})
    assert reasons(plan_of(fake))[f"{SITE}/six-1.0.dist-info/METADATA"] is Reason.SHADOWED
    (six,) = (entry for entry in plan_of(fake).entries if entry.name == f"{SITE}/six.py")
    assert isinstance(six.content, Disk)
    assert six.content.path == str(user / "six.py")
    fake.install("six", "2.0", {"six.py": "environment"})
    assert reasons(plan_of(fake))[f"{SITE}/six-1.5.dist-info/METADATA"] is Reason.SHADOWED
    (six,) = (entry for entry in plan_of(fake).entries if entry.name == f"{SITE}/six.py")
    assert isinstance(six.content, Disk)
    assert six.content.path == str(fake.site / "six.py")
    assert "bin/six-it" not in names(plan_of(fake))


@pytest.mark.parametrize("how", ["PYTHONNOUSERSITE", "plain", "nowhere"])
def test_where_python_does_not_look(
    tmp_path: Path, user: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It was told not to, the environment is an ordinary one, or there is no such folder."""
    fake = make_environment(tmp_path, system_site=how != "plain")
    if how == "PYTHONNOUSERSITE":
        monkeypatch.setenv(how, "1")
    if how == "nowhere":
        user.rename(tmp_path / "gone")
    assert discover(str(fake.root)).user_base == ""
    assert not any("mine" in name for name in names(plan_of(fake)))
    assert plan_of(fake).warnings == ()


def test_an_editable_of_the_user_is_refused(fake: FakeEnvironment, user: Path) -> None:
    """It leads out of the user site, and only the environment's are made real."""
    url = {"url": "file:///somewhere", "dir_info": {"editable": True}}
    install(user, "ed", "1.0", {"ed.pth": "/somewhere\n"}, url)
    with pytest.raises(EditableFault, match="`ed` is installed editable in the user site"):
        plan_of(fake)
