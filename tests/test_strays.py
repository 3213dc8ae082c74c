"""Code of a `.pth` that names folders of this machine: packed with their place, or a finding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envpack.editable_hooks import Pth
from envpack.errors import EditableFault, FindingError
from envpack.packing import pack
from envpack.strays import Named, named_by_code, named_in
from tests.test_editable import plain_environment
from tests.trees import FakeEnvironment, make_environment, write

SITE = "lib/python3.12/site-packages"


@pytest.mark.parametrize(
    ("line", "searched"),
    [
        ("import sys; sys.path.insert(0, '{}')", True),
        ("import sys; sys.path.append('{}')", True),
        ("import sys; sys.path.extend(['{}'])", True),
        ("import sys; sys.path += ['{}']", True),
        ("import site; site.addsitedir('{}')", True),
        ("import site, sys; __import__('site').addsitedir(r\"{}\")", True),
        ("import os; os.environ['X'] = '{}'", False),
        ("import sys; x = '{}'; sys.path.append(x)", False),
        ("import sys; '{}' in sys.path or None", False),
    ],
)
def test_what_a_line_names(line: str, searched: bool, tmp_path: Path) -> None:
    """A literal that goes on sys.path is known from any other."""
    place = str(tmp_path)
    (named,) = named_in(Pth((line.format(place),), (), ()))
    assert (named.path, named.searched) == (place, searched)
    assert line.format(place)[named.start : named.stop].strip("r'\"") == place


@given(st.text(max_size=60))
def test_any_line_is_harmless(text: str) -> None:
    """What is no Python names nothing."""
    assert all(isinstance(each, Named) for each in named_in(Pth((f"import {text}",), (), ())))


def test_the_folder_goes_in_with_its_place(tmp_path: Path) -> None:
    """Before site-packages or behind it, and a twin there wins or loses as it did."""
    fake = make_environment(tmp_path)
    for name in ("first", "last"):
        write(tmp_path / f"é {name}/only_{name}.py", f"V = '{name}'\n")
        write(tmp_path / f"é {name}/twin.py", f"V = '{name}'\n")
    write(fake.site / "twin.py", "V = 'site'\n")
    lines = (
        f"# mine\nimport sys; sys.path.insert(0, '{tmp_path}/é first')\n"
        f"import site; site.addsitedir('{tmp_path}/é last'); x = 'é'\n"
    )
    write(fake.site / "code.pth", lines)
    report = pack(fake.root, tmp_path / "there", format="dir")
    assert report.leaks == ()
    (told,) = report.editables
    assert (told.name, told.form.value) == ("code.pth", "copied")
    there = tmp_path / "there" / SITE
    fake.root.rename(fake.root.with_name("gone"))
    (tmp_path / "é first").rename(tmp_path / "elsewhere")
    code = (
        f"import site; site.addsitedir({str(there)!r}); import only_first, only_last, twin;"
        " print(only_first.V, only_last.V, twin.V, only_first.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env={}
    )
    *values, file = done.stdout.rstrip("\n").split(" ", 3)
    assert values == ["first", "last", "first"]
    assert file == f"{tmp_path}/there/share/envpack/code-1/only_first.py"


def test_a_folder_that_is_only_named_is_a_finding(tmp_path: Path) -> None:
    """What the code does with it is not known, so it is no more than told."""
    fake = make_environment(tmp_path)
    (tmp_path / "plugins").mkdir()
    write(fake.site / "code.pth", f"import os; os.environ['PLUGINS'] = '{tmp_path}/plugins'\n")
    (leak,) = pack(fake.root, tmp_path / "o.tar").leaks
    assert (leak.name, leak.needle) == (f"{SITE}/code.pth", f"{tmp_path}/plugins")
    with pytest.raises(FindingError, match="still names"):
        pack(fake.root, tmp_path / "s.tar", strict=True)
    assert not (tmp_path / "s.tar").exists()


def test_what_every_machine_has_is_no_finding(tmp_path: Path) -> None:
    """Nor what is not there, nor a path so short that it is everywhere."""
    environment = plain_environment(tmp_path)
    text = "".join(
        f"import os; x = {path!r}\n" for path in ("/usr/bin", "/etc", "/tmp", "/no/where")
    )
    write(Path(environment.root, SITE, "a.pth"), text)
    assert named_by_code(environment) == frozenset()


def test_refused_where_strays_are(fake: FakeEnvironment, tmp_path: Path) -> None:
    """As other strays: with `--editable refuse` the file and its folder are named."""
    (tmp_path / "mine").mkdir()
    write(fake.site / "code.pth", f"import sys; sys.path.append('{tmp_path}/mine')\n")
    with pytest.raises(EditableFault, match=r"refused: `code\.pth`"):
        pack(fake.root, tmp_path / "o.tar", editable="refuse")
    with pytest.raises(EditableFault, match=f"leads to `{os.fspath(tmp_path)}/mine`"):
        pack(fake.root, tmp_path / "o.tar", editable="build")


@pytest.fixture
def fake(tmp_path: Path) -> FakeEnvironment:
    """Give an environment."""
    return make_environment(tmp_path)
