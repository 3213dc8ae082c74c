"""Script headers: read by both languages, right from any place."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envpack.model import Move
from envpack.reading import spliced
from envpack.relocate.script import ScriptRelocator, found_by_path, header
from envpack.relocate.shebang import split_as_env
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


BESIDE = '"$(dirname -- "$(realpath -- "$0")")"/'


@pytest.mark.parametrize(
    ("line", "words", "env"),
    [
        ("/proj/.venv/bin/python -I", ["-I"], []),
        ("/proj/.venv/bin/python -sE\r", ["-sE"], []),
        ("/proj/.venv/bin/python\t-X utf8 -B ", ["-X utf8 -B"], []),
        ("/proj/.venv/bin/python3.13t -I", ["-I"], []),
        ("/usr/bin/env -S python3 -I", ["-I"], []),
        ("/usr/bin/env -S python3 -X utf8 -OO", ["-X", "utf8", "-OO"], []),
        ("/usr/bin/env -S python3 -W 'ignore::DeprecationWarning' -m  mod", None, []),
        ("/bin/env -vS /proj/.venv/bin/python -B", ["-B"], []),
        ("/usr/bin/env --split-string=python3 -u", ["-u"], []),
        ("/usr/bin/env -S GREETING=hi python3", [], ["GREETING=hi"]),
        ("/usr/bin/env -S -i A=1 'B=a b' python3 -u", ["-u"], ["-i", "A=1", "B=a b"]),
        ("/usr/bin/env -iS python3", [], ["-i"]),
        (
            "/usr/bin/env -S -u HOME -uLANG --unset=TZ python3",
            [],
            [*["-u", "HOME", "-u", "LANG", "-u", "TZ"]],
        ),
        ("/usr/bin/env -S python3 $(touch x)", "as it is", []),
        ("/usr/bin/env python $(touch x)", ["$(touch", "x)"], []),
        ("/usr/bin/env -S -C / python3", "as it is", []),
        ("/usr/bin/env -S python3 ${FLAGS}", "as it is", []),
        ("/usr/bin/env -S python3 -W a\\\\d", "as it is", []),
        ("/proj/.venv/bin/ipython -I", "as it is", []),
        ("/proj/.venv/bin/micropython", "as it is", []),
    ],
)
def test_what_is_told_to_python_stays(line: str, words: object, env: list[str]) -> None:
    """A kernel's line is one word; env(1) splits, sets and unsets; what cannot be told stays."""
    source = f"#!{line}\npass\n"
    if words == "as it is":
        assert relocated(source).decode() == source
        return
    told = ["-W", "ignore::DeprecationWarning", "-m", "mod"] if words is None else words
    assert isinstance(told, list)
    by = [line.partition(" ")[0], *env] if env else []
    assert relocated(source) == header("python", told, env=by) + b"pass\n"


@pytest.mark.parametrize("form", ["'''exec' {} \"$0\" \"$@\"\n' '''\n", '"exec" {} "$0" "$@"\n'])
@pytest.mark.parametrize(
    "python", ["/proj/.venv/bin/python", "'/home/me/a b/.venv/bin/python'", f"{BESIDE}'python3'"]
)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (" -I", ["-I"]),
        (" -X utf8 -B", ["-X", "utf8", "-B"]),
        (" -W 'ignore::DeprecationWarning'", ["-W", "ignore::DeprecationWarning"]),
        (" -X importtime=/tmp/x", ["-X", "importtime=/tmp/x"]),
        (' "-X utf8"', ["-X utf8"]),
        (" $FLAGS", None),
        (" 'open", None),
    ],
)
def test_what_a_polyglot_tells_python_stays(
    form: str, python: str, options: str, words: list[str] | None
) -> None:
    """The shell splits: there may be many words; what a variable holds nobody here knows."""
    source = "#!/bin/sh\n" + form.format(python + options) + "pass\n"
    if words is None:
        assert relocated(source).decode() == source
    else:
        assert relocated(source) == header("python", words) + b"pass\n"


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("#!/usr/bin/env -S -C / python3 -u\n", "python3"),
        ("#!/usr/bin/env -S python3.12 ${FLAGS}\n", "python3.12"),
        ("#!/usr/bin/env -S uv run --script\n", ""),
        ("#!/usr/bin/env -S /proj/.venv/bin/python ${FLAGS}\n", ""),  # a path, so a leak
        ("#!/bin/sh\n'''exec' python3 -I $MORE \"$0\" \"$@\"\n' '''\n", "python3"),
        ('#!/bin/sh\n"""exec" python3 "$0" "$@"\n"""\n', "python3"),
        ("#! /bin/bash\n: '''\nexec python \"${0}\" \"$@\"\n'''\n", "python"),
        ("#!/bin/sh\nexec python -m tool\n", ""),
        ('#!/bin/sh\nexec "$here/python3" "$0"\n', ""),
        (HEADER, ""),
    ],
)
def test_what_finds_python_by_path_is_told(text: str, python: str) -> None:
    """Where the archive is not active it starts another Python, or none."""
    assert relocated(text + "pass\n").decode() == text + "pass\n"
    assert found_by_path("bin/tool", text.encode()) == python
    assert found_by_path("share/tool", text.encode()) == ""


PIECES = [*" \t'\"\\#_c$ntx=", "a", "-i", "''", "é", "${X}"]


def gnu_env() -> str:
    """Return env(1) if it is GNU's, "" elsewhere."""
    program = shutil.which("env") or ""
    words = [program, "--help"]
    told = program and subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return program if "--split-string" in told else ""


GNU_ENV = gnu_env()


@pytest.mark.skipif(not GNU_ENV, reason="no GNU env on this machine, which judges how it splits")
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@settings(max_examples=300)
def test_words_are_what_env_makes_of_them(text: str) -> None:
    """Against env(1) itself; what it refuses, and variables, are told as such."""
    probe = f"'{sys.executable}' -Ic 'import sys;print(sys.argv[1:])' "
    done = subprocess.run(
        [GNU_ENV, "-S", f"{probe} {text}"], capture_output=True, errors="replace", check=False
    )
    words = split_as_env(text)
    if words is None:
        assert done.returncode or "$" in text
    else:
        assert ast.literal_eval(done.stdout) == words


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/usr/bin/env -S python3 -X utf8 -OO", "1 2 None True"),
        ("/usr/bin/env -S GREETING=hi python3", "0 0 hi True"),
        ("/usr/bin/env -S -i 'GREETING=a b' python3 -O", "1 1 a b False"),
        ("/usr/bin/env -S -u HOME python3", "0 0 None False"),
    ],
)
def test_it_is_told_so(prefix: Path, line: str, said: str) -> None:
    """What was said in the first line holds when it runs."""
    code = (
        "import os, sys; home = 'HOME' in os.environ\n"
        "print(sys.flags.utf8_mode, sys.flags.optimize, os.environ.get('GREETING'), home)\n"
    )
    script = prefix / "bin/told"
    script.write_bytes(relocated(f"#!{line}\n{code}"))
    script.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C.UTF-8"}  # in C mode it is 1
    done = subprocess.run([script], capture_output=True, text=True, check=False, env=env)
    assert (done.stdout, done.stderr) == (f"{said}\n", "")


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
