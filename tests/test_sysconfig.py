"""What the interpreter knows of its prefix, made right for any place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envpack.model import Move
from envpack.reading import spliced
from envpack.relocate import relocator_for
from envpack.relocate.paths import finder
from tests.trees import write

MOVES = (Move("/home/a b/py/cpython-3.12", ""), Move("/py/3.12.1", ""))


def relocated(name: str, text: str) -> str:
    data = text.encode()
    relocator = relocator_for(name, data[:4096])
    assert relocator is not None
    edits = sorted(relocator.edits(name, data, MOVES))
    once = b"".join(spliced([data], edits))
    assert not list(relocator.edits(name, once, MOVES)), "a second pass finds nothing"
    return once.decode()


@pytest.mark.parametrize("prefix", ["/py/3.12.1", "/home/a b/py/cpython-3.12", "/install"])
def test_sysconfigdata_follows_base_prefix(prefix: str) -> None:
    """Every path below the old prefix, also after a compiler's flag, and no other string."""
    variables = {
        "prefix": prefix,
        "LIBDIR": f"{prefix}/lib",
        "LDSHARED": f"cc -L{prefix}/lib -Wl,-rpath,{prefix}/lib 'é'",
        "CONFIG_ARGS": f"'--prefix={prefix}' '--with-x=/usr/bin/install'",
        "INSTALL": "/usr/bin/install -c",
        "WASM_STDLIB": f".{prefix}/lib/python3.12/os.py",
        "OTHER": f"{prefix}-other/lib",
        "Py_DEBUG": 0,
    }
    text = relocated(
        "lib/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py",
        f"# generated\nbuild_time_vars = {variables!r}\n",
    )
    namespace: dict[str, dict[str, object]] = {}
    exec(text, namespace)  # noqa: S102 - the file is code
    moved = namespace["build_time_vars"]
    for key, value in variables.items():
        expected = value
        if isinstance(value, str) and key != "OTHER":
            expected = value.replace(prefix, sys.base_prefix)
        if key == "INSTALL" or (key == "CONFIG_ARGS" and prefix == "/install"):
            continue
        assert moved[key] == expected
    assert moved["INSTALL"] == "/usr/bin/install -c"
    assert "/usr/bin/install" in str(moved["CONFIG_ARGS"])
    assert text.count(prefix) == (2 if prefix == "/install" else 0) + 1


def test_sysconfigdata_that_is_no_dictionary_is_left_alone() -> None:
    """What cannot be parsed is not guessed at; the leak search reports it."""
    name = "lib/python3.12/_sysconfigdata_x.py"
    for text in ("build_time_vars = f()\n", "def (\n", ""):
        assert relocated(name, text) == text


def test_pkg_config_starts_from_its_own_directory() -> None:
    """`${pcfiledir}` is pkg-config's word for it."""
    name = "lib/pkgconfig/python-3.12.pc"
    text = "prefix=/py/3.12.1\nlibdir=${prefix}/lib\n"
    assert relocated(name, text) == "prefix=${pcfiledir}/../..\nlibdir=${prefix}/lib\n"
    neutral = "prefix=/install\nlibdir=${exec_prefix}/lib\n"
    assert relocated(name, neutral).startswith("prefix=${pcfiledir}/../..\n")
    already = "prefix=${pcfiledir}/../..\n"
    assert relocated(name, already) == already


CONFIG = """#!/bin/sh
{starter}installed_prefix ()
{{
    RESULT=$(dirname $(cd $(dirname "$1") && pwd -P))
    echo $RESULT
}}
prefix_real=$(installed_prefix "$0")
prefix="{prefix}"
includedir=$(echo "${{prefix}}/include" | sed "s#$prefix#$prefix_real#")
echo "-I$includedir -L{prefix}/lib"
"""


@pytest.mark.skipif(shutil.which("sed") is None, reason="python-config calls sed")
@pytest.mark.parametrize("prefix", ["/py/3.12.1", "/install"])
@pytest.mark.parametrize("starter", ["", '"exec" "$(dirname $0)/python3.9" "$0" "$@"\n\n'])
def test_python_config_uses_the_prefix_it_finds(tmp_path: Path, prefix: str, starter: str) -> None:
    """Run as sh, it answers with its own place; a Python starter in front of it goes."""
    text = relocated("bin/python3.12-config", CONFIG.format(prefix=prefix, starter=starter))
    place = tmp_path / "a  b"
    script = write(place / "bin/python3.12-config", text, 0o755)
    done = subprocess.run([script], capture_output=True, text=True, check=True)
    assert done.stdout == f"-I{place}/include -L{place}/lib\n"


def test_build_files_get_the_neutral_prefix() -> None:
    """Makefile and tclConfig.sh have no way to be relative."""
    text = "prefix=\t\t/py/3.12.1\nA=/py/3.12.10/lib\nINSTALL=/usr/bin/install\n"
    expected = "prefix=\t\t/install\nA=/py/3.12.10/lib\nINSTALL=/usr/bin/install\n"
    assert relocated("lib/python3.12/config-3.12-x86_64-linux-gnu/Makefile", text) == expected
    assert relocated("lib/itcl4.2.2/itclConfig.sh", "X='/py/3.12.1/lib'\n") == "X='/install/lib'\n"


def test_build_details_get_the_neutral_prefix() -> None:
    """JSON cannot be relative to the running prefix, and stays JSON."""
    value = {"base_prefix": "/py/3.12.1", "x": "/home/a b/py/cpython-3.12/lib"}
    text = relocated("lib/python3.14/build-details.json", json.dumps(value))
    assert json.loads(text) == {"base_prefix": "/install", "x": "/install/lib"}


def test_pth_lines_become_relative_or_go() -> None:
    """Import lines, comments and relative lines stay; what leads out of the archive goes."""
    name = "lib/python3.12/site-packages/x.pth"
    text = "# note\nimport x; x.go()\nsub/dir\n/py/3.12.1/lib/extra\n/elsewhere/src\n"
    assert relocated(name, text) == "# note\nimport x; x.go()\nsub/dir\n../../extra\n"


def test_kernel_json_names_plain_python() -> None:
    """jupyter_client turns `python` into its own interpreter."""
    name = "share/jupyter/kernels/python3/kernel.json"
    text = '{"argv": ["/py/3.12.1/bin/python3", "-m", "ipykernel", "-f", "/py/3.12.1/x"]}'
    expected = '{"argv": ["python", "-m", "ipykernel", "-f", "/py/3.12.1/x"]}'
    assert relocated(name, text) == expected
    plain = '{"argv": ["python", "-m"]}'
    assert relocated(name, plain) == plain


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("/a/b", 1),
        ("/a/b/c", 1),
        ("-I/a/b/include -L/a/b/lib", 2),
        ("file:///a/b", 1),
        ("x=/a/b:/a/b", 2),
        ('"/a/b"', 1),
        ("/a/bc", 0),
        ("/a/b.txt", 0),
        ("/a/b-1", 0),
        ("/x/a/b", 0),
        ("usr/a/b", 0),
    ],
)
def test_a_path_is_found_as_a_whole(text: str, hits: int) -> None:
    """Whole components only, wherever text puts a path."""
    assert len(finder(("/a/b",)).findall(os.fsencode(text))) == hits
