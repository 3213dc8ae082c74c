"""Script headers: read by both languages, right from any place."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envpack.model import Move
from envpack.reading import spliced
from envpack.relocate.script import ScriptRelocator, header
from tests.trees import write

MOVES = (Move("/home/me/a b/.venv", ""), Move("/proj/.venv", ""), Move("/pythons/3.12", ""))
HEADER = header("python").decode()


def relocated(text: str | bytes, name: str = "bin/tool") -> bytes:
    data = text.encode() if isinstance(text, str) else text
    edits = tuple(ScriptRelocator().edits(name, data, MOVES))
    return b"".join(spliced([data], edits))


@pytest.mark.parametrize(
    "head",
    [
        "#!/proj/.venv/bin/python\n",
        "#!/proj/.venv/bin/python3\n",
        "#! /pythons/3.12/bin/python3.12\n",
        "#!/usr/bin/env python3\n",
        "#!/home/me/a b/.venv/bin/python3\n",
        "#!/bin/sh\n'''exec' '/home/me/a b/.venv/bin/python' \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' /proj/.venv/bin/python \"$0\" \"$@\"\n' '''\n",
        '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")"/\'python\' "$0" "$@"\n'
        "' '''\n",
        '#!/bin/sh\n"exec" "$(dirname $0)/python3.9" "$0" "$@"\n',
    ],
)
def test_every_form_becomes_the_same_header(head: str) -> None:
    """Plain, env, spaced, long, relocatable and python-build-standalone's own."""
    assert relocated(head + "import os\n").decode() == HEADER + "import os\n"


@pytest.mark.parametrize(
    ("head", "option"),
    [
        ("#!/proj/.venv/bin/python -I\n", "-I"),
        ("#!/proj/.venv/bin/python -sE\n", "-sE"),
        ("#!/usr/bin/env -S python3 -I\n", "-I"),
        ("#!/bin/sh\n'''exec' /proj/.venv/bin/python -I \"$0\" \"$@\"\n' '''\n", "-I"),
    ],
)
def test_options_of_python_stay(head: str, option: str) -> None:
    """`#!/path/python -I` goes on isolating."""
    assert relocated(head + "pass\n").decode() == header("python", option).decode() + "pass\n"


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nexec python -m tool\n",
        "#!/bin/bash\n/proj/.venv/bin/python -m tool\n",
        "#!/usr/bin/env bash\necho\n",
        "#!/usr/bin/env -S uv run --script\n",
        "#!/usr/bin/perl\n",
        "#!/proj/.venv/bin/python",
        "#!",
    ],
)
def test_other_interpreters_stay(text: str) -> None:
    """Shell scripts keep their shell, and a head that is no line is left alone."""
    assert relocated(text).decode() == text


def test_modules_keep_a_foreign_shebang() -> None:
    """Library files outside bin/ change only if they name this environment."""
    foreign = "#!/usr/bin/env python\nx = 1\n"
    assert relocated(foreign, "lib/python3.12/site-packages/m.py").decode() == foreign
    own = relocated("#!/proj/.venv/bin/python\nx = 1\n", "share/tool/run/start")
    assert own.decode() == header("../../../bin/python").decode() + "x = 1\n"


def test_a_relocated_script_is_left_alone() -> None:
    """What has been made right yields no further edit."""
    once = relocated("#!/proj/.venv/bin/python\nx = 1\n")
    assert relocated(once) == once


@pytest.mark.parametrize("line", [1, 2])
def test_an_encoding_cookie_stays_on_the_second_line(line: int) -> None:
    """PEP 263 looks at the first two lines only."""
    between = "# a tool\n" if line == 2 else ""
    source = f"#!/proj/.venv/bin/python\n{between}# -*- coding: latin-1 -*-\nx = '\xe9'\n"
    data = relocated(source.encode("latin-1"))
    if line == 1:
        assert data.splitlines()[1] == b"# -*- coding: latin-1 -*-"
        compile(data, "tool", "exec")
    else:
        assert b"coding: latin-1" in data


def test_a_future_import_may_follow() -> None:
    """The header is a docstring for Python, which may come before `from __future__`."""
    tree = ast.parse(relocated("#!/proj/.venv/bin/python\nfrom __future__ import annotations\n"))
    assert isinstance(tree.body[1], ast.ImportFrom)


@pytest.mark.parametrize("between", ["", "# a tool\n\n  # by me\n", "# -*- coding: utf-8 -*-\n"])
@pytest.mark.parametrize(
    "literal", ['"""Usage: tool [-x]"""', "r'Usage: tool [-x]'", 'u"""Usage: tool [-x]"""']
)
def test_a_docstring_stays_one(between: str, literal: str) -> None:
    """docopt finds its usage in it, and a future import may still follow."""
    source = f"#!/proj/.venv/bin/python\n{between}{literal}\nfrom __future__ import annotations\n"
    data = relocated(source)
    assert ast.get_docstring(ast.parse(data), clean=False).endswith("Usage: tool [-x]")  # type: ignore[union-attr]
    compile(data, "tool", "exec")
    if "coding" in between:
        assert data.splitlines()[1] == b"# -*- coding: utf-8 -*-"
    assert relocated(data) == data


@pytest.mark.parametrize("literal", ["b'x'", "f'x'", "rb'x'", "x = 'y'"])
def test_what_is_no_docstring_is_not_joined(literal: str) -> None:
    """Bytes could not be, and f-strings are none."""
    compile(relocated(f"#!/proj/.venv/bin/python\n{literal}\n"), "tool", "exec")


def test_the_header_raises_no_warning() -> None:
    """No backslash, which newer Pythons would complain about."""
    assert "\\" not in HEADER
    compile(HEADER, "tool", "exec")


SHELLS = [name for name in ("dash", "bash", "busybox", "zsh", "ksh") if shutil.which(name)]


@pytest.fixture(params=["plain", 'it\'s a "$HOME" `x` \\ %s é'])
def prefix(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A packed prefix in a folder of an ordinary and of a terrible name."""
    folder: Path = tmp_path / request.param
    write(folder / "bin/python", f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n', 0o755)
    body = '"""Doc."""\nfrom __future__ import annotations\n'
    body += "import os, sys\nprint(os.environ.get('PYTHONHOME'), *sys.argv[1:], sep='|')\n"
    write(folder / "bin/tool", relocated("#!/usr/bin/env python\n" + body), 0o755)
    return folder


def run(*argv: str | Path, cwd: Path | None = None, **env: str) -> str:
    done = subprocess.run(
        [os.fspath(word) for word in argv],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **env},
    )
    assert done.stderr == ""
    return done.stdout.rstrip("\n")


def test_runs_by_absolute_path(prefix: Path) -> None:
    """Arguments arrive as they are, and PYTHONHOME does not."""
    assert run(prefix / "bin/tool", "a b", "$c", PYTHONHOME="/nowhere") == "None|a b|$c"


def test_runs_by_relative_path(prefix: Path) -> None:
    """From the folder itself, from above, and with dots in between."""
    assert run("./tool", "1", cwd=prefix / "bin") == "None|1"
    assert run("bin/tool", "1", cwd=prefix) == "None|1"
    assert run("../bin/tool", "1", cwd=prefix / "bin") == "None|1"


def test_runs_from_path(prefix: Path) -> None:
    """As a command, with the environment's bin on PATH."""
    assert run("env", f"PATH={prefix}/bin:/usr/bin:/bin", "tool", "1") == "None|1"


def test_runs_through_links(prefix: Path, tmp_path: Path) -> None:
    """Through absolute, relative and chained links, and through a linked directory."""
    far = tmp_path / "far" / "er"
    far.mkdir(parents=True)
    (far / "absolute").symlink_to(prefix / "bin/tool")
    (far / "relative").symlink_to(os.path.relpath(prefix / "bin/tool", far))
    (far.parent / "chained -> x").symlink_to("er/relative")
    (tmp_path / "linked").symlink_to(prefix)
    for path in (far / "absolute", far / "relative", far.parent / "chained -> x"):
        assert run(path, "1") == "None|1"
    assert run(tmp_path / "linked/bin/tool", "1") == "None|1"
    assert run("./relative", "1", cwd=far) == "None|1"


@pytest.mark.parametrize("shell", SHELLS)
def test_runs_under_every_shell(prefix: Path, tmp_path: Path, shell: str) -> None:
    """`/bin/sh` may be any of them."""
    words = ["busybox", "sh"] if shell == "busybox" else [shell]
    assert run(*words, prefix / "bin/tool", "1") == "None|1"
    (tmp_path / "link").symlink_to(prefix / "bin/tool")
    assert run(*words, "link", "1", cwd=tmp_path) == "None|1"


def test_runs_where_there_is_no_readlink(prefix: Path, tmp_path: Path) -> None:
    """`ls` shows where a link leads, too."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("ls", "sh"):
        (tools / name).symlink_to(shutil.which(name) or "")
    (tmp_path / "a link").symlink_to(prefix / "bin/tool")
    assert run(tmp_path / "a link", "1", PATH=str(tools)) == "None|1"
