"""What stands for `bin/python` in an archive without a Python: a script that finds one there.

The Python that is found is started under the archive's own name for it: from argv[0] CPython
derives `sys.executable`, beside which it finds pyvenv.cfg (PEP 405), so that the archive is its
prefix and has the only site-packages. Without a `home` in that file it would not find its own
library, which PYTHONHOME tells it; other Pythons that it starts must not see that variable.
"""

from __future__ import annotations

import posixpath
import shlex

from envpack.activate import PYVENV_CFG
from envpack.relocate.script import FIND_SELF

PTH = "envpack-python.pth"
PTH_LINE = b'import os; os.environ.pop("PYTHONHOME", None)\n'
"""Python drops the variable when it has found its library by it; `sys.executable` sets it anew."""

_BOOT = """\
import os, sys
name, home, args = sys.argv[1], sys.argv[2], sys.argv[3:]
exe, env = os.path.realpath("/proc/self/exe"), dict(os.environ)
if home != exe and home != sys.executable:
    env["PYTHONHOME"] = ":".join(dict.fromkeys((sys.base_prefix, sys.base_exec_prefix)))
os.execve(exe, [name, *args], env)
"""

_TEMPLATE = """\
#!/bin/sh
# Starts this environment with a CPython @MINOR@ of this machine; see `docs/interpreters.md`.
unset PYTHONHOME
@FIND_SELF@h=$(CDPATH= cd -P -- "${s%/*}/" && pwd -P)
t=@TARGET@
check='import sys; v = sys.version_info[:2], sys.implementation.name
sys.exit(v != ((@NUMBERS@), "cpython"))'
boot='@BOOT@'
try() {
    if [ -f "$1" ] && [ -x "$1" ] && "$1" -I -S -c "$check" </dev/null >/dev/null 2>&1; then
        p=$1
        shift
        exec "$p" -I -S -c "$boot" "$h/python" "$t" "$@"
    fi
}
[ -z "$t" ] || try "$t" "$@"
for n in python@MINOR@ python3 python; do
    r=$PATH:
    while [ -n "$r" ]; do
        d=${r%%:*}
        r=${r#*:}
        d=$(CDPATH= cd -P -- "${d:-.}" 2>/dev/null && pwd -P) || continue
        [ "$d" = "$h" ] || try "$d/$n" "$@"
    done
done
echo "$0: this environment needs CPython @MINOR@, which is "@WHERE@ >&2
exit 127
"""


def starter(minor: str, target: str) -> bytes:
    """Return the script for Python `minor`, such as "3.12".

    `target` is the absolute path of the Python to try first, "" for those on PATH alone.
    """
    where = f"neither at {target} nor on PATH" if target else "not on PATH"
    words = {
        "FIND_SELF": FIND_SELF,
        "TARGET": shlex.quote(target),
        "MINOR": minor,
        "NUMBERS": ", ".join(minor.split(".")),
        "BOOT": _BOOT,
        "WHERE": shlex.quote(where),
    }
    text = _TEMPLATE
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text.encode("utf-8", "surrogateescape")


def pyvenv_cfg(target: str) -> bytes:
    """Return the pyvenv.cfg; with a `home` Python needs no PYTHONHOME, which `-I` would ignore."""
    if not target:
        return PYVENV_CFG
    return f"home = {posixpath.dirname(target)}\n".encode("utf-8", "surrogateescape") + PYVENV_CFG
